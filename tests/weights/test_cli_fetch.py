import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from textualize.cli import run
from textualize.weights.table import WEIGHTS, Weights

CONTENT = b"weights" * 100


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def table(monkeypatch, tmp_path):
    """The table holds one free row and one non-commercial one, both served from this machine."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "one.bin").write_bytes(CONTENT)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    for name in list(WEIGHTS):
        monkeypatch.delitem(WEIGHTS, name)
    for name, noncommercial in (("free", False), ("unfree", True)):
        row = Weights(
            name=name,
            source=f"http://127.0.0.1:{http.server_port}/one.bin",
            files={"one.bin": hashlib.sha256(CONTENT).hexdigest()},
            size=len(CONTENT),
            licence="CC-BY-NC-4.0" if noncommercial else "MIT",
            notice="trained on MELD" if noncommercial else "",
            noncommercial=noncommercial,
            home="whisper" if noncommercial else "own",
            use="speech=openai-whisper=FILE",
        )
        monkeypatch.setitem(WEIGHTS, name, row)
    monkeypatch.setenv("TEXTUALIZE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    http.shutdown()


def test_fetching_tells_licence_place_and_use_and_the_second_time_does_nothing(table, capsys):
    assert run(["fetch", "free"]) == 0
    told = capsys.readouterr()
    path = table / "own" / "weights" / "one.bin"
    assert path.read_bytes() == CONTENT
    assert "free: MIT (http://127.0.0.1" in told.err
    assert "free: fetched, pinned" in told.out and f"speech=openai-whisper={path}" in told.out
    assert run(["fetch", "free"]) == 0
    assert "free: already here, pinned" in capsys.readouterr().out


def test_non_commercial_weights_want_a_yes(table, capsys):
    assert run(["fetch", "free", "unfree"]) == 2
    told = capsys.readouterr()
    assert "CC-BY-NC-4.0; trained on MELD" in told.err
    assert "unfree: for non-commercial use only; give --yes" in told.err
    assert not (table / "own").exists() and not (table / "cache").exists()
    assert run(["fetch", "free", "unfree", "--yes"]) == 0
    assert (table / "cache" / "whisper" / "one.bin").read_bytes() == CONTENT
    capsys.readouterr()
    assert run(["fetch", "unfree"]) == 0  # accepted before: it is here


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("", 2)])
def test_on_a_terminal_the_question_is_asked(table, capsys, monkeypatch, answer, code):
    class Terminal:
        def isatty(self):
            return True

        def readline(self):
            return answer

    monkeypatch.setattr("sys.stdin", Terminal())
    assert run(["fetch", "unfree"]) == code
    assert "Accept? [y/N]" in capsys.readouterr().err
    assert (table / "cache" / "whisper" / "one.bin").exists() == (code == 0)


def test_json_is_one_object_with_what_was_fetched_and_what_was_not(table, capsys):
    (table / "served" / "one.bin").write_bytes(b"another")
    assert run(["fetch", "free", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["fetched"] == [] and told["failures"][0]["names"] == ["free"]
    assert "another file than the one known" in told["failures"][0]["reason"]
    (table / "served" / "one.bin").write_bytes(CONTENT)
    assert run(["fetch", "free", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["fetched"]
    assert one["outcome"] == "fetched" and one["how"] == "pinned" and one["licence"] == "MIT"
    assert one["files"] == {"one.bin": hashlib.sha256(CONTENT).hexdigest()}


@pytest.mark.parametrize("flags", [["--dry-run"], ["--list"]])
def test_looking_fetches_nothing(table, capsys, flags):
    assert run(["fetch", "unfree", *flags]) == 0
    assert "not here: 1 of 1" in capsys.readouterr().out
    assert run(["fetch", "unfree", *flags, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "not here" and row["noncommercial"] and row["pinned"]
    assert not (table / "own").exists() and not (table / "cache").exists()


def test_without_names_the_table_is_listed(table, capsys):
    assert run(["fetch"]) == 0
    told = capsys.readouterr().out
    assert "unfree" in told and "(non-commercial)" in told and "not here: 2 of 2" in told


def test_the_embedded_preset_has_nothing_to_fetch(table, capsys):
    assert run(["fetch", "embedded"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert run(["fetch", "embedded", "--dry-run"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert run(["fetch", "embedded", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"fetched": [], "failures": []}


def test_unknown_names_and_no_network_are_one_line(table, capsys, monkeypatch):
    assert run(["fetch", "fre"]) == 2
    assert "did you mean free?" in capsys.readouterr().err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(["fetch", "free"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("textualize:")] == [
        "textualize: free: HF_HUB_OFFLINE=1 forbids downloads: unset it to fetch"
    ]


def test_doctor_tells_the_fetched_from_the_missing(table, capsys, monkeypatch):
    monkeypatch.setattr("textualize.doctor.OF_SENSOR", {"whisper": ("free",)})
    monkeypatch.setattr("textualize.doctor.ANY_MODEL", ())

    def told():
        assert run(["doctor", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        weights = {w["name"]: w for w in content["weights"]}
        sensors = {s["name"]: s for s in content["sensors"]}
        return weights["free"], weights["unfree"], sensors["whisper"]

    free, unfree, whisper = told()
    assert not free["there"] and free["remedy"] == "textualize fetch free"
    assert unfree["remedy"] == "textualize fetch unfree --yes"
    assert not whisper["there"] and whisper["commands"][-1] == "textualize fetch free"
    assert run(["fetch", "free"]) == 0
    capsys.readouterr()
    free, _, whisper = told()
    assert free["there"] and free["checked"] and "weights free" not in whisper["missing"]
