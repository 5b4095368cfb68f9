"""MediaPipe's face sensor on real media: who is seen, who is read, and what is given."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.face import images as face_images
from textualize.extract.face.action_units import NAMES, Float64, action_units
from textualize.extract.face.images import Kept
from textualize.extract.face.mediapipe import MediaPipeFace
from textualize.extract.face.reader import FaceReader, Seen, Wanted
from textualize.extract.face.tracks import FACE_COLUMNS, Box, nearest_rows
from textualize.extract.sensor import Reading, make_sensor, read
from textualize.extract.sound import Stretch
from textualize.extract.video import Frame, Media, open_media
from textualize.types import Clip, Span

PEOPLE = (FACE_COLUMNS.index("person"), FACE_COLUMNS.index("speaking"))


@pytest.fixture(scope="module")
def sensor() -> MediaPipeFace:
    pytest.importorskip("mediapipe")
    return MediaPipeFace()


@pytest.fixture(scope="module")
def everyone() -> MediaPipeFace:
    """All people, their pictures and their landmarks."""
    pytest.importorskip("mediapipe")
    return MediaPipeFace(policy="all", landmarks=True, crops=64)


def media_of(path: Path, span: Span | None = None, fps: float = 10.0) -> Media:
    return open_media(Clip(path.stem, path, span), fps)


def grid(assets: Path) -> list[Path]:
    return sorted((assets / "data/grid").glob("*.mpg"))


def same(a: Reading, b: Reading) -> bool:
    return (a.status, a.tracks.keys()) == (b.status, b.tracks.keys()) and all(
        np.array_equal(a.tracks[k].values, b.tracks[k].values, equal_nan=True) for k in b.tracks
    )


def picture(path: Path, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Path:
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "rgb24"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode())
    return path


# --- one face


def test_every_talker_is_seen_in_every_frame(sensor: MediaPipeFace, assets: Path) -> None:
    for path in grid(assets)[:3]:
        reading = read(sensor, media_of(path))
        aus, head = reading.tracks["aus"], reading.tracks["face"]
        assert reading.status.reason == "face in 30 of 30 frames"
        assert (aus.names, aus.unit, aus.rate_hz) == (NAMES, "deviation", 10.0)
        assert head.names == FACE_COLUMNS and head.unit == "named"
        assert aus.values.dtype == np.float32 and np.isfinite(aus.values).all()
        assert np.abs(head.values[:, 5:8]).max() < 20  # they face the camera
        assert aus.column("AU25").max() > 0.5  # and they talk
        assert set(head.column("person")) == {1.0}
        speaking = head.column("speaking")
        assert np.nanmin(speaking) >= 0 and np.nanmax(speaking) <= 1


def test_action_units_are_those_of_all_meshes_together(
    everyone: MediaPipeFace, assets: Path
) -> None:
    """Nothing is lost by keeping a dozen numbers of each mesh."""
    tracks = read(everyone, media_of(grid(assets)[0])).tracks
    meshes = tracks["landmarks"].values.reshape(-1, 478, 3)
    expected, neutral = action_units(meshes)
    assert neutral == "own"
    assert tracks["aus"].values == pytest.approx(expected, abs=1e-3)  # landmarks are float32


def test_a_clip_does_not_depend_on_the_clip_before(sensor: MediaPipeFace, assets: Path) -> None:
    first, second = grid(assets)[:2]
    alone = read(MediaPipeFace(), media_of(second))
    read(sensor, media_of(first))
    assert same(read(sensor, media_of(second)), alone)
    read(sensor, media_of(assets / "data/pyfeat/no_face.mp4", Span(0.0, 0.5)))
    assert same(read(sensor, media_of(second)), alone)


def test_no_face_and_no_picture_are_absent(sensor: MediaPipeFace, assets: Path) -> None:
    blank = read(sensor, media_of(assets / "data/pyfeat/no_face.mp4", fps=2.0))
    assert (blank.status.state, blank.status.reason) == ("absent", "no face in 8 frames")
    voice = read(sensor, media_of(assets / "data/speech/jfk.flac", Span(0.0, 1.0)))
    assert (voice.status.state, voice.status.reason) == ("absent", "no video stream")
    assert not blank.tracks and not voice.tracks


def test_a_smiling_photograph(sensor: MediaPipeFace, assets: Path) -> None:
    reading = read(sensor, media_of(assets / "data/pyfeat/single_face.jpg"))
    aus = reading.tracks["aus"]
    assert aus.values.shape == (1, len(NAMES))
    assert "average face" in reading.status.reason and "people" not in reading.status.reason
    assert aus.column("AU12")[0] > 0.8
    assert aus.column("AU15")[0] < 0.2
    score, x, y, w, h = reading.tracks["face"].values[0, :5]
    assert 0.5 <= score <= 1
    assert 100 < x < x + w < 450 and 100 < y < y + h < 450
    assert reading.tracks["face"].values[0, PEOPLE] == pytest.approx([1, np.nan], nan_ok=True)


def test_a_small_face_is_found_by_full_range_detection(
    sensor: MediaPipeFace, assets: Path, tmp_path: Path
) -> None:
    cv2 = pytest.importorskip("cv2")
    whole = next(iter(media_of(assets / "data/pyfeat/single_face.jpg").frames())).rgb
    small = cv2.resize(whole, (130, 128), interpolation=cv2.INTER_AREA)  # a face of 40 pixels
    scene = np.full((480, 640, 3), 120, np.uint8)
    scene[150:278, 300:430] = small
    reading = read(sensor, media_of(picture(tmp_path / "far.png", scene)))
    assert "1 by full-range detection" in reading.status.reason
    x, y, w, h = reading.tracks["face"].values[0, 1:5]
    assert 300 < x < x + w < 430 and 150 < y < y + h < 278


# --- several people


def test_all_five_of_a_photograph_are_seen(everyone: MediaPipeFace, assets: Path) -> None:
    reading = read(everyone, media_of(assets / "data/pyfeat/multi_face.jpg"))
    assert "5 people seen" in reading.status.reason
    assert "the largest face was read: no sound tells who speaks" in reading.status.reason
    heads = [reading.tracks[f"face.{i}"].values[0] for i in range(1, 6)]
    assert [head[PEOPLE[0]] for head in heads] == [1, 2, 3, 4, 5]
    assert len({(round(head[1]), round(head[2])) for head in heads}) == 5
    assert all(np.isfinite(reading.tracks[f"aus.{i}"].values).all() for i in range(1, 6))
    assert "aus.6" not in reading.tracks
    largest = max(heads, key=lambda head: head[3] * head[4])
    assert reading.tracks["face"].values[0] == pytest.approx(largest, nan_ok=True)


# --- what is given besides


def test_crops_are_upright_faces(everyone: MediaPipeFace, assets: Path) -> None:
    tracks = read(everyone, media_of(grid(assets)[0])).tracks
    crops = tracks["crops"]
    assert crops.unit == "pixels" and crops.values.dtype == np.uint8 and crops.rate_hz == 5.0
    assert crops.values.shape == (15, 64, 64, 3)
    spread = crops.values.std(axis=(1, 2, 3))
    assert spread.min() > 20  # a face in each
    change = np.abs(np.diff(crops.values.astype(float), axis=0)).mean()
    assert change < 12  # and the same one, in the same place
    assert np.isfinite(tracks["landmarks"].values).all()


def test_a_tilted_head_is_cropped_upright(assets: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("mediapipe")
    crop = MediaPipeFace(crops=96)
    whole = next(iter(media_of(assets / "data/pyfeat/single_face.jpg").frames())).rgb
    height, width = whole.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 25.0, 1.0)
    tilted = picture(tmp_path / "tilted.png", cv2.warpAffine(whole, turn, (width, height)))
    straight = picture(tmp_path / "straight.png", whole)
    a, b = (read(crop, media_of(p)).tracks["crops"].values[0] for p in (straight, tilted))
    inner = np.s_[20:76, 20:76]
    assert np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1] > 0.9


def test_pictures_and_landmarks_only_when_asked(sensor: MediaPipeFace, assets: Path) -> None:
    tracks = read(sensor, media_of(assets / "data/pyfeat/single_face.jpg")).tracks
    assert set(tracks) == {"aus", "face"}
    marks = read(MediaPipeFace(landmarks=True), media_of(assets / "data/pyfeat/single_face.jpg"))
    assert marks.tracks["landmarks"].values.shape == (1, 478 * 3)
    assert all(n.endswith("_px") for n in marks.tracks["landmarks"].names)


def test_identity_and_what_it_reads(sensor: MediaPipeFace) -> None:
    assert sensor.name == "mediapipe" and sensor.modality == "face"
    assert len(sensor.weights) == 64 and "au" in sensor.version
    asked = {"policy": "speaker", "landmarks": False, "crops": 0, "blendshapes": False}
    assert dict(sensor.options) == asked and sensor.reads == ("frames", "sound")
    largest = make_sensor("mediapipe:policy=largest:crops=32")
    assert largest.reads == ("frames",)  # nothing is to be heard
    assert largest.options["crops"] == 32


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policy": "loudest"}, "policy of sensor 'mediapipe'.*'loudest'.*speaker"),
        ({"crops": -1}, "crops should be 0 to 512 pixels; given -1"),
        ({"task": "nowhere.task"}, "task=nowhere.task: there is no such file"),
    ],
)
def test_wrong_options_are_refused_in_a_line(options: dict[str, Any], said: str) -> None:
    pytest.importorskip("mediapipe")
    with pytest.raises(TextualizeError, match=said) as caught:
        MediaPipeFace(**options)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_bundle_are_refused_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    text = tmp_path / "a.task"
    text.write_text("not a bundle")
    with pytest.raises(TextualizeError, match=r"a\.task is not a \.task bundle"):
        MediaPipeFace(task=str(text))
    other = tmp_path / "b.task"
    with zipfile.ZipFile(other, "w") as bundle:
        bundle.writestr("something.tflite", b"else")
    with pytest.raises(TextualizeError, match=r"b\.task does not load") as caught:
        MediaPipeFace(task=str(other))
    assert "\n" not in str(caught.value)


def test_no_chatter_on_stderr(assets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    read(MediaPipeFace(), media_of(grid(assets)[0], Span(0.0, 0.5)))
    assert capfd.readouterr().err == ""


# --- streams that are lost


def failing(media: Media, kind: str, after: int) -> Media:
    """A clip whose stream breaks after some pieces."""

    def pieces(whole: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
        def some() -> Iterator[Any]:
            for i, piece in enumerate(whole()):
                if i == after:
                    break
                yield piece
            raise TextualizeError("cannot read it: the disk is gone")

        return some

    setattr(media, kind, pieces(getattr(media, kind)))
    return media


def test_lost_pictures_leave_those_before(sensor: MediaPipeFace, assets: Path) -> None:
    reading = read(sensor, failing(media_of(grid(assets)[0]), "frames", 12))
    assert reading.status.state == "observed"
    assert "face in 12 of 12 frames" in reading.status.reason
    assert "pictures could not be decoded, only the first 12" in reading.status.reason
    seen = np.isfinite(reading.tracks["aus"].values).all(axis=1)
    assert len(seen) == 30 and seen[:12].all() and not seen[13:].any()
    with pytest.raises(TextualizeError, match="the disk is gone"):
        read(sensor, failing(media_of(grid(assets)[0]), "frames", 0))


# --- the reader, with faces that are made up


class Drawn:
    """Models that see the faces they are given, the same in every picture."""

    def __init__(self, meshes: list[Float64], shapes: dict[str, float] | None = None) -> None:
        self.faces = [Seen(m, self._box(m), 0.9) for m in meshes]
        self.named = shapes or {}
        self.looks = 0

    @staticmethod
    def _box(mesh: Float64) -> Box:
        low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
        return float(low[0]), float(low[1]), *(float(v) for v in high - low)  # type: ignore

    def track(self, rgb: Any, score: float) -> Seen | None:
        return self.faces[0] if self.faces else None

    def detect(self, rgb: Any) -> list[tuple[float, Box]]:
        return [(f.score, f.box) for f in self.faces]

    def look(self, rgb: Any, box: Box, score: float) -> Seen | None:
        self.looks += 1
        return next((f for f in self.faces if f.box == box), None)

    def shapes(self, rgb: Any, box: Box) -> dict[str, float]:
        return self.named


def heads(count: int) -> list[Float64]:
    """Meshes of so many people, side by side; each has a face of its own."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(-1, 1, (478, 3))
    return [
        50 * (shape + 0.1 * rng.standard_normal((478, 3))) + (100.0 + 200 * i, 100.0, 0.0)
        for i in range(count)
    ]


