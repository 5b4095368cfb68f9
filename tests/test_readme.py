"""The README promises nothing that does not run."""

import re
from pathlib import Path

import pytest
import typer

from textualize.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_runs(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert "Voice: " in capsys.readouterr().out


def test_every_command_shown_exists():
    known = set(typer.main.get_command(app).commands)
    shown = set(re.findall(r"^textualize ([a-z]+)", README, re.MULTILINE))
    assert shown and shown <= known


def test_every_file_linked_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists()
