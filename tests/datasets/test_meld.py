from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textualize.datasets import load_dataset, meld
from textualize.errors import TextualizeError

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime\n"
)


def row(dialogue, utterance, text="Yeah.", start="00:00:01,000", end="00:00:03,000", **cells):
    speaker, emotion = cells.get("speaker", "Anna"), cells.get("emotion", "neutral")
    return (
        f'1,"{text}",{speaker},{emotion},x,{dialogue},{utterance},1,1,"{start}","{end}"\n'
    )  # fmt: skip


def corpus(root, *rows, split="train", encoding="utf-8", videos=()):
    (root / f"{split}_sent_emo.csv").write_bytes((HEADER + "".join(rows)).encode(encoding))
    for name in videos:
        (root / split).mkdir(exist_ok=True)
        (root / split / f"{name}.mp4").write_bytes(b"x")
    return root


def test_the_published_rows_dialogues_and_bad_videos(assets):
    listing = load_dataset("meld", assets / "data/meld_text")
    dialogues = {(c.split, c.group) for c in listing.clips}
    assert Counter(c.split for c in listing.clips) == {"train": 9989, "validation": 1109}
    assert Counter(s for s, _ in dialogues) == {"train": 1038, "validation": 114}
    assert len({c.id for c in listing.clips}) == 11098 and not listing.failures
    said = "\n".join(listing.notes)
    for known in ("train_dia125_utt3", "train_dia309_utt0", "validation_dia110_utt7"):
        assert known in said
    assert "train_dia338_utt3: lasts 0.01 s" in said  # found by its times alone
    assert "2976 of 11098 utterances had curly quotes" in said
    texts = " ".join(c.transcript for c in listing.clips)
    assert not set("‘’“”…\x85\x91\x92\x93\x94") & set(texts)
    assert "é" in texts and "—" in texts


def test_dropped_rows_are_the_listed_ones_and_stay_context(assets):
    kept = load_dataset("meld", assets / "data/meld_text").clips
    dropped = load_dataset("meld", assets / "data/meld_text", {"bad": "drop"}).clips
    gone = {c.id for c in kept} - {c.id for c in dropped}
    assert gone == {
        "train_dia125_utt3", "train_dia309_utt0", "train_dia338_utt3", "validation_dia110_utt7",
    }  # fmt: skip
    after = next(c for c in dropped if c.id == "train_dia125_utt4")
    assert after == next(c for c in kept if c.id == "train_dia125_utt4")


def test_rows_are_told_apart_by_id_though_their_text_is_the_same(tmp_path):
    corpus(tmp_path, row(0, 1), row(0, 0), row(1, 0), videos=["dia0_utt1", "dia1_utt0"])
    clips = {c.id: c for c in load_dataset("meld", tmp_path).clips}
    assert list(clips) == ["train_dia0_utt0", "train_dia0_utt1", "train_dia1_utt0"]
    assert clips["train_dia0_utt0"].video is None
    assert clips["train_dia0_utt1"].video == tmp_path / "train/dia0_utt1.mp4"
    assert [len(c.context) for c in clips.values()] == [0, 1, 0]


def test_a_bad_video_is_not_used_whatever_the_policy(tmp_path):
    rows = [row(125, 3), row(1, 0, end="00:00:42,000"), row(2, 0), row(3, 0, end="00:00:01,000")]
    names = ["dia125_utt3", "dia1_utt0", "dia2_utt0", "dia3_utt0", "dia9_utt9"]
    corpus(tmp_path, *rows, videos=names)
    text = load_dataset("meld", tmp_path)
    assert [c.id for c in text.clips if c.video] == ["train_dia2_utt0"] and len(text.clips) == 4
    assert text.clips[0].span is None
    cut = load_dataset("meld", tmp_path, {"bad": "cut"})
    assert [c.video for c in cut.clips] == [c.video for c in text.clips]
    assert [c.span.duration for c in cut.clips if c.span] == [2.0]
    assert len(load_dataset("meld", tmp_path, {"bad": "drop"}).clips) == 1
    said = "\n".join(text.notes)
    assert "1 videos in train/ have no row" in said and "dia9_utt9" in said
    assert "3 rows have a bad video or bad times, their text is kept" in said


@pytest.mark.parametrize(
    ("written", "encoding"),
    [
        ("It\x92s \x93so\x94\x85", "utf-8"),
        ("It’s “so”…", "cp1252"),
        ("It’s “so”…".encode().decode("latin-1"), "utf-8"),
        ("It’s “so”…", "utf-8-sig"),
    ],
)
def test_every_mirror_gives_the_same_text(tmp_path, written, encoding):
    listing = load_dataset("meld", corpus(tmp_path, row(0, 0, written), encoding=encoding))
    assert listing.clips[0].transcript == 'It\'s "so"...'
    assert any("1 of 1 utterances" in note for note in listing.notes)


def test_rows_that_cannot_be_used_are_listed_with_file_and_row(tmp_path):
    rows = [
        row(0, 0),
        row(0, 0),
        row("x", 1),
        row(0, 2, emotion="bored"),
        "1,cut off\n",
        row(0, 3, start="soon"),
    ]
    listing = load_dataset("meld", corpus(tmp_path, *rows))
    assert [c.id for c in listing.clips] == ["train_dia0_utt0", "train_dia0_utt3"]
    errors = [f.error for f in listing.failures]
    assert len(errors) == 4
    assert all(
        f"train_sent_emo.csv: row {n}" in e for n, e in zip((3, 4, 5, 6), errors, strict=True)
    )
    assert "given twice" in errors[0] and "bored" in errors[2] and "cut off" in errors[3]
    assert any("given 'soon'" in note for note in listing.notes)


def test_a_file_of_another_form_is_one_line(tmp_path):
    (tmp_path / "train_sent_emo.csv").write_text(HEADER.replace(",", ";"))
    with pytest.raises(TextualizeError, match="has no column Utterance"):
        load_dataset("meld", tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_reading_is_total(tmp_path, data):
    (tmp_path / "train_sent_emo.csv").write_bytes(HEADER.encode() + row(0, 0).encode() + data)
    try:
        assert load_dataset("meld", tmp_path).clips
    except TextualizeError as error:
        assert "\n" not in str(error)


@given(st.integers(0, 359_999_999))
def test_times_are_read_back(milliseconds):
    rest, ms = divmod(milliseconds, 1000)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d},{ms:03d}"
    assert meld.seconds(text) == pytest.approx(milliseconds / 1000)
