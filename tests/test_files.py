"""pytest tests/test_files.py"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from textualize.errors import TextualizeError
from textualize.files import (
    HOST,
    read_json,
    read_jsonl,
    read_lines,
    read_yaml,
    sweep,
    write_json_atomic,
    write_jsonl_atomic,
)

BREAKS = "one\ntwo\r\x0b\x0c\x1c\x85\u2028\u2029end"  # all that `str.splitlines` breaks at


def test_lines_of_json_come_back_whatever_breaks_of_lines_a_text_holds(tmp_path):
    path = tmp_path / "x.jsonl"
    given = [{"text": BREAKS}, {"text": "é 愛", "n": [1, None]}]
    write_jsonl_atomic(path, iter(given))
    assert read_jsonl(path, "texts", dict) == given
    assert len(read_lines(path)) == 2


@pytest.mark.parametrize(
    "line, why", [("{", "Expecting"), ("[1]", "indices"), ('{"b": 1}', "it has no 'a'"), ("", None)]
)
def test_a_damaged_line_is_told_by_its_number(tmp_path, line, why):
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n')
    if why is None:  # an empty line is none
        assert read_jsonl(path, "numbers", lambda x: x["a"]) == [1]
        return
    with pytest.raises(TextualizeError, match=rf"x\.jsonl:2 is damaged: .*{why}"):
        read_jsonl(path, "numbers", lambda x: x["a"])


def test_what_cannot_be_read_is_told_by_what_it_is(tmp_path):
    (tmp_path / "latin").write_bytes(b"\xff")
    for read in (
        lambda path: read_json(path, "thing"),
        lambda path: read_jsonl(path, "thing", dict),
    ):
        with pytest.raises(TextualizeError, match="thing.* is damaged: .*utf-8"):
            read(tmp_path / "latin")
        for gone in (tmp_path / "none", tmp_path / "latin" / "below"):
            with pytest.raises(TextualizeError, match=r"thing (not found|at)"):
                read(gone)
    with pytest.raises(TextualizeError, match="cannot read thing"):
        read_json(tmp_path, "thing")
    write_json_atomic(tmp_path / "list.json", [1])
    with pytest.raises(TextualizeError, match="should hold a JSON object"):
        read_json(tmp_path / "list.json", "thing")


@pytest.mark.parametrize(
    "content, why",
    [
        (b"a: [", "is not YAML"),
        (b"a: \xff", "is not YAML"),
        (b"- a", "should hold keys and values"),
        (b"", "should hold keys and values"),
    ],
)
def test_yaml_that_is_none_is_one_line(tmp_path, content, why):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(TextualizeError, match=why) as raised:
        read_yaml(path)
    assert "\n" not in str(raised.value)
    path.write_text(json.dumps({"a": {"b": [1, None]}}))
    assert read_yaml(path) == {"a": {"b": [1, None]}}
    with pytest.raises(TextualizeError, match="cannot read the recipe .*none.yaml: no such file"):
        read_yaml(tmp_path / "none.yaml", "the recipe")


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="no /proc")
def test_what_a_process_left_goes_though_nobody_has_asked_how_it_ended(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    stat = Path(f"/proc/{ended.pid}/stat")
    while b") Z" not in stat.read_bytes():
        time.sleep(0.005)
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f".x.bin.{HOST}-{pid}.abc.tmp").touch()
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [f".x.bin.{HOST}-{os.getpid()}.abc.tmp"]
    ended.wait()
