"""Persons in a clip: two talkers side by side on film, and faces that are made up."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, permutations
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.face.action_units import NAMES
from textualize.extract.face.mediapipe import MediaPipeFace
from textualize.extract.face.people import Cuts, People, Person, Sight, preferred
from textualize.extract.face.tracks import FACE_COLUMNS, Box, overlap
from textualize.extract.sensor import read
from textualize.extract.sound import Stretch
from textualize.extract.video import Media, open_media
from textualize.types import Clip, Span

Pixels = NDArray[np.uint8]
PERSON = FACE_COLUMNS.index("person")


def pictures(path: Path, most: int | None = None) -> list[Pixels]:
    with av.open(str(path)) as file:
        frames = (f.to_ndarray(format="rgb24") for f in file.decode(video=0))
        return [p for p, _ in zip(frames, range(most or 10**6), strict=False)]


def beside(left: list[Pixels], right: list[Pixels]) -> list[Pixels]:
    return [np.hstack(pair) for pair in zip(left, right, strict=False)]


def video(path: Path, frames: list[Pixels], heard: Path | None = None, fps: int = 25) -> Path:
    """Write frames, and the sound of another file beside them."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 3_000_000
        sound = out.add_stream("mp2", rate=44100, layout="mono") if heard else None
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.pts, picture.time_base = i, Fraction(1, fps)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
        if sound is not None and heard is not None:
            resampler = AudioResampler("s16p", "mono", 44100, frame_size=1152)
            with av.open(str(heard)) as file:
                for piece in file.decode(audio=0):
                    assert isinstance(piece, AudioFrame)
                    piece.pts = None
                    for done in resampler.resample(piece):
                        out.mux(sound.encode(done))
            for done in resampler.resample(None):
                out.mux(sound.encode(done))
            out.mux(sound.encode())
    return path


@pytest.fixture(scope="module")
def sensor() -> MediaPipeFace:
    pytest.importorskip("mediapipe")
    return MediaPipeFace()


@pytest.fixture(scope="module")
def everyone() -> MediaPipeFace:
    pytest.importorskip("mediapipe")
    return MediaPipeFace(policy="all")


def media_of(path: Path, span: Span | None = None, fps: float = 10.0) -> Media:
    return open_media(Clip(path.stem, path, span), fps)


def grid(assets: Path) -> list[Path]:
    return sorted((assets / "data/grid").glob("*.mpg"))


def test_the_one_whose_sound_it_is_is_read(
    sensor: MediaPipeFace, assets: Path, tmp_path: Path
) -> None:
    """Five pairs, each with the sound of either; at 25 Hz all thirty of all pairs were right."""
    talkers = grid(assets)
    shown = {path: pictures(path, 50) for path in talkers}
    right = []
    for a, b in list(combinations(talkers, 2))[::3]:
        for heard in (a, b):
            both = video(tmp_path / "both.mkv", beside(shown[a], shown[b]), heard)
            reading = read(sensor, media_of(both, Span(0.0, 2.0), fps=25.0))
            assert "2 people seen; the speaker was read" in reading.status.reason
            head = reading.tracks["face"]
            at_right = head.column("x_px") > shown[a][0].shape[1]
            right.append(float((at_right == (heard == b)).mean()))
    print(f"speaker read in {np.mean(right):.0%} of frames, {sum(r > 0.5 for r in right)} clips")
    assert len(right) == 10 and sum(r > 0.5 for r in right) >= 7


def test_everyone_has_tracks_as_if_alone(
    everyone: MediaPipeFace, assets: Path, tmp_path: Path
) -> None:
    left, right = (pictures(path, 40) for path in grid(assets)[:2])
    both = video(tmp_path / "both.mkv", beside(left, right), grid(assets)[0])
    together = read(everyone, media_of(both, Span(0.0, 1.6)))
    edge = left[0].shape[1]
    by_place = {together.tracks[f"face.{i}"].column("x_px")[0] > edge: i for i in (1, 2)}
    for i, frames in enumerate((left, right)):
        person = by_place[bool(i)]
        alone = read(everyone, media_of(video(tmp_path / "alone.mkv", frames))).tracks
        own = together.tracks[f"face.{person}"]
        assert np.isfinite(own.column("x_px")).all() and set(own.column("person")) == {person}
        assert own.column("x_px") - i * edge == pytest.approx(alone["face"].column("x_px"), abs=8)
        aus = together.tracks[f"aus.{person}"]
        r = np.corrcoef(aus.column("AU25"), alone["aus"].column("AU25"))[0, 1]
        assert r > 0.7  # a crop of the face and a tracked one give other meshes
    head = together.tracks["face"].values
    for t, person in enumerate(head[:, PERSON]):
        own = together.tracks[f"face.{person:.0f}"].values[t]
        assert head[t] == pytest.approx(own, nan_ok=True)