def made(models: Drawn, seconds: float, rate: float = 10.0, **wanted: Any) -> Reading:
    """What a reader says of models that see the same faces for some time."""
    media = Media(Clip("a", None), None, Span(0.0, seconds), seconds, rate, True, False)
    reader = FaceReader(media, models, Wanted(**{"policy": "all"} | wanted), "mediapipe")
    blank = np.zeros((200, 200 * max(1, len(models.faces)), 3), np.uint8)
    for i in range(media.rows):
        reader.frame(Frame(i / rate, blank))
    reader.sound(Stretch(0.0, np.zeros(16000, np.float32)))
    return reader.finish()


def test_one_face_is_not_looked_for_again() -> None:
    models = Drawn(heads(1))
    reading = made(models, 3.0)
    assert models.looks == 0
    assert reading.status.reason == "face in 30 of 30 frames"


def test_at_most_eight_faces_are_followed_and_more_are_counted() -> None:
    reading = made(Drawn(heads(11)), 2.0)
    assert "8 people seen" in reading.status.reason
    assert "up to 11 faces detected" in reading.status.reason
    assert sum(name.startswith("aus.") for name in reading.tracks) == 8


def test_blendshapes_add_action_units() -> None:
    shapes = {"_neutral": 0.0, "eyeSquintLeft": 0.5, "eyeSquintRight": 0.5}
    shapes |= {"mouthDimpleLeft": 0.0, "mouthDimpleRight": 0.2, "mouthRollLower": 0.1}
    reading = made(Drawn(heads(1), shapes), 1.0, blendshapes=True)
    track = reading.tracks["blendshapes"]
    assert track.unit == "probability" and track.names == tuple(shapes)
    assert track.values == pytest.approx(np.tile(list(shapes.values()), (10, 1)))
    assert reading.tracks["aus"].names == (*NAMES, "AU07", "AU14", "AU28")
    none = made(Drawn(heads(1)), 1.0, blendshapes=True)
    assert "no blendshapes: the network of the task file found no face" in none.status.reason
    assert "blendshapes" not in none.tracks and none.tracks["aus"].names == NAMES


