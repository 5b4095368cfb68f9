"""Face sensors on real media: who is seen, when, and that clips do not leak into each other."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract import face
from textualize.extract.action_units import NAMES
from textualize.extract.face import FACE_COLUMNS, MediaPipeFace, PyFeatFace, nearest_rows
from textualize.extract.sensor import Reading
from textualize.extract.video import Media, open_media
from textualize.types import Clip, Span


@pytest.fixture(scope="module")
def sensor() -> MediaPipeFace:
    pytest.importorskip("mediapipe")
    return MediaPipeFace()


def media_of(path: Path, span: Span | None = None, fps: float = 10.0) -> Media:
    return open_media(Clip(path.stem, path, span), fps)


def same(a: Reading, b: Reading) -> bool:
    return a.status == b.status and all(
        np.array_equal(a.tracks[k].values, b.tracks[k].values, equal_nan=True) for k in b.tracks
    )


def picture(path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Path:
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "rgb24"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode())
    return path


def test_every_talker_is_seen_in_every_frame(sensor: MediaPipeFace, assets: Path) -> None:
    for path in sorted((assets / "data/grid").glob("*.mpg"))[:3]:
        media = media_of(path)
        reading = sensor.read(media)
        aus, head = reading.tracks["aus"], reading.tracks["face"]
        assert reading.status.reason == "face in 30 of 30 frames"
        assert (aus.names, aus.unit, aus.rate_hz) == (NAMES, "deviation", 10.0)
        assert head.names == FACE_COLUMNS and head.unit == "named"
        assert aus.values.dtype == np.float32 and np.isfinite(aus.values).all()
        assert np.abs(head.values[:, 5:]).max() < 20  # they face the camera
        assert aus.column("AU25").max() > 0.5  # and they talk


def test_a_clip_does_not_depend_on_the_clip_before(sensor: MediaPipeFace, assets: Path) -> None:
    first, second = sorted((assets / "data/grid").glob("*.mpg"))[:2]
    alone = MediaPipeFace().read(media_of(second))
    sensor.read(media_of(first))
    assert same(sensor.read(media_of(second)), alone)
    sensor.read(media_of(assets / "data/pyfeat/no_face.mp4", Span(0.0, 0.5)))
    assert same(sensor.read(media_of(second)), alone)


def test_no_face_and_no_picture_are_absent(sensor: MediaPipeFace, assets: Path) -> None:
    blank = sensor.read(media_of(assets / "data/pyfeat/no_face.mp4", fps=2.0))
    assert (blank.status.state, blank.status.reason) == ("absent", "no face in 8 frames")
    voice = sensor.read(media_of(assets / "data/speech/jfk.flac"))
    assert (voice.status.state, voice.status.reason) == ("absent", "no video stream")
    assert not blank.tracks and not voice.tracks


def test_a_smiling_photograph(sensor: MediaPipeFace, assets: Path) -> None:
    reading = sensor.read(media_of(assets / "data/pyfeat/single_face.jpg"))
    aus = reading.tracks["aus"]
    assert aus.values.shape == (1, len(NAMES))
    assert "average face" in reading.status.reason
    assert aus.column("AU12")[0] > 0.8
    assert aus.column("AU15")[0] < 0.2
    score, x, y, w, h = reading.tracks["face"].values[0, :5]
    assert 0.5 <= score <= 1
    assert 100 < x < x + w < 450 and 100 < y < y + h < 450


def test_several_faces_are_counted_and_the_largest_read(
    sensor: MediaPipeFace, assets: Path
) -> None:
    reading = sensor.read(media_of(assets / "data/pyfeat/multi_face.jpg"))
    assert "up to 5 faces, the largest was read" in reading.status.reason
    assert np.isfinite(reading.tracks["aus"].values).all()


def test_a_small_face_is_found_by_full_range_detection(
    sensor: MediaPipeFace, assets: Path, tmp_path: Path
) -> None:
    cv2 = pytest.importorskip("cv2")
    whole = next(iter(media_of(assets / "data/pyfeat/single_face.jpg").frames())).rgb
    small = cv2.resize(whole, (130, 128), interpolation=cv2.INTER_AREA)  # a face of 40 pixels
    scene = np.full((480, 640, 3), 120, np.uint8)
    scene[150:278, 300:430] = small
    reading = sensor.read(media_of(picture(tmp_path / "far.png", scene)))
    assert "1 by full-range detection" in reading.status.reason
    x, y, w, h = reading.tracks["face"].values[0, 1:5]
    assert 300 < x < x + w < 430 and 150 < y < y + h < 278


def test_landmarks_only_when_asked(sensor: MediaPipeFace, assets: Path) -> None:
    path = assets / "data/pyfeat/single_face.jpg"
    assert "landmarks" not in sensor.read(media_of(path)).tracks
    marks = MediaPipeFace(landmarks=True).read(media_of(path)).tracks["landmarks"]
    assert marks.values.shape == (1, 478 * 3)
    assert all(n.endswith("_px") for n in marks.names)


def test_sensor_identity(sensor: MediaPipeFace) -> None:
    assert sensor.name == "mediapipe" and sensor.modality == "face"
    assert len(sensor.weights) == 64 and "au" in sensor.version
    assert dict(sensor.options) == {"landmarks": False}


def test_no_chatter_on_stderr(assets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    MediaPipeFace().read(media_of(assets / "data/grid/bbaf2n.mpg", Span(0.0, 0.5)))
    assert capfd.readouterr().err == ""


def test_rows_are_the_nearest_frames_within_a_step() -> None:
    media = Media(Clip("a", None), None, Span(1.0, 2.0), 2.0, 10.0, True, False)
    times = np.array([1.02, 1.11, 1.52, 1.9])
    assert nearest_rows(times, media).tolist() == [0, 1, 1, -1, -1, 2, 2, -1, 3, 3]
    assert nearest_rows(np.array([1.0]), media).tolist() == [0, 0] + [-1] * 8


def fake_feat(faces_at: dict[int, list[float]], calls: list[Any]) -> types.ModuleType:
    """A `feat` module whose detector sees faces of the given widths in the given frames."""
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")

    class Detectorv2:
        def __init__(self, device: str = "cpu", identity_model: str | None = "arcface") -> None:
            assert identity_model is None  # its weights are not needed
            calls.append(device)
            self.seen = 0

        def detect(self, inputs: Any, data_type: str, batch_size: int, progress_bar: bool) -> Any:
            assert isinstance(inputs, torch.Tensor) and inputs.dtype == torch.uint8
            assert inputs.shape[1] == 3 and data_type == "tensor" and not progress_bar
            rows = []
            for i in range(len(inputs)):
                for width in faces_at.get(self.seen + i, [float("nan")]):
                    row = dict.fromkeys(["FaceRectX", "FaceRectY", "Pitch", "Roll", "X"], 0.1)
                    row |= {"FaceRectWidth": width, "FaceRectHeight": width, "FaceScore": 0.9}
                    row |= {"Yaw": -0.5, "AU01": width / 100, "AU12": 0.25, "Happy": 0.7}
                    rows.append(row | {"Neutral": 0.3, "frame": i})
            self.seen += len(inputs)
            return pandas.DataFrame(rows)

    module = types.ModuleType("feat")
    module.Detectorv2 = Detectorv2  # type: ignore[attr-defined]
    module.__version__ = "2.1.5"  # type: ignore[attr-defined]
    module.__file__ = __file__
    return module


def test_py_feat_reads_the_largest_face_of_each_frame(
    monkeypatch: pytest.MonkeyPatch, assets: Path
) -> None:
    calls: list[Any] = []
    monkeypatch.setitem(sys.modules, "feat", fake_feat({0: [40.0, 60.0], 9: [50.0]}, calls))
    sensor = PyFeatFace("cpu")
    reading = sensor.read(media_of(assets / "data/grid/bbaf2n.mpg", Span(0.0, 1.2)))
    aus, emotions = reading.tracks["aus"], reading.tracks["emotions"]
    assert calls == ["cpu"] and sensor.takes_model
    assert aus.unit == emotions.unit == "probability" and aus.names == ("AU01", "AU12")
    assert emotions.names == ("neutral", "happy")
    assert np.flatnonzero(np.isfinite(aus.column("AU01"))).tolist() == [0, 9]
    assert aus.column("AU01")[[0, 9]] == pytest.approx([0.6, 0.5])
    assert reading.tracks["face"].column("yaw_deg")[0] == pytest.approx(np.degrees(0.5))
    assert "face in 2 of 12 frames" in reading.status.reason
    assert "MELD" in reading.status.reason and "non-commercial" in sensor.notice


def test_py_feat_without_faces_is_absent(monkeypatch: pytest.MonkeyPatch, assets: Path) -> None:
    monkeypatch.setitem(sys.modules, "feat", fake_feat({}, []))
    reading = PyFeatFace().read(media_of(assets / "data/grid/bbaf2n.mpg", Span(0.0, 0.5)))
    assert (reading.status.state, reading.status.reason) == ("absent", "no face in 5 frames")


def test_py_feat_missing_package_or_weights_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "feat", None)
    with pytest.raises(
        TextualizeError, match=r"needs py-feat: pip install 'textualize\[py-feat\]'"
    ):
        PyFeatFace()

    def fails(**_: Any) -> None:
        raise FileNotFoundError("cannot find the requested files\nin the local cache")

    module = fake_feat({}, [])
    module.Detectorv2 = fails  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "feat", module)
    with pytest.raises(TextualizeError, match="weights are not on this machine") as caught:
        PyFeatFace()
    assert "\n" not in str(caught.value)


def test_frames_of_different_sizes_are_not_mixed() -> None:
    shapes = [(4, 4), (4, 4), (4, 4), (2, 4), (2, 4)]
    frames = [face.Frame(float(i), np.zeros((*s, 3), np.uint8)) for i, s in enumerate(shapes)]
    groups = [[f.time for f in g] for g in face.batched(iter(frames), 2)]
    assert groups == [[0.0, 1.0], [2.0], [3.0, 4.0]]
