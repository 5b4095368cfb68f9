import json

import pytest

from textualize.datasets import hf, load_dataset
from textualize.errors import TextualizeError

ROWS = {
    "train": [("a", "a.mp4", 0.0, 2.5, "joy", "s1"), ("b", None, None, None, None, "s2")],
    "validation": [("c", "c.mp4", None, None, "anger", "s3")],
    "test": [("d", "d.mp4", 1.0, None, "joy", None)],
}
NAMES = ("id", "video", "start", "end", "label", "subject")
CLASSES = ["anger", "joy"]
CARD = """---
license: other
dataset_info:
  features:
  - name: id
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': anger
          '1': joy
---
# A card
"""


def dicts(split, ids=False):
    made = []
    for row in ROWS[split]:
        value = dict(zip(NAMES, row, strict=True))
        value |= {"transcript": f"words of {value['id']}", "text": "a prompt", "cues": "[]"}
        if ids:
            value["label"] = CLASSES.index(row[4]) if row[4] else -1
        made.append(value)
    return made


def check(root, name=None):
    listing = load_dataset("hf", root)
    wanted = {row[0]: (row, split) for split, rows in ROWS.items() for row in rows}
    assert {c.id for c in listing.clips} == set(wanted) and not listing.failures
    for clip in listing.clips:
        row, split = wanted[clip.id]
        assert (clip.label, clip.subject, clip.split) == (row[4], row[5], split)
        assert clip.transcript == f"words of {clip.id}"
        assert clip.video == (root / row[1] if row[1] else None)
        assert (clip.span is None) == (row[2] is None)
    assert listing.labels.labels == ("anger", "joy")
    assert "columns not read: text, cues" in listing.notes
    return listing


@pytest.mark.parametrize("folder", ["", "data"])
@pytest.mark.parametrize("ids", [False, True])
def test_jsonl_by_split(tmp_path, folder, ids):
    (tmp_path / folder).mkdir(exist_ok=True)
    for split in ROWS:
        lines = "".join(json.dumps(row) + "\n" for row in dicts(split, ids))
        (tmp_path / folder / f"{split}.jsonl").write_text(lines)
    (tmp_path / "README.md").write_text(CARD)
    check(tmp_path)


def test_csv_by_split(tmp_path):
    import csv

    for split in ROWS:
        with (tmp_path / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*NAMES, "transcript", "text", "cues"])
            writer.writeheader()
            writer.writerows(dicts(split))
    check(tmp_path)


@pytest.fixture(scope="module")
def dataset_dict():
    datasets = pytest.importorskip("datasets")
    text = ("id", "video", "subject", "transcript", "text", "cues")
    features = datasets.Features(
        {n: datasets.Value("string" if n in text else "float64") for n in dicts("train")[0]}
        | {"label": datasets.ClassLabel(names=CLASSES)}
    )
    return datasets.DatasetDict(
        {s: datasets.Dataset.from_list(dicts(s, ids=True), features=features) for s in ROWS}
    )


def test_what_save_to_disk_writes(tmp_path, dataset_dict):
    dataset_dict.save_to_disk(tmp_path / "d", num_shards={"train": 2, "validation": 1, "test": 1})
    check(tmp_path / "d")
    alone = hf.load(tmp_path / "d/train")
    assert [c.id for c in alone.clips] == ["a", "b"] and alone.clips[0].split is None


def test_parquet_shards_with_their_class_names(tmp_path, dataset_dict):
    (tmp_path / "data").mkdir()
    for split, rows in dataset_dict.items():
        rows.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    check(tmp_path)
    (tmp_path / "train.jsonl").write_text("{}\n")
    with pytest.raises(TextualizeError, match=".jsonl and .parquet: keep one kind"):
        hf.load(tmp_path)


def test_text_stands_for_a_missing_transcript_and_is_said(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "hi", "label": "joy"}\n{"text": "ho"}\n')
    listing = hf.load(tmp_path)
    assert [c.transcript for c in listing.clips] == ["hi", "ho"]
    assert "transcripts are read from column 'text'" in listing.notes


def test_media_cells_give_their_path(tmp_path):
    rows = [
        {"id": "a", "video": {"path": "a.mp4", "bytes": None}},
        {"id": "b", "video": {"path": None, "bytes": "AAAA"}},
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    listing = hf.load(tmp_path)
    assert [c.video for c in listing.clips] == [tmp_path / "a.mp4"]
    assert "'video' holds media without a path" in listing.failures[0].error


def test_the_file_says_the_split_and_disagreement_is_counted(tmp_path):
    rows = [{"id": i, "transcript": i, "split": s} for i, s in (("a", "dev"), ("b", "test"))]
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    listing = hf.load(tmp_path)
    assert {c.split for c in listing.clips} == {"validation"}
    assert "validation.jsonl: 1 rows name another split than their file, which counts" in (
        listing.notes
    )


def test_a_mapping_reads_other_columns(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"file_name": "x", "mood": 1, "part": "test"}\n')
    (tmp_path / "map.yaml").write_text(
        "video: file_name\nlabel: mood\nlabels: {1: joy}\nsplit: part\n"
    )
    (clip,) = load_dataset("hf", tmp_path, {"columns": str(tmp_path / "map.yaml")}).clips
    assert (clip.video, clip.label, clip.split) == (tmp_path / "x", "joy", "test")


@pytest.mark.parametrize(
    "files, said",
    [
        ({}, "no table named after a split"),
        ({"train.jsonl": ""}, "has no rows"),
        ({"state.json": "{}"}, "should list its data files"),
        ({"state.json": '{"_data_files": [3]}'}, "should list its data files"),
        (
            {"state.json": '{"_data_files": [{"filename": "x.arrow"}]}', "x.arrow": "no"},
            "not an Ar",
        ),
        ({"dataset_dict.json": '{"splits": 3}'}, "should list its splits"),
        ({"dataset_dict.json": '{"splits": ["train"]}'}, "not found"),
        ({"train.jsonl": '{"text": "a"}', "README.md": "---\na: [\n---\n"}, "is not YAML"),
    ],
)
def test_damage_is_one_line(tmp_path, files, said):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(TextualizeError, match=said) as caught:
        hf.load(tmp_path)
    assert "\n" not in str(caught.value)