def test_lost_sound_leaves_the_largest_face(
    sensor: MediaPipeFace, assets: Path, tmp_path: Path
) -> None:
    left, right = (pictures(path, 20) for path in grid(assets)[:2])
    both = video(tmp_path / "both.mkv", beside(left, right), grid(assets)[0])
    media = media_of(both)

    def sound() -> Iterator[Stretch]:
        raise TextualizeError("cannot read it: the disk is gone")

    media.sound = sound  # type: ignore[method-assign]
    reading = read(sensor, media)
    said = "2 people seen; the largest face was read: no sound tells who speaks"
    assert said in reading.status.reason
    assert "sound could not be decoded" in reading.status.reason
    assert np.isnan(reading.tracks["face"].column("speaking")).all()


# --- faces that are made up

BONES = np.random.default_rng(0).normal(0, 0.3, (9, 30, 3))  # of nine people


def sight(who: int, x: float, size: float = 100.0, score: float = 0.9, y: float = 50.0) -> Sight:
    """One face: the bones of somebody, a square at (x, y); the lips say who it is."""
    box = (x, y, size, size)
    return Sight(box, score, np.zeros(3), 0.1 * who, np.zeros(len(NAMES)), BONES[who])


def followed(*frames: list[Sight], rate: float = 10.0, cuts: tuple[int, ...] = ()) -> People:
    people = People()
    for i, seen in enumerate(frames):
        if i in cuts:
            people.cut()
        people.add(i, i / rate, seen)
    return people


def whose(person: Person) -> set[float]:
    """Return which lips a person has been given: one, if nobody was mixed up."""
    return set(person.lips.round(3).tolist())


def test_people_who_walk_past_each_other_keep_their_ids() -> None:
    steps = [[sight(1, 3.0 * i), sight(2, 600 - 3.0 * i)] for i in range(90)]
    people = followed(*steps).seen()
    assert [p.id for p in people] == [1, 2] and all(len(p) == 90 for p in people)
    assert [whose(p) for p in people] == [{0.1}, {0.2}]


@given(st.permutations(range(4)))
def test_the_order_in_which_faces_are_found_does_not_matter(order: list[int]) -> None:
    first = [sight(who, 200.0 * who) for who in range(4)]
    people = followed(first, *[[first[i] for i in order]] * 3).seen()
    assert [whose(p) for p in people] == [{0.0}, {0.1}, {0.2}, {0.3}]


def test_a_face_that_was_missed_for_a_while_is_the_same_person() -> None:
    there, away = [sight(1, 100.0)], list[Sight]()
    people = followed(*[there] * 5, *[away] * 40, *[there] * 5).seen()
    assert len(people) == 1 and people[0].frames.tolist() == [*range(5), *range(45, 50)]


def test_after_a_cut_bones_tell_who_it_is() -> None:
    a, b = [sight(1, 100.0)], [sight(2, 110.0)]  # in the same place
    people = followed(*[a] * 10, *[b] * 10, *[a] * 10, cuts=(10, 20)).seen()
    assert [whose(p) for p in people] == [{0.1}, {0.2}]
    assert [len(p) for p in people] == [20, 10]


def test_a_face_seen_once_is_counted_apart() -> None:
    people = followed(*[[sight(1, 100.0)]] * 5, [sight(1, 100.0), sight(2, 500.0)])
    assert [p.id for p in people.seen()] == [1] and people.brief == 1
    only = followed([sight(1, 100.0)])
    assert len(only.seen()) == 1 and only.brief == 0


