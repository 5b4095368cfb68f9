import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textualize.cli import app, run
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Span, Status, Track, Utterance

GROUPS = [g.typer_instance for g in app.registered_groups if not g.name]  # corpus has its own tests
COMMANDS = [c.name or c.callback.__name__ for group in GROUPS for c in group.registered_commands]


def corpus(folder: Path, subjects: int = 6, each: int = 8) -> Path:
    """A corpus whose action units and words tell the label apart."""
    opened = Corpus.create(folder, None, [])
    rng = np.random.default_rng(0)
    entries = []
    for s in range(subjects):
        for i in range(each):
            name, label = f"s{s}c{i}", ("calm", "happy")[i % 2]
            values = rng.normal(0.1 + 0.6 * (i % 2), 0.1, (10, 2)).clip(0, 1).astype(np.float32)
            face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
            words = Utterance(Span(0, 1), ("all is well", "how lovely")[i % 2], source="test")
            write_item(opened.folder, f"{name}f", Item(Status("observed", "test"), {"aus": face}))
            write_item(opened.folder, f"{name}s", Item(Status("observed", "test"), {}, (words,)))
            clip = Clip(name, None, subject=f"s{s}", label=label)
            entries.append(Entry(clip, {"face": f"{name}f", "speech": f"{name}s"}))
    opened.write_entries(entries)
    about = json.loads((folder / "corpus.json").read_text())
    about |= {"label_set": "own", "labels": ["calm", "happy"]}
    (folder / "corpus.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("corpus") / "c")


@pytest.fixture(scope="module")
def floor_run(made):
    out = made.parent / "bow"
    assert run(["train", "bag-of-words", "--corpus", str(made), "--out", str(out)]) == 0
    return out


def test_the_verbs_are_found():
    assert {"extract", "train", "evaluate", "serve", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    assert run([name, "--help"]) == 0
    assert f"textualize {name}" in capsys.readouterr().out.split("Example")[1]


def test_the_whole_line_of_verbs(made, floor_run, capsys):
    clip = ["--clip", "s0c1"]
    assert run(["describe", str(made), *clip]) == 0
    assert run(["render", str(made), *clip]) == 0
    assert "how lovely" in capsys.readouterr().out
    assert run(["predict", str(floor_run), "--corpus", str(made), *clip, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["label"] == "happy"
    assert abs(sum(answer["scores"].values()) - 1) < 1e-6
    assert run(["explain", str(floor_run), "--corpus", str(made), *clip, "--json"]) == 0
    effects = json.loads(capsys.readouterr().out)["effects"]
    assert {"aus AU06", "aus AU12"} <= {e["what"] for e in effects}
    assert any("how lovely" in e["what"] for e in effects)


def test_evaluate_reports_and_verify_recomputes(made, floor_run, tmp_path, capsys):
    majority = made.parent / "majority"
    assert run(["train", "majority", "--corpus", str(made), "--out", str(majority)]) == 0
    report = tmp_path / "r"
    arguments = ["evaluate", str(floor_run), str(majority), "--corpus", str(made)]
    one, two = json.loads((floor_run / "splits.json").read_text())["test"][:2]
    explained = ["--explain", one, "--explain", two]
    assert run([*arguments, "--out", str(report), *explained]) == 0
    assert "bow" in capsys.readouterr().out
    page = (report / "report.html").read_text()
    assert page.count("What bow rests on") == page.count("What majority rests on") == 2
    assert run(["verify", str(report)]) == 0
    assert "all equal" in capsys.readouterr().out
    stored = json.loads((report / "report.json").read_text())
    stored["rows"][0]["scores"]["accuracy"]["value"] += 0.01
    (report / "report.json").write_text(json.dumps(stored))
    assert run(["verify", str(report)]) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["extract"], "Missing"),
        (["extrakt"], "extrakt"),
        (["render", "{c}", "--tempalte", "x"], "--tempalte"),
        (["render", "{c}", "--template", "compond"], "did you mean compound"),
        (["render", "{c}", "--clip", "nobody"], "no clip 'nobody'"),
        (["describe", "{c}/nothing"], "corpus not found"),
        (["extract", "{c}/gone.mp4", "--corpus", "{t}/x"], "no file or folder"),
        (["extract", "{t}", "--corpus", "{t}/x"], "no media files"),
        (["extract", "{t}", "--corpus", "{t}/x", "--sensors", "eyes"], "no media files"),
        (["train", "jaca", "--corpus", "{c}", "--out", "{t}/r"], "did you mean jca"),
        (["train", "majority", "--corpus", "{c}", "--out", "{t}/r", "--set", "sed=1"], "seed"),
        (["train", "majority", "--corpus", "{c}", "--out", "{t}/r", "--set", "seed"], "key=value"),
        (["train", "majority", "--corpus", "{c}", "--out", "{t}/r", "--set", "seed=["], "not YAML"),
        (["train", "{c}/latin.yaml", "--corpus", "{c}", "--out", "{t}/r"], "not YAML"),
        (["train", "majority", "--corpus", "{c}", "--out", "{t}/r", "--fold", "9"], "1 to 4"),
        (["predict", "{t}", "--corpus", "{c}"], "not a run folder"),
        (["evaluate", "dmeo", "--corpus", "{c}"], "did you mean demo"),
        (["evaluate", "{t}/a", "{t}/b", "--corpus", "{c}"], "not a run folder"),
        (["evaluate", "demo", "--corpus", "{c}", "--explain", "s0c1"], "goes with run folders"),
        (["evaluate", "prompts", "--corpus", "{c}", "--faces"], "a report of prompts has none"),
        (["evaluate", "{r}", "--corpus", "{c}", "--explain", "nobody"], "clip 'nobody' to explain"),
        (["explain", "{r}", "--corpus", "{c}", "--clip", "nobody"], "no clip 'nobody'"),
        (["explain", "{c}", "--corpus", "{c}", "--clip", "s0c1"], "not a run folder"),
        (["render", "{c}", "--template", "basic", "--future-turns", "1"], "does not use"),
        (["render", "{c}", "--template", "{c}/latin.jinja"], "is not UTF-8"),
        (["verify", "{t}"], "report not found"),
        (["verify", "{c}/latin.yaml"], "report not found"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments, message, made, floor_run, tmp_path, capsys
):
    for name in ("latin.yaml", "latin.jinja"):
        (made / name).write_bytes(b"a: \xff")
    capsys.readouterr()  # what training said
    filled = [a.format(c=made, t=tmp_path, r=floor_run) for a in arguments]
    assert run(filled) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and len(said.splitlines()) == 1 and "Traceback" not in said


def test_a_label_outside_the_set_is_quarantined_and_the_rest_is_read(tmp_path, capsys):
    (tmp_path / "m.csv").write_text("id,label,transcript\na,sadly angry,hm\nb,hangry,no lunch\n")
    arguments = ["extract", str(tmp_path / "m.csv"), "--corpus", str(tmp_path / "c")]
    assert run([*arguments, "--labels", "compound7", "--sensors", "sidecar", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [f["clip"] for f in told["failures"]] == ["b"] and told["read"] == 1


def test_a_newer_corpus_is_refused(made, tmp_path, capsys):
    (tmp_path / "corpus.json").write_text('{"schema": 7}')
    assert run(["describe", str(tmp_path)]) == 2
    assert "schema 7" in capsys.readouterr().err


def timed(code: str) -> tuple[float, str]:
    script = f"import time, sys\nt = time.perf_counter()\n{code}\nprint(time.perf_counter() - t)\n"
    script += "print(','.join(m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'av', "
    script += "'mediapipe', 'pandas') if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    seconds, loaded = done.stdout.splitlines()[-2:]
    return float(seconds), loaded


def test_importing_and_asking_for_help_load_nothing_heavy():
    _, loaded = timed("import textualize")
    assert loaded == ""
    _, loaded = timed("from textualize.cli import run; run(['--help'])")
    assert loaded == ""


def test_the_report_of_the_demo_needs_no_extra():
    """The wheel alone reads, compares and verifies: nothing of an extra may be imported for it."""
    extras = ("torch", "transformers", "huggingface_hub", "peft", "mediapipe")
    script = "import sys\nimport textualize.demo.run, textualize.evaluate.verify\n"
    script += f"print([m for m in {extras} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
