"""Generated files in the published form: quoted header, cells `"1"` with blanks behind them."""

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textualize.datasets import c_expr_db, load_dataset
from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS

CLASSES = LABEL_SETS["compound8"].labels
COUNTS = (24, 15, 13, 10, 8, 19, 16, 20)
HEADER = ["begin time", "end time", *(name.title() for name in CLASSES)]


def line(begin, end, label, blank="  "):
    cells = [f'"{begin}"', f'"{end}"', *('"1"' + blank if x == label else "" for x in CLASSES)]
    return ",".join(cells)


def clock(seconds):
    return f"{int(seconds // 3600):02d}:{int(seconds // 60) % 60:02d}:{seconds % 60:06.3f}"


def annotation():
    """Return video -> [(begin, end, label)]: 56 videos, as many clips a class as published."""
    labels = [x for x, n in zip(CLASSES, COUNTS, strict=True) for _ in range(n)]
    shuffled = [labels[i * 47 % len(labels)] for i in range(len(labels))]
    videos = {f"{n:02d}": [] for n in range(1, 57)}
    for clip, (label, video) in enumerate(
        zip(shuffled, itertools.cycle(sorted(videos)), strict=False)
    ):
        begin = 4000.0 * (clip // 56) + 1.5
        videos[video].append((begin, begin + 2.25, label))
    return videos


def write(root, header=HEADER, blank="  ", newline="\n", encoding="utf-8"):
    (root / "annotation").mkdir()
    top = ",".join(f'"{name}"' for name in header)
    for video, clips in annotation().items():
        rows = [line(clock(b), clock(e), label, blank) for b, e, label in clips]
        text = newline.join([top, *rows, "," * 9, ""])
        (root / f"annotation/{video}.csv").write_bytes(text.encode(encoding))
    return root


def clip_names():
    names = []
    for video, clips in annotation().items():
        count = Counter()
        for _, _, label in clips:
            dashed = label.title().replace(" ", "-")
            names.append((f"{dashed}/{video}_{dashed}_{count[label]}", CLASSES.index(label)))
            count[label] += 1
    return names


def write_folds(root, transcripts=True):
    names = clip_names()
    for fold in range(5):
        folder = root / f"folds/split-{fold}"
        folder.mkdir(parents=True)
        for part in ("train", "val", "test"):
            lines = []
            for i, (name, code) in enumerate(names):
                if (i % 5 == fold) == (part != "train"):
                    said = "Well, I, uh, no." if i % 3 else "nobody is speaking "
                    lines.append(f"{name},{code}" + (f",{said}" if transcripts else ""))
            (folder / f"{part}.txt").write_text("\n".join(lines) + "  \n")
    return root


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"blank": "", "newline": "\r\n", "encoding": "utf-8-sig"},
        {"header": [name.upper() + " " for name in HEADER]},
        {"header": [*HEADER, "", ""]},
        {"header": [name.lower().replace(" ", "_") for name in HEADER]},
    ],
)
def test_counts_and_ids_come_out_whatever_the_form(tmp_path, form):
    listing = load_dataset("c-expr-db", write(tmp_path, **form))
    counts = Counter(c.label for c in listing.clips)
    assert tuple(counts[label] for label in CLASSES) == COUNTS and not listing.failures
    assert {c.id for c in listing.clips} == {name for name, _ in clip_names()}
    assert len({c.group for c in listing.clips}) == 56
    assert all(c.group == c.id.split("/")[1][:2] for c in listing.clips)
    assert listing.labels.name == "compound8"
    assert not any("by their place" in note for note in listing.notes)


def test_other_is_left_out_and_counted(tmp_path):
    listing = load_dataset("c-expr-db", write(tmp_path), {"other": "false"})
    assert len(listing.clips) == 105 and listing.labels.name == "compound7"
    assert "20 clips of class Other left out" in listing.notes


def test_transcripts_keep_their_commas_and_silence_has_no_words(tmp_path):
    listing = load_dataset("c-expr-db", write_folds(write(tmp_path)))
    said = Counter(c.transcript for c in listing.clips)
    assert said == {"Well, I, uh, no.": 83, "": 42}
    assert any("42 clips: nobody is speaking" in note for note in listing.notes)
    plain = tmp_path / "plain"
    plain.mkdir()
    listing = load_dataset("c-expr-db", write_folds(write(plain), transcripts=False))
    assert {c.transcript for c in listing.clips} == {None}


def test_published_folds_are_as_released(tmp_path):
    folds = c_expr_db.published_lists(write_folds(write(tmp_path)))
    clips = {c.id for c in load_dataset("c-expr-db", tmp_path).clips}
    assert len(folds) == 5
    for train, val, test in folds:
        assert val == test and not set(train) & set(val) and {*train, *val} == clips


def test_what_the_files_say_differently_is_noted(tmp_path):
    write_folds(write(tmp_path))
    path = tmp_path / "folds/split-0/train.txt"
    first, *rest = path.read_text().splitlines()
    name, code, _ = first.split(",", 2)
    wrong = (int(code) + 1) % 8
    unknown = "Sadly-Angry/99_Sadly-Angry_0,6,hm"
    path.write_text("\n".join([f"data/{name}.mp4, {wrong} ,well", *rest[1:], unknown]))
    notes = "\n".join(load_dataset("c-expr-db", tmp_path).notes)
    assert "1 clips of the fold files are not in the annotation (e.g. Sadly-Angry/99" in notes
    assert (
        f"1 clips have another label in a fold file; the annotation's is taken (e.g. {name})"
        in notes
    )
    assert "1 clips have several transcripts" in notes
    path.write_text("Sadly-Angry/01,6\n")
    with pytest.raises(TextualizeError, match=r"train.txt:1: should name a clip as"):
        c_expr_db.published_lists(tmp_path)
    assert any("is not used" in note for note in load_dataset("c-expr-db", tmp_path).notes)


