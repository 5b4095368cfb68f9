from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from textualize.baselines.augment import Augment, moved, moved_points
from textualize.baselines.pictures import PictureSource
from textualize.baselines.reading import Reading, open_reel, open_reels, torn_notes
from textualize.baselines.reels import POINTS, TrackReel, rows_at
from textualize.errors import TextualizeError
from textualize.extract.face.images import aligned, crop_points
from textualize.types import Clip, Record, Span, Track

SIDE, RATE = 64, 25
FACE = ("x_px", "y_px", "w_px", "h_px")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Four seconds, a key frame a second; picture i is of level 2 i, its right half brighter."""
    path = tmp_path_factory.mktemp("pictures") / "v.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "1", "g": "25"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv444p"
        for i in range(4 * RATE):
            pixels = np.full((SIDE, SIDE, 3), 2 * i, np.uint8)
            pixels[:, SIDE // 2 :] += 50
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def levels(pixels):
    """The number of the frame each picture (3, T, H, W) is, from its left half."""
    return (pixels[..., : pixels.shape[-1] // 2].mean((0, 2, 3)) * 255 / 2).tolist()


def record(name="a", video=None, span=None, **tracks):
    return Record(Clip(name, video, span), tracks)


def track(values, unit="named", names=(), rate=5.0, start=0.0):
    return Track(np.asarray(values), rate, start, names, unit, "")


def crops(n, blank=(), side=8):
    """Pictures of level 10 (i + 1)."""
    values = np.repeat(np.arange(10, 10 * n + 1, 10), side * side * 3).reshape(n, side, side, 3)
    values[list(blank)] = 0
    return track(values.astype(np.uint8), "pixels")


def source(records, reading, **options):
    _, reels, _ = open_reels(records, reading)
    n = len(reels)
    return PictureSource(reels, torch.arange(n), torch.ones(n), **options)


MIDDLE = Reading("file", "middle", size=16, rate_hz=10.0)


# --- from files ---------------------------------------------------------------------------------


def test_pieces_of_a_video_are_those_asked_for(video):
    own = source([record(video=video)], MIDDLE, frames=5)
    assert own.lengths.tolist() == [40] and own.positions().tolist() == [36]
    for start in (0, 7, 35):
        piece = own.take(torch.tensor([0]), torch.tensor([start]))
        expected = [2.5 * (start + k) for k in range(5)]
        assert piece.seen.all() and piece.starts.tolist() == [start]
        assert levels(piece.pixels[0]) == pytest.approx(expected, abs=1.6)
    whole = source([record(video=video)], MIDDLE).take(torch.tensor([0]))
    assert whole.pixels.shape == (1, 3, 40, 16, 16)
    assert levels(whole.pixels[0]) == pytest.approx([2.5 * k for k in range(40)], abs=1.6)


def test_a_piece_decodes_no_more_than_it_needs(video, monkeypatch):
    from textualize.extract.video import Media

    decoded = []
    before = Media._rgb
    monkeypatch.setattr(Media, "_rgb", lambda self, f: decoded.append(f.time) or before(self, f))
    own = source([record(video=video)], MIDDLE, frames=3)
    assert decoded == [0.0]  # that it can be read at all
    own.take(torch.tensor([0]), torch.tensor([30]))
    assert len(decoded[1:]) == 3 and min(decoded[1:]) >= 2.9


def test_a_torn_stretch_is_stood_in_for_by_the_first_picture_and_told(video, monkeypatch, caplog):
    from textualize.extract.video import Media

    whole = Media.frames
    monkeypatch.setattr(
        Media, "frames", lambda self: (f for f in whole(self) if not 1.9 < f.time < 3.1)
    )
    own = source([record(video=video)], MIDDLE, frames=5)
    torn = own.take(torch.tensor([0]), torch.tensor([22]))
    assert levels(torn.pixels[0]) == pytest.approx([0.0] * 5, abs=1.6) and torn.seen.all()
    assert "5 of 5 pictures at 2.20 s cannot be decoded" in caplog.text
    half = own.take(torch.tensor([0]), torch.tensor([17]))
    assert levels(half.pixels[0]) == pytest.approx([42.5, 45, 47.5, 47.5, 47.5], abs=1.6)
    told = "7 pictures of 1 of 1 clips could not be decoded: the nearest of the clip stood in"
    assert torn_notes(own.reels) == [told]  # 20, 21 and 22 to 26, each once
    assert torn_notes(source([record(video=video)], MIDDLE).reels) == []


def test_a_clip_is_its_span(video):
    own = source([record(video=video, span=Span(1.0, 2.0))], MIDDLE)
    piece = own.take(torch.tensor([0]))
    expected = [25 + 2.5 * k for k in range(10)]
    assert levels(piece.pixels[0]) == pytest.approx(expected, abs=1.6)


def test_the_square_around_the_face_is_cut_out_where_there_is_one(video):
    boxes = np.full((40, 4), np.nan, np.float32)
    boxes[10:] = 40, 20, 16, 10  # right half
    face = track(boxes, names=FACE, rate=10.0)
    mesh = np.full((40, POINTS, 3), np.nan, np.float32)
    mesh[:, 4] = 48, 25, 0  # the middle of the box
    points = track(mesh.reshape(40, -1), rate=10.0)
    own = source([record(video=video, face=face, landmarks=points)],
                 Reading("file", size=21, rate_hz=10.0), frames=2)  # fmt: skip
    assert own.lengths.tolist() == [30]
    piece = own.take(torch.tensor([0]), torch.tensor([0]))
    assert levels(piece.pixels[0]) == pytest.approx([50.0, 52.5], abs=2)  # frames 25 ... + 50 / 2
    assert torch.allclose(piece.landmarks[0, :, 4], torch.tensor(10.5), atol=0.6)
    assert piece.landmarks[0, :, 5].isnan().all()


def test_a_picture_is_a_clip_of_one(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((30, 40, 3), 128, np.uint8)).save(tmp_path / "a.png")
    own = source([record(video=tmp_path / "a.png")], MIDDLE, frames=16)
    piece = own.take(torch.tensor([0]))
    assert own.positions().tolist() == [1] and piece.seen[0].tolist() == [True] + [False] * 15
    assert piece.pixels[0, :, 0].mean() == pytest.approx(128 / 255, abs=0.01)
    assert not piece.pixels[0, :, 1:].any()


def test_what_has_no_pictures_is_left_out_with_a_reason(video, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    blind = track(np.full((40, 4), np.nan, np.float32), names=FACE, rate=10.0)
    asked = Reading("file", "face", 16, 10.0)
    records = [record("a", video), record("b", tmp_path / "bad.mp4"), record("c"),
               record("d", video, face=blind)]  # fmt: skip
    seen = track(np.full((40, 4), 9.0, np.float32), names=FACE, rate=10.0)
    kept, reels, notes = open_reels([*records, record("e", video, face=seen)], asked)
    assert kept == [4] and len(reels) == 1
    told = " / ".join(notes)
    for reason in ("no track 'face'", "cannot read", "no video stream", "no face"):
        assert f"1 of 5 records left out: {reason}" in told
    with pytest.raises(TextualizeError, match="none of 4 records has pictures"):
        open_reels(records, asked)


# --- from tracks --------------------------------------------------------------------------------


def test_pictures_without_a_face_are_none_of_the_clip():
    reel = open_reel(record(crops=crops(6, blank=(1, 2))), Reading(size=8))
    assert isinstance(reel, TrackReel) and reel.length == 4
    pixels, landmarks = reel.read(1, 2)
    assert (pixels.mean((1, 2, 3)) * 255).tolist() == pytest.approx([40, 50])
    assert landmarks.shape == (2, POINTS, 2) and np.isnan(landmarks).all()


def test_short_clips_are_masked_and_long_ones_said():
    records = [record(str(i), crops=crops(n)) for i, n in enumerate((3, 9))]
    own = source(records, Reading(size=8), frames=5)
    piece = own.take(torch.tensor([1, 0]))
    assert piece.rows.tolist() == [1, 0] == piece.targets.tolist()
    assert piece.seen.sum(1).tolist() == [5, 3]
    assert not piece.pixels[1, :, 3:].any() and piece.landmarks[1, 3:].isnan().all()
    _, reels, notes = open_reels(records, Reading(size=8, most=4))
    assert [r.length for r in reels] == [3, 4]
    assert notes == ["1 of 2 clips read to picture 4 only"]


def test_starts_are_drawn_evenly_and_alike_for_every_number_of_threads():
    records = [record(str(i), crops=crops(12)) for i in range(8)]
    found = []
    for workers in (0, 3):
        own = source(records, Reading(size=8), frames=4, augment=Augment(), workers=workers)
        torch.manual_seed(0)
        found.append([own.take(torch.arange(8)) for _ in range(40)])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one.starts, two.starts) and torch.equal(one.pixels, two.pixels)
    counts = torch.bincount(torch.cat([p.starts for p in found[0]]), minlength=9)
    assert len(counts) == 9 and counts.min() > 0.4 * counts.float().mean()


def test_a_track_that_holds_no_pictures_is_said():
    with pytest.raises(TextualizeError, match="is no track of pictures"):
        open_reel(record(crops=track(np.zeros((4, 3), np.float32))), Reading())
    assert open_reel(record(), Reading()) == "no track 'crops'"
    assert open_reel(record(crops=crops(2, blank=(0, 1))), Reading()) == "no face"


def test_landmarks_are_where_the_crop_shows_them():
    """A mesh with white dots at some points, turned and large: they are white in the crop, too."""
    rng = np.random.default_rng(0)
    picture = np.zeros((400, 400, 3), np.uint8)
    mesh = np.zeros((POINTS, 3))
    mesh[:, :2] = 200 + rng.uniform(-40, 40, (POINTS, 2))
    for i, at in {33: (160, 190), 133: (185, 185), 362: (215, 180), 263: (240, 174)}.items():
        mesh[i, :2] = at
    shown = [33, 263, 4]
    for i in shown:
        x, y = mesh[i, :2]
        picture[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = 255
    found = aligned(picture, mesh, 96)
    points = crop_points(mesh.astype(np.float32), 96)
    for i in shown:
        x, y = points[i]
        assert found[int(y), int(x), 0] > 200
    assert points[33, 1] == pytest.approx(points[263, 1], abs=2)
    assert np.isnan(crop_points(np.full((POINTS, 3), np.nan, np.float32), 96)).all()


def test_rows_at_times():
    own = track(np.arange(5, dtype=np.float32)[:, None], rate=2.0, start=1.0)
    found = rows_at(own, np.array([0.0, 1.0, 1.6, 3.2, 9.0]))[:, 0]
    assert np.array_equal(found, [np.nan, 0, 1, 4, np.nan], equal_nan=True)


# --- augmentation -------------------------------------------------------------------------------


def test_landmarks_move_with_the_picture():
    torch.manual_seed(0)
    pixels = torch.zeros(32, 3, 1, 41, 41)
    pixels[..., 12:15, 26:29] = 1.0
    points = torch.full((32, 1, 1, 2), 0.0) + torch.tensor([27.5, 13.5])
    motion = Augment(light=0.0, rotation=30.0, zoom=0.3, shift=0.1).draw(32)
    found, at = moved(pixels, motion), moved_points(points, motion, 41)[:, 0, 0]
    x = torch.arange(41) + 0.5
    weight = found[:, 0, 0]
    middle = (
        torch.stack([(weight * x).sum((1, 2)), (weight * x[:, None]).sum((1, 2))], 1)
        / weight.sum((1, 2))[:, None]
    )
    assert torch.allclose(middle, at, atol=0.3)
    mirrored = (at[:, 0] < 20.5).float().mean()
    assert 0.2 < mirrored < 0.8


def test_no_motion_is_no_change_and_pictures_of_a_piece_move_alike():
    torch.manual_seed(0)
    pixels = torch.rand(3, 3, 4, 16, 16)
    still = Augment(flip=0, rotation=0, zoom=0, shift=0, light=0).draw(3)
    assert torch.allclose(moved(pixels, still), pixels, atol=1e-5)
    same = pixels[:, :, :1].expand(-1, -1, 4, -1, -1)
    found = moved(same, Augment().draw(3))
    assert torch.allclose(found, found[:, :, :1].expand_as(found))
    assert not torch.allclose(found[0], found[1])
