"""From folders to a studio, and what stops it from being opened."""

from __future__ import annotations

import socket

import pytest

from textualize import assets
from textualize.cli import run
from textualize.errors import TextualizeError
from textualize.studio.launch import Opening, opened


def test_runs_are_known_by_name_and_what_they_read(loaded):
    assert list(loaded.runs) == ["llm", "bag", "linear"]
    assert [r.template is not None for r in loaded.runs.values()] == [True, True, False]
    assert loaded.desk.names()["run"] == ["llm", "bag"]
    assert (loaded.shelf.clips, loaded.shelf.sealed) == (43, 8)


@pytest.mark.parametrize("place", [".", "parts"])
def test_shipped_templates_are_never_the_users_folder(made, place):
    with pytest.raises(TextualizeError, match="--templates"):
        opened(made.corpus, [], Opening(assets.folder("prompts") / place))


def test_two_runs_of_one_name_are_refused(made, tmp_path):
    with pytest.raises(TextualizeError, match="two runs are called"):
        opened(made.corpus, [made.bag, made.bag], Opening(tmp_path))


def test_a_taken_port_is_one_line(made, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["studio", str(made.corpus), "--port", str(port)]) == 2
    assert "give another --port" in capsys.readouterr().err


def test_what_is_no_corpus_or_run_is_one_line(made, tmp_path, capsys):
    assert run(["studio", str(tmp_path), "--port", "8795"]) == 2
    assert run(["studio", str(made.corpus), str(tmp_path), "--port", "8795"]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_the_help_has_an_example(capsys):
    assert run(["studio", "--help"]) == 0
    assert "textualize studio" in capsys.readouterr().out.split("Example")[1]