def test_rows_that_cannot_be_used_are_listed_and_the_count_goes_on(tmp_path):
    write(tmp_path)
    rows = [
        '"begin time","end time",' + ",".join(f'"{x}"' for x in CLASSES),
        line("00:00:01.0", "00:00:02.0", "sadly angry"),
        line("00:00:05.0", "00:00:04.0", "sadly angry"),
        line("soon", "00:00:04.0", "sadly angry"),
        line("00:00:05.0", "00:00:06.0", "none"),
        line("00:01:00.5", "01:00:06.25", "sadly angry"),
    ]
    (tmp_path / "annotation/56.csv").write_text("\n".join(rows))
    listing = load_dataset("c-expr-db", tmp_path)
    last = [c for c in listing.clips if c.group == "56"]
    assert [c.id for c in last] == ["Sadly-Angry/56_Sadly-Angry_0", "Sadly-Angry/56_Sadly-Angry_1"]
    assert [f.clip for f in listing.failures] == ["56_row3", "56_row4", "56_row5"]
    assert "56.csv: row 3: ends (00:00:04.0) before" in listing.failures[0].error


def test_an_odd_header_is_read_by_place_and_said(tmp_path):
    header = ["start time", *HEADER[1:4], "c3", *HEADER[5:]]
    listing = load_dataset("c-expr-db", write(tmp_path, header=header))
    assert tuple(Counter(c.label for c in listing.clips)[x] for x in CLASSES) == COUNTS
    assert any("56 annotation files have no column begin, sadly surp" in n for n in listing.notes)


@pytest.mark.parametrize(
    "header", [["begin", "end", "label"], ["start time", "end", *HEADER[:1:-1]], []]
)
def test_a_header_that_cannot_be_read_by_place_is_one_line(tmp_path, header):
    with pytest.raises(TextualizeError, match="01.csv: the header should name begin, end and 8"):
        load_dataset("c-expr-db", write(tmp_path, header=header))


def test_classes_in_another_order_go_by_their_name(tmp_path):
    header = [HEADER[1], HEADER[0], *HEADER[2:]]
    listing = load_dataset("c-expr-db", write(tmp_path, header=header))
    assert len(listing.failures) == 125 and "before it begins" in listing.failures[0].error


def test_media_are_found_trimmed_or_untrimmed_with_spans(tmp_path):
    write(tmp_path)
    trimmed = [name for name, _ in clip_names()][:3]
    for path in (*(f"trimmed/{n}.mp4" for n in trimmed), "videos/01.mp4", "videos/02.mp4"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    listing = load_dataset("c-expr-db", tmp_path)
    assert {c.id for c in listing.clips if c.video} == set(trimmed)
    assert all(c.span is None for c in listing.clips)
    assert any("122 of 125 clips have no trimmed video" in n for n in listing.notes)
    listing = load_dataset("c-expr-db", tmp_path, {"videos": "untrimmed"})
    for clip in listing.clips:
        assert bool(clip.video) == bool(clip.span) == (clip.group in ("01", "02"))
    spans = [c.span for c in listing.clips if c.group == "02"]
    expected = [(b, e) for b, e, _ in annotation()["02"]]
    assert [x for s in spans for x in (s.start, s.end)] == pytest.approx(
        [x for pair in expected for x in pair]
    )


def test_the_challenge_videos_have_no_labels(tmp_path):
    with pytest.raises(TextualizeError, match="no untrimmed"):
        load_dataset("c-expr-db-challenge", tmp_path)
    write(tmp_path)
    for n in (1, 2, 56):
        (tmp_path / f"{n:02d}.mp4").write_bytes(b"x")
    listing = load_dataset("c-expr-db-challenge", tmp_path)
    assert [(c.id, c.group, c.label) for c in listing.clips] == [
        ("01", "01", None), ("02", "02", None), ("56", "56", None),
    ]  # fmt: skip
    assert listing.notes == ("3 of 56 videos are there",)


def test_without_annotation_or_folds_it_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no C-EXPR-DB annotation"):
        load_dataset("c-expr-db", tmp_path)
    with pytest.raises(TextualizeError, match="no folds/split-0"):
        c_expr_db.published_lists(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120), st.binary(max_size=120))
def test_reading_is_total(tmp_path, rows, lines):
    for folder in ("annotation", "folds/split-0"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    top = ",".join(HEADER) + "\n" + line("00:00:01.0", "00:00:02.0", "sadly angry") + "\n"
    (tmp_path / "annotation/01.csv").write_bytes(top.encode() + rows)
    (tmp_path / "folds/split-0/train.txt").write_bytes(b"Sadly-Angry/01_Sadly-Angry_0,6\n" + lines)
    try:
        listing = load_dataset("c-expr-db", tmp_path)
        assert listing.clips[0].id == "Sadly-Angry/01_Sadly-Angry_0"
    except TextualizeError as error:
        assert "\n" not in str(error)
