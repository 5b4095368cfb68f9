import importlib

import pytest

from textualize.datasets import load_dataset, manifest
from textualize.datasets.columns import COLUMNS, SIDECARS, load_mapping
from textualize.datasets.sources import listing_of
from textualize.errors import TextualizeError
from textualize.extract.sensor import SENSORS

CSV = "Utt,Dia,Emotion,Set,File,note\n1,7,0,dev,x,hm\n2,7,1,Train,,ha\n3,8,-,test,z,\n"
MAPPING = """
id: "d{Dia}_u{Utt}"
video: "clips/{File}.mp4"
transcript: =hello
label: Emotion
group: Dia
split: Set
labels: {0: joy, 1: Anger, "-": null}
"""


def load(tmp_path, mapping=MAPPING, text=CSV):
    (tmp_path / "their.csv").write_text(text)
    (tmp_path / "map.yaml").write_text(mapping)
    return manifest.load(tmp_path / "their.csv", columns=tmp_path / "map.yaml")


def test_their_columns_become_ours(tmp_path):
    listing = load(tmp_path)
    a, b, c = listing.clips
    assert [x.id for x in listing.clips] == ["d7_u1", "d7_u2", "d8_u3"]
    assert a.video == tmp_path / "clips/x.mp4" and b.video is None  # an empty cell: no path
    assert {x.transcript for x in listing.clips} == {"hello"}
    assert (a.label, b.label, c.label) == ("joy", "anger", None)
    assert [x.split for x in listing.clips] == ["validation", "train", "test"]
    assert [x.group for x in listing.clips] == ["7", "7", "8"]
    assert "columns not read: note" in listing.notes
    assert "splits renamed: Train -> train, dev -> validation" in listing.notes
    assert "labels respelled: Anger -> anger" in listing.notes


def test_a_mapping_reaches_every_way_to_load(tmp_path):
    wanted = load(tmp_path).clips
    path, columns = tmp_path / "their.csv", tmp_path / "map.yaml"
    assert listing_of([path], columns=columns).clips == wanted
    assert listing_of([path], "manifest", columns=columns).clips == wanted
    assert load_dataset("manifest", path, {"columns": str(columns)}).clips == wanted
    with pytest.raises(TextualizeError, match="goes with a manifest"):
        listing_of([tmp_path], "meld", columns=columns)


def test_a_shipped_coding_names_the_labels(tmp_path):
    mapping = "transcript: Dia\nid: Utt\nlabel: Emotion\nlabels: meld-text-models\n"
    text = CSV.replace("-", "4")
    assert [c.label for c in load(tmp_path, mapping, text).clips] == ["anger", "disgust", "neutral"]


def test_names_we_share_are_read_unless_they_are_put_out(tmp_path):
    text = "id,transcript,split,x\na,hi,fold3,1\n"
    (clip,) = load(tmp_path, "subject: x", text).clips
    assert (clip.transcript, clip.split, clip.subject) == ("hi", "fold3", "1")
    listing = load(tmp_path, "split: null\nlabel_kind: class", text)
    assert listing.clips[0].split is None
    assert "columns not read: split, x" in listing.notes


def test_scores_and_own_splits(tmp_path):
    text = "transcript,label,split\na,1,old\nb,3,dev\n"
    listing = load(tmp_path, "label_kind: number\nsplits: {old: train, dev: test}", text)
    assert [c.label for c in listing.clips] == [1.0, 3.0] and listing.labels is None
    assert [c.split for c in listing.clips] == ["train", "test"]


@pytest.mark.parametrize(
    "mapping, said",
    [
        ("labl: Emotion", r"key of a column mapping \(map.yaml\) named 'labl' \(did you mean la"),
        ("video: Fil", r"no column \(their.csv\) named 'Fil' \(did you mean File"),
        ('video: "{Fil}.mp4"', "named 'Fil'"),
        ("label: 3", "map.yaml: label: .*string; given 3"),
        ("label_kind: score", "map.yaml: label_kind: .*given 'score'"),
        ("labels: {no: joy}", "map.yaml: labels"),
        ("labels: meld-txt", "did you mean meld"),
        ("subject: Utt", "needs a column 'video' or 'transcript'"),
        ("- a", "should hold names and columns"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_mapping_is_one_line(tmp_path, mapping, said):
    with pytest.raises(TextualizeError, match=said) as caught:
        load(tmp_path, mapping)
    assert "\n" not in str(caught.value)


def test_a_missing_mapping_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="cannot read the column mapping"):
        load_mapping(tmp_path / "none.yaml")


def test_without_a_mapping_an_unknown_column_says_what_to_do(tmp_path):
    (tmp_path / "t.csv").write_text("id,vidoe\na,b\n")
    with pytest.raises(TextualizeError, match="did you mean video.*--columns FILE"):
        manifest.load(tmp_path / "t.csv")


def test_every_file_that_a_sensor_imports_has_its_column():
    keys = set()
    for name, (_, where) in SENSORS.items():
        if ".imports." in where:
            module = importlib.import_module(where.partition(":")[0])
            keys.add(getattr(module, "KEY", name))
    assert len(keys) >= 6 and keys | {"openface", "transcript"} == set(SIDECARS.values())
    assert set(SIDECARS) <= set(COLUMNS)


def test_a_real_corpus_by_mapping_alone(assets, tmp_path):
    (tmp_path / "map.yaml").write_text(
        'id: "dev_dia{Dialogue_ID}_utt{Utterance_ID}"\ntranscript: Utterance\nsubject: Speaker\n'
        "label: Emotion\ngroup: Dialogue_ID\nstart: StartTime\nend: EndTime\nsplit: =dev\n"
    )
    path = assets / "data/meld_text/dev_sent_emo.csv"
    listing = manifest.load(path, columns=tmp_path / "map.yaml")
    own = [c for c in load_dataset("meld", path.parent).clips if c.split == "validation"]
    assert len(listing.clips) == len(own) == 1109 and not listing.failures
    labels = {c.id.removeprefix("validation_"): c.label for c in own}
    assert all(labels[c.id.removeprefix("dev_")] == c.label for c in listing.clips)
    assert listing.labels.name == "meld7" and len({c.group for c in listing.clips}) == 114
    (first,) = (c for c in listing.clips if c.id == "dev_dia0_utt0")
    assert (first.span.start, first.span.end) == pytest.approx((1257.256, 1260.049))