def test_pictures_of_long_clips_are_refused_and_the_rest_is_read() -> None:
    reading = made(Drawn(heads(1)), 601.0, rate=1.0, crops=16, landmarks=True)
    assert set(reading.tracks) == {"aus", "face", "aus.1", "face.1"}
    for what in ("crops", "landmarks"):
        assert f"no {what}: the clip is longer than 10 minutes" in reading.status.reason


def test_too_many_blendshapes_are_refused_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_images, "_BYTES", 100)
    shapes = {f"shape{i}": 0.5 for i in range(52)}
    reading = made(Drawn(heads(1), shapes), 1.0, blendshapes=True)
    assert "no blendshapes: more than 0 MB of faces" in reading.status.reason
    assert set(reading.tracks) == {"aus", "face", "aus.1", "face.1"}
    assert reading.tracks["aus"].names == NAMES


@pytest.mark.parametrize("rate", [2.0, 5.0, 10.0, 12.5, 25.0, 29.97])
def test_crops_come_at_five_a_second_at_most(rate: float) -> None:
    media = Media(Clip("a", None), None, Span(3.0, 13.0), 13.0, rate, True, False)
    kept = Kept(media, "crops", 5.0)
    times = 3.0 + np.arange(media.rows) / rate
    wanted = np.array([kept.wants(i, time) for i, time in enumerate(times)])
    assert wanted[0] and abs(wanted.sum() - 10 * min(5.0, rate)) <= 1
    assert np.diff(times[wanted]).max() <= 1 / min(5.0, rate) + 1 / rate


def test_rows_are_the_nearest_frames_within_a_step() -> None:
    media = Media(Clip("a", None), None, Span(1.0, 2.0), 2.0, 10.0, True, False)
    times = np.array([1.02, 1.11, 1.52, 1.9])
    assert nearest_rows(times, media).tolist() == [0, 1, 1, -1, -1, 2, 2, -1, 3, 3]
    assert nearest_rows(np.array([1.0]), media).tolist() == [0, 0] + [-1] * 8
