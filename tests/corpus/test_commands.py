import json

import pytest

from textualize.corpus.cli import app
from textualize.errors import TextualizeError

COMMANDS = [c.name or c.callback.__name__ for c in app.registered_commands]


def run(*arguments):
    return app(list(arguments), standalone_mode=False)


@pytest.fixture
def manifest(tmp_path):
    rows = ["id,transcript,label,subject,split"]
    rows += [f"s{s}c{i},words {s} {i},{'ab'[i % 2]},s{s},{('train', 'test')[s % 2]}"
             for s in range(6) for i in range(4)]  # fmt: skip
    path = tmp_path / "m.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    run(name, "--help")
    assert f"textualize corpus {name}" in capsys.readouterr().out.split("Example")[1]


def test_check_exits_2_only_when_a_comparison_would_break(manifest, capsys):
    assert run("check", str(manifest)) == 0
    assert "0 errors" in capsys.readouterr().out
    manifest.write_text(manifest.read_text() + "x,words,a,s0,test\n")
    assert run("check", str(manifest), "--json") == 2
    assert json.loads(capsys.readouterr().out)["errors"] == 1


def test_show_lists_a_corpus_and_one_clip(capsys):
    from textualize.datasets.demo import FOLDER

    assert run("show", str(FOLDER / "corpus"), "--where", "subject=s01", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {x["subject"] for x in lines} == {"s01"} and lines[0]["seconds"] > 1
    assert run("show", str(FOLDER / "corpus"), "--clip", lines[0]["id"]) == 0
    assert "mediapipe" in capsys.readouterr().out


def test_split_writes_folds_that_training_takes(manifest, tmp_path, capsys):
    out = tmp_path / "f.json"
    assert run("split", str(manifest), "--folds", "3", "--out", str(out), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["folds"]) == 3
    assert len(json.loads(out.read_text())["folds"]) == 3
    with pytest.raises(TextualizeError, match="folds should be a number"):
        run("split", str(manifest), "--folds", "half", "--out", str(out))