def test_who_is_looked_for_is_who_was_there_lately_in_this_shot() -> None:
    people = followed([sight(1, 100.0), sight(2, 500.0)], *[[sight(1, 100.0)]] * 30)
    assert [p.id for p in people.active(3.1)] == [1]  # 2 was last seen three seconds ago
    assert len(people.active(1.9)) == 1 and not people.active(9.0)
    people.cut()
    assert not people.active(3.1)


def test_numbers_of_a_person_come_back_as_they_went_in() -> None:
    seen = Sight(
        (1.0, 2.0, 3.0, 4.0), 0.7, np.array([5.0, 6.0, 7.0]), 0.25, np.arange(12.0), BONES[0]
    )
    person = followed([seen]).seen()[0]
    assert person.faces.tolist() == [[0.7, 1, 2, 3, 4, 5, 6, 7]]
    assert person.lips.tolist() == [0.25] and person.score == pytest.approx(0.7)


def test_memory_is_numbers_only() -> None:
    """168 bytes a face and picture: three hours of two people at 10 Hz are 36 MB."""
    person = followed(*[[sight(1, 100.0)]] * 1000).seen()[0]
    assert len(person._numbers) * person._numbers.itemsize == 168 * 1000
    assert person.bones.shape == (30, 3)


boxes = st.tuples(*[st.floats(0, 500)] * 2, *[st.floats(1, 300)] * 2)


@given(boxes, boxes)
def test_overlap_is_a_share_and_goes_both_ways(a: Box, b: Box) -> None:
    assert 0.0 <= overlap(a, b) <= 1.0 + 1e-9
    assert overlap(a, b) == pytest.approx(overlap(b, a), abs=1e-12)
    assert overlap(a, a) == pytest.approx(1.0, abs=1e-6)


# --- who is read


def two(sizes: list[tuple[float, float]], scores: list[tuple[float, float]]) -> list[Person]:
    frames = [
        [sight(1, 0.0, a, p), sight(2, 500.0, b, q)]
        for (a, b), (p, q) in zip(sizes, scores, strict=True)
    ]
    return followed(*frames).seen()


def test_the_largest_is_read_until_another_is_clearly_larger() -> None:
    sizes = [(100.0, 90.0)] * 3 + [(100.0, 105.0)] * 3 + [(100.0, 130.0)] * 3 + [(100.0, 95.0)] * 3
    persons = two(sizes, [(0.9, 0.9)] * 12)
    chosen = preferred(persons, np.arange(12) / 10, "largest")
    assert chosen.tolist() == [0] * 6 + [1] * 6
    surer = two([(100.0, 90.0)] * 4, [(0.9, 0.6), (0.9, 0.95), (0.8, 0.95), (0.9, 0.95)])
    chosen = preferred(surer, np.arange(4) / 10, "most_confident")
    assert chosen.tolist() == [0, 0, 1, 1]


def test_nobody_else_is_read_while_a_face_is_missed_for_a_moment() -> None:
    both, small = [sight(1, 0.0, 200.0), sight(2, 500.0)], [sight(2, 500.0)]
    persons = followed(*[both] * 5, *[small] * 5, *[both] * 5, *[small] * 20, *[[]] * 20).seen()
    chosen = preferred(persons, np.arange(55) / 10, "largest")
    assert chosen.tolist() == [0] * 15 + [1] * 20 + [-1] * 20  # the first never comes back


# --- cuts


def scene(seed: int) -> NDArray[np.uint8]:
    tiles = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return np.kron(tiles, np.ones((40, 40, 1), np.uint8))


def test_another_scene_is_a_cut_and_movement_is_not() -> None:
    cuts = Cuts()
    moving = [np.roll(scene(1), 2 * i, axis=1) for i in range(20)]
    assert not any(cuts.push(frame) for frame in moving)
    assert cuts.push(scene(2))
    assert not cuts.push(scene(2))
    assert cuts.push(scene(2)[:120])  # another picture size


def test_talking_heads_have_no_cuts_but_their_joins(assets: Path) -> None:
    shown = [pictures(path, 20)[::2] for path in grid(assets)[:4]]
    for a, b in permutations(shown, 2):
        cuts = Cuts()
        assert [cuts.push(f) for f in a + b] == [i == 10 for i in range(20)]
