import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from textualize.console import explanation_table
from textualize.errors import TextualizeError
from textualize.evaluate.finished import evaluate
from textualize.explain import MANY, explain, without_each, without_each_column, worded
from textualize.finetune.recipe import load_recipe
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.prompt import load_template
from textualize.text.prompts import PromptReader
from textualize.types import Clip, Cue, Prediction, Prompt, Record, Span, Status, Track, Utterance


def record():
    values = np.array([[1.0, 0.25], [1.0, 0.25]], np.float32)
    aus = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
    said = (Utterance(Span(0, 1), "yes"), Utterance(Span(1, 2), "no"))
    return Record(Clip("c", None), {"aus": aus}, said, {"speech": Status("observed", "test")})


TURNS = tuple(Utterance(Span(0, 0), t, speaker="Ann") for t in ("one", "two", "three"))


class Sum:
    """A fake method: the probability grows with what it sees."""

    labels = ("a", "b")

    def predict(self, records):
        answers = []
        for r in records:
            p = float(np.nan_to_num(r.tracks["aus"].values).sum()) / 5 + 0.1 * len(r.utterances)
            answers.append(Prediction(r.clip.id, "sum", "a", {"a": p, "b": 1 - p}))
        return answers


def test_effects_are_what_each_piece_adds_strongest_first():
    found = explain(Sum(), record())
    changes = {e.what: round(e.change, 4) for e in found.effects}
    assert changes == {"aus AU06": 0.4, "aus AU12": 0.1, 'words "yes"': 0.1, 'words "no"': 0.1}
    assert found.effects[0].what == "aus AU06"


def test_taking_away_never_changes_the_record_itself():
    whole = record()
    pieces = list(without_each(whole))
    assert len(pieces) == 4
    assert np.isfinite(whole.tracks["aus"].values).all()
    assert [len(r.utterances) for _, r in pieces[2:]] == [1, 1]


def test_taking_the_last_words_away_leaves_an_absence():
    one = Record(Clip("c", None), {}, (Utterance(Span(0, 1), "yes"),), record().status)
    ((_, without),) = without_each(one)
    assert without.status["speech"].state == "absent"


def with_landmarks(whole, label=None):
    """The record and a track of 478 points."""
    names = tuple(f"{axis}{i}_px" for i in range(478) for axis in "xyz")
    points = Track(np.ones((2, len(names)), np.float32), 12.5, 0.0, names, "named", "test")
    clip = replace(whole.clip, label=label)
    return replace(whole, clip=clip, tracks={**whole.tracks, "landmarks": points})


def test_many_columns_and_nameless_ones_are_one_piece():
    whole = with_landmarks(record())
    assert len(whole.tracks["landmarks"].names) > MANY
    pieces = dict(without_each(whole))
    assert len(pieces) == 5
    gone = pieces["landmarks (1434 columns)"].tracks["landmarks"].values
    assert np.isnan(gone).all() and np.isfinite(whole.tracks["landmarks"].values).all()
    nameless = Track(np.ones((2, 4), np.float32), 12.5, 0.0, (), "embedding", "test")
    two = replace(whole, tracks={**whole.tracks, "voice": nameless})
    assert list(dict(without_each(two))) == list(pieces)  # no words could tell it
    assert list(dict(without_each_column(two, ["voice"]))) == ["voice (4 columns)"]


def test_of_a_feature_method_only_the_tracks_it_reads_are_taken_away(tmp_path):
    talks = []
    for i in range(8):
        whole = with_landmarks(record(), label="ab"[i % 2])
        aus = whole.tracks["aus"]
        values = aus.values * (0.2 if i % 2 else 1) * (1 + i / 100)
        tracks = {**whole.tracks, "aus": replace(aus, values=values)}
        talks.append(replace(whole, clip=replace(whole.clip, id=f"c{i}"), tracks=tracks))
    recipe = load_recipe("linear", ["tracks=[aus]"])
    run = train(
        recipe, talks[:6], talks[6:], tmp_path / "run", labels=LabelSet("own", ("a", "b"), {})
    )
    found = explain(load(run.path), talks[6])
    assert {e.what for e in found.effects} == {"aus AU06", "aus AU12"}
    assert any(e.change for e in found.effects)


def test_an_unreadable_answer_is_an_error():
    class Mute(Sum):
        def predict(self, records):
            return [Prediction(r.clip.id, "mute", None) for r in records]

    with pytest.raises(TextualizeError, match="no readable answer"):
        explain(Mute(), record())


def test_the_log_probability_falls_by_its_ratio_and_orders_the_effects():
    found = explain(Sum(), record())
    for effect in found.effects:
        left = found.probability - effect.change
        assert effect.log_change == pytest.approx(math.log(found.probability / left))
    sizes = [abs(e.log_change) for e in found.effects]
    assert sizes == sorted(sizes, reverse=True)
    assert math.isfinite(explain(Certain(), record()).effects[0].log_change)


class Certain(Sum):
    """Gives up its answer altogether without the first action unit."""

    def predict(self, records):
        whole, *rest = ({"a": 1.0, "b": 0.0} if i != 1 else {"a": 0.0, "b": 1.0}
                        for i in range(len(records)))  # fmt: skip
        return [Prediction(r.clip.id, "c", "a", s)
                for r, s in zip(records, (whole, *rest), strict=True)]  # fmt: skip


