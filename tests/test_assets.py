from pathlib import Path

import pytest

from textualize import assets
from textualize.errors import TextualizeError


def test_the_clone_has_all_three_folders():
    for kind in ("prompts", "finetune", "eval"):
        assert assets.folder(kind).is_dir()
        assert assets.folder(kind).name == kind


def test_the_wheels_folder_comes_before_the_clones(tmp_path, monkeypatch):
    shipped = tmp_path / "textualize" / "_assets" / "prompts"
    shipped.mkdir(parents=True)
    (shipped / "only.jinja").write_text("x")
    (tmp_path / "prompts").mkdir()
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "textualize")
    assert assets.folder("prompts") == shipped
    assert assets.names("prompts", ".jinja") == ("only",)
    assert assets.find("prompts", "only", ".jinja") == shipped / "only.jinja"


def test_a_missing_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "textualize")
    with pytest.raises(TextualizeError, match="reinstall"):
        assets.folder("eval")


def test_a_misspelt_name_gets_the_nearest_and_all_known():
    with pytest.raises(TextualizeError) as caught:
        assets.find("prompts", "compond", ".jinja")
    assert str(caught.value) == (
        "no prompts named 'compond' (did you mean compound?); "
        f"known: {', '.join(assets.names('prompts', '.jinja'))}; or give a path ending in .jinja"
    )


def test_a_bare_name_is_never_looked_for_in_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine.jinja").write_text("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextualizeError, match="no prompts named 'mine'"):
        assets.find("prompts", "mine", ".jinja")
    assert assets.find("prompts", "mine.jinja", ".jinja") == Path("mine.jinja")


def test_a_path_must_exist(tmp_path):
    with pytest.raises(TextualizeError, match="no file at"):
        assets.find("prompts", tmp_path / "gone.jinja", ".jinja")


@pytest.mark.parametrize("name", ["../pyproject", "parts/face", "", "."])
def test_a_name_cannot_leave_the_folder(name):
    with pytest.raises(TextualizeError, match="no prompts named"):
        assets.find("prompts", name, ".jinja")
