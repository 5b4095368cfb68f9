"""Over-long prompts: what goes first, that no more goes than has to, and that it is counted."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize.finetune import text as finetune
from textualize.finetune.recipe import Scratch, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.prompt import load_template, render_with
from textualize.text import predict
from textualize.text.answers import Shot
from textualize.text.budget import fitted, told, total
from textualize.text.causal import TextLLM
from textualize.text.prompts import PromptReader
from textualize.types import Clip, Record, Span, Status, Track, Utterance

torch.set_num_threads(1)

LABELS = LabelSet("own", ("glad", "sad"), {})
SHOTS = (Shot("far", "sad"), Shot("near", "glad"))


def turn(speaker: str, text: str) -> Utterance:
    return Utterance(Span(0, 0), text, speaker=speaker)


def record(*said: str, context: int = 0, label: str = "glad", name: str = "c") -> Record:
    earlier = tuple(turn("Ana", f"turn{i} was said") for i in range(context))
    clip = Clip(name, None, context=earlier, label=label)
    status = {"speech": Status("observed", "test")}
    return Record(clip, {}, tuple(turn("Bo", text) for text in said), status)


def reader(turns: int = 3, modalities: str = "TVA") -> PromptReader:
    return PromptReader(load_template("compound", modalities, turns=turns), LABELS.labels)


def length(text: str, shots=()) -> int:
    """Words, and two for each demonstration: as good a measure as tokens."""
    return len(text.split()) + 2 * len(shots)


LONG = record("one two three four five six", "short here", context=3)
WHOLE = length(reader().texts([LONG])[0], SHOTS)


def cut(limit: int, of: Record = LONG, shots=SHOTS, read: PromptReader | None = None):
    return fitted(read or reader(), of, shots, limit, length)


def test_a_prompt_that_fits_is_left_alone():
    found = cut(WHOLE)
    assert (found.text, found.shots, found.lost) == (reader().texts([LONG])[0], SHOTS, {})


def test_the_farthest_demonstration_goes_first():
    found = cut(WHOLE - 1)
    assert found.shots == SHOTS[1:]
    assert found.text == reader().texts([LONG])[0]
    assert found.lost == {"demonstrations": 1}


def test_then_the_oldest_turns_one_by_one():
    found = cut(WHOLE - 5)
    assert found.lost == {"demonstrations": 2, "turns": 1}
    assert "turn0" not in found.text
    assert "turn1 was said" in found.text
    found = cut(WHOLE - 4 - 3 * 4)
    assert "turn2" not in found.text
    assert found.lost["turns"] == 3


def test_then_the_end_of_the_longest_utterance_marked():
    found = cut(WHOLE - 4 - 13 - 1)
    assert "“one two three four [cut]”" in found.text
    assert "“short here”" in found.text
    assert found.lost == {"demonstrations": 2, "turns": 3, "words": 2}


def test_only_turns_the_template_reads_are_counted():
    found = cut(8, record("one two", context=9), (), reader(2, "T"))
    assert found.lost["turns"] == 2
    assert "turns" not in cut(8, record("one two", context=9), (), reader(0, "T")).lost


def faced() -> Record:
    names = ("AU01", "AU04", "AU06", "AU09", "AU12", "AU15", "AU20")
    shown = np.tile(np.linspace(0.95, 0.7, len(names), dtype=np.float32), (16, 1))
    aus = Track(shown, 4.0, 0.0, names, "probability", "test")
    status = {**LONG.status, "face": Status("observed", "test")}
    return replace(LONG, tracks={"aus": aus}, status=status)


def test_cues_go_last_the_weakest_first_and_one_stays():
    read = reader()
    strongest = [c.text for c in render_with(read.template, faced()).cues if c.modality == "face"]
    assert len(strongest) > 3
    tight = cut(1, faced(), (), read)
    assert tight.lost == {"turns": 3, "words": 8, "cues": len(strongest) - 1}
    assert strongest[0] in tight.text
    assert strongest[1] not in tight.text
    assert "“[cut]” “[cut]”" in tight.text
    one_less = cut(length(tight.text) + length(strongest[1]), faced(), (), read)
    assert one_less.lost["cues"] == len(strongest) - 2
    assert strongest[1] in one_less.text


@given(
    st.integers(1, WHOLE + 2),
    st.lists(st.text("abc ", min_size=1, max_size=40), max_size=4),
    st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_it_fits_or_nothing_is_left_and_more_room_never_loses_more(limit, said, context):
    one = record(*said, context=context)
    tight, wide = cut(limit, one), cut(limit + 1, one)
    gone = length(cut(0, one).text)
    assert length(tight.text, tight.shots) <= max(limit, gone)
    for kind, n in wide.lost.items():
        assert tight.lost.get(kind, 0) >= n
    if length(reader().texts([one])[0], SHOTS) <= limit:
        assert not tight.lost
    else:
        assert tight.lost


def test_the_mark_is_never_doubled():
    assert "[cut] [cut]" not in cut(9, record("word " * 900), ()).text


def test_losses_are_told_and_added_up():
    assert told(total([{"turns": 2}, {}, {"turns": 1, "tokens": 5}])) == "3 turns, 5 tokens"


# --- in a method --------------------------------------------------------------------------------


def recipe(**changes) -> TextRecipe:
    shape = Scratch(hidden=32, layers=1, heads=2, vocabulary=320)
    values = {"model": "scratch", "lora": None, "scratch": shape, "max_tokens": 120, "epochs": 1}
    return TextRecipe(method="text-llm", **({"turns": 3, **values, "modalities": "T"} | changes))


RECORDS = [
    record("short", name="a"),
    record(" ".join(f"many w{i}" for i in range(0, 990, 7)), context=3, name="b", label="sad"),
    record("short too", context=3, name="d"),
]


def test_every_prompt_fits_and_predictions_say_what_theirs_lost(caplog):
    method = TextLLM.build(recipe(), LABELS, RECORDS)
    items, losses = predict.read(method, RECORDS)
    assert all(len(item["input_ids"]) <= method.limit for item in items)
    assert [bool(lost) for lost in losses] == [False, True, False]
    assert method.truncated == 1
    read = method.tokenizer.decode(items[1]["input_ids"])
    assert " [cut]”" in read
    assert read.endswith("Options: glad, sad\nEmotion:")
    with caplog.at_level(logging.WARNING):
        found = method.predict(RECORDS)
    assert [p.text[:18] for p in found] == ["", "prompt cut: 3 turn", ""]
    assert "1 of 3 prompts were cut to 120 tokens: 3 turns, " in caplog.text


def test_a_template_longer_than_the_room_loses_tokens_and_says_so(tmp_path):
    long = tmp_path / "long.jinja"
    long.write_text("An introduction that goes on and on. " * 20 + "{{ labels | join(', ') }}:")
    method = TextLLM.build(recipe(template=str(long), turns=0, max_tokens=60), LABELS, RECORDS)
    items, losses = predict.read(method, RECORDS[:1])
    assert len(items[0]["input_ids"]) <= 60
    assert losses[0]["tokens"] > 0
    assert method.tokenizer.decode(items[0]["input_ids"]).endswith("glad, sad:")


def test_the_run_counts_what_training_lost(tmp_path):
    run = RunFolder(tmp_path / "run")
    others = [replace(r, clip=replace(r.clip, id=f"v{r.clip.id}")) for r in RECORDS]
    run.begin(recipe(), LABELS, RECORDS, others)
    finetune.train_causal(recipe(), RECORDS, others, run)
    notes = " ".join(run.environment["notes"])
    assert "truncated train prompts: 1 of 3 (longer than 120 tokens; lost: 3 turns, " in notes
    assert run.environment["summary"]["truncated prompts"] == "2 of 6"


def test_without_a_number_the_model_says_how_much_it_takes():
    method = TextLLM.build(recipe(max_tokens=None), LABELS, RECORDS)
    longest = max(len(answer) for answer in method.answers)
    assert method.limit == method.net.config.max_position_embeddings - longest == 512