def test_only_the_turns_a_prompt_reads_are_taken_away():
    talk = Record(Clip("c", None, context=TURNS), {}, (), {})
    assert [what for what, _ in without_each(talk)] == []
    found = dict(without_each(talk, TURNS[-2:], TURNS[:1]))
    assert list(found) == ['earlier turn "two"', 'earlier turn "three"', 'later turn "one"']
    without = found['earlier turn "two"']
    assert [t.text for t in without.clip.context] == ["three"]  # "one" does not move up
    assert [t.text for t in without.around.following] == ["one"]


class Reader(Sum):
    """A fake method of words: it reads by a template, with dialogue turns."""

    def __init__(self, modalities="TVA", turns=0):
        self.reader = PromptReader(load_template("compound", modalities, turns=turns), ("a", "b"))


def test_a_method_of_words_names_the_cue_and_leaves_out_what_its_prompt_never_told():
    found = explain(Reader("T"), record())
    assert {e.what: e.cue for e in found.effects} == {'words "yes"': "yes", 'words "no"': "no"}
    assert found.unread == 2 and "yes" in found.prompt and "a, b" in found.prompt
    whole = explain(Reader("TVA"), record())
    assert "(AU6)" in next(e.cue for e in whole.effects if e.what == "aus AU06")
    assert whole.unread == 1  # AU12 is too weak to be worded
    assert explain(Sum(), record()).unread == 0 and explain(Sum(), record()).prompt == ""


def test_a_dialogue_turn_is_a_piece_where_the_template_reads_turns():
    talk = record()
    talk = replace(talk, clip=replace(talk.clip, context=TURNS))
    told = {e.what for e in explain(Reader("T", turns=2), talk).effects}
    assert {'earlier turn "two"', 'earlier turn "three"'} <= told
    assert not any("turn" in e.what for e in explain(Reader("T"), talk).effects)


def test_what_replaces_a_cue_is_told_and_the_usual_goes_unsaid():
    def prompt(*cues):
        made = tuple(Cue("face", state, text, None, "t") for text, state in cues)
        return Prompt("c", " ".join(c.text for c in made), made, "t", "d")

    whole = prompt(("mouth open", "observed"), ("brows at rest", "neutral"))
    assert worded(whole, prompt(("jaw drop", "observed"))) == "mouth open → jaw drop"
    assert worded(whole, prompt(("mouth open", "observed"))) == "brows at rest"
    assert worded(whole, whole) == ""


def test_every_effect_of_a_causal_model_is_what_one_clip_at_a_time_gives(tmp_path):
    talk = replace(record(), clip=Clip("c", None, label="a"))
    recipe = load_recipe("text-llm", ["epochs=1", "scratch={hidden: 32, layers: 2, heads: 1}"])
    others = [replace(talk, clip=Clip(f"o{i}", None, label="ab"[i % 2])) for i in range(4)]
    run = train(
        recipe, others[:2], others[2:], tmp_path / "r", labels=LabelSet("own", ("a", "b"), {})
    )
    method = load(run.path)
    found = explain(method, talk)
    assert len(found.effects) >= 3
    pieces = dict(without_each(talk))
    (whole,) = method.predict([talk])
    assert found.label == whole.label
    for effect in found.effects:
        (part,) = method.predict([pieces[effect.what]])
        alone = math.log(whole.scores[found.label]) - math.log(part.scores[found.label])
        assert effect.log_change == pytest.approx(alone, abs=1e-4)
        assert effect.cue


def test_the_table_shows_cue_probability_and_logarithm():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(explanation_table(explain(Reader("T"), record()), 5))
    text = console.export_text()
    assert "in the prompt" in text and "+0.100" in text
    assert "2 measured pieces are not told by the prompt" in text
    console.print(explanation_table(explain(Sum(), record()), 5))
    assert "in the prompt" not in console.export_text()


def test_a_report_shows_what_the_runs_answers_rest_on(tmp_path):
    label_set = LabelSet("own", ("a", "b"), {})
    talks = [
        replace(
            record(),
            clip=Clip(f"c{i}", None, label="ab"[i % 2], group=f"g{i}"),
            utterances=(Utterance(Span(0, 1), ("<b>oh</b> yes", "well no")[i % 2]),),
        )
        for i in range(12)
    ]
    for name in ("bag-of-words", "majority"):
        train(load_recipe(name), talks[:6], talks[6:8], tmp_path / name, labels=label_set)
    runs = [tmp_path / "bag-of-words", tmp_path / "majority"]
    told = {"labels": label_set, "explained": ["c8"]}
    done = evaluate(runs, talks[8:], out=tmp_path / "report", **told)
    page = (done.folder / "report.html").read_text("utf-8")
    assert page.count("What bag-of-words rests on") == 1
    assert page.count("What majority rests on") == 1
    assert "&lt;b&gt;oh&lt;/b&gt; yes" in page and "<b>oh" not in page
    assert "rests on" not in render_without(runs, talks[8:], tmp_path, label_set)
    with pytest.raises(TextualizeError, match="clip 'c1' to explain is not among"):
        evaluate(runs, talks[8:], out=tmp_path / "r", labels=label_set, explained=["c1"])


def render_without(runs, records, folder, labels):
    done = evaluate(runs, records, out=folder / "plain", labels=labels)
    return (done.folder / "report.html").read_text("utf-8")
