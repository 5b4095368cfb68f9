"""Media: frames by time, sound in place, damage survived."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.video import SAMPLE_RATE, Media, grid_length, media_digest, open_media
from textualize.types import Clip, Span

SIZE = 64


def encode(
    path: Path,
    times: list[float],
    audio_s: float = 0.0,
    audio_start: float = 0.0,
    codec: str = "mpeg4",
    rate: int = 25,
) -> Path:
    """Write a clip whose frame at time t has the grey level 60 + 80 t, and a 440 Hz tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=rate)
        video.bit_rate = 4_000_000
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac", rate=44100, layout="mono") if audio_s else None
        for t in times:
            pixels = np.full((SIZE, SIZE, 3), round(60 + 80 * t), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(t * 1000), Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if sound is not None:
            n = int(audio_s * 44100)
            tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(n) / 44100, dtype=np.float64)
            for i in range(0, n, 1024):
                block = np.ascontiguousarray(tone[None, i : i + 1024].astype(np.float32))
                packet = av.AudioFrame.from_ndarray(block, "fltp", "mono")
                packet.sample_rate, packet.time_base = 44100, Fraction(1, 44100)
                packet.pts = i + int(audio_start * 44100)
                out.mux(sound.encode(packet))
            out.mux(sound.encode())
    return path


def opened(path: Path, span: Span | None = None, fps: float = 10.0) -> Media:
    return open_media(Clip("clip", path, span), fps)


def level_time(media: Media) -> list[float]:
    """Read the time painted into each frame."""
    return [(float(f.rgb.mean()) - 60) / 80 for f in media.frames()]


@pytest.fixture
def steady(tmp_path: Path) -> Path:
    return encode(tmp_path / "steady.mp4", [i / 25 for i in range(50)], audio_s=2.0)


def test_frames_are_nearest_to_the_grid(steady: Path) -> None:
    media = opened(steady)
    times = np.array([f.time for f in media.frames()])
    assert media.rows == len(times) == 20
    assert np.abs(times - np.arange(20) / 10).max() <= 0.5 / 25 + 1e-6
    assert np.abs(np.array(level_time(media)) - times).max() < 0.06


def test_a_span_starts_and_ends_where_it_says(steady: Path) -> None:
    media = opened(steady, Span(0.7, 1.3), fps=25)
    times = [f.time for f in media.frames()]
    assert media.span == Span(0.7, 1.3)
    assert times[0] == pytest.approx(0.7, abs=0.021)
    assert times[-1] < 1.3
    assert np.abs(np.array(level_time(media)) - times).max() < 0.06
    assert len(media.audio) == pytest.approx(0.6 * SAMPLE_RATE, abs=1)


def test_variable_frame_rate_goes_by_time_not_by_index(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.12, 0.5, 0.54, 1.2, 1.24, 1.28, 1.5, 1.9, 1.94]
    media = opened(encode(tmp_path / "vfr.mkv", times), fps=5)
    got = [f.time for f in media.frames()]
    assert got == pytest.approx(level_time(media), abs=0.06)
    grid = np.arange(media.rows) / media.rate_hz
    for t in got:
        assert any(abs(t - g) == min(abs(np.array(times) - g)) for g in grid)


def test_a_slow_source_keeps_its_own_rate(tmp_path: Path) -> None:
    media = opened(encode(tmp_path / "slow.mkv", [i / 4 for i in range(9)], rate=4), fps=25)
    times = [f.time for f in media.frames()]
    assert media.rate_hz == pytest.approx(4, abs=0.5)
    assert len(times) == len(set(times)) <= 9


def test_late_video_keeps_its_delay(tmp_path: Path) -> None:
    late = encode(tmp_path / "late.mp4", [0.5 + i / 25 for i in range(25)], audio_s=1.5)
    media = opened(late)
    assert next(iter(media.frames())).time == pytest.approx(0.5, abs=0.002)


def test_late_audio_is_padded_with_silence(tmp_path: Path) -> None:
    frames = [i / 25 for i in range(50)]
    media = opened(encode(tmp_path / "late.mkv", frames, audio_s=1.0, audio_start=0.6))
    loud = np.flatnonzero(np.abs(media.audio) > 0.1)
    assert loud[0] / SAMPLE_RATE == pytest.approx(0.6, abs=0.05)


def test_transport_stream_clock_is_shifted_to_zero(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ts", [i / 25 for i in range(50)], audio_s=2.0, codec="libx264")
    media = opened(path, Span(1.0, 1.5))
    assert next(iter(media.frames())).time == pytest.approx(1.0, abs=0.05)
    assert len(media.audio) == pytest.approx(0.5 * SAMPLE_RATE, abs=400)


def test_a_second_pass_sees_the_same_frames(steady: Path) -> None:
    media = opened(steady)
    first, second = list(media.frames()), list(media.frames())
    assert [f.time for f in first] == [f.time for f in second]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(first, second, strict=True))


def test_an_abandoned_pass_does_not_cut_the_next(steady: Path) -> None:
    media = opened(steady)
    next(iter(media.frames()))
    assert len(list(media.frames())) == media.rows


def test_audio_only_and_no_audio(tmp_path: Path, assets: Path) -> None:
    speech = opened(assets / "data/speech/jfk.flac")
    assert (speech.has_video, speech.has_audio, speech.is_image) == (False, True, False)
    assert list(speech.frames()) == []
    assert len(speech.audio) / SAMPLE_RATE == pytest.approx(speech.duration_s, abs=0.01)
    silent = opened(encode(tmp_path / "silent.mp4", [i / 25 for i in range(25)]))
    assert (silent.has_audio, len(silent.audio)) == (False, 0)


def test_an_image_is_one_frame(assets: Path) -> None:
    media = opened(assets / "data/pyfeat/single_face.jpg")
    (frame,) = media.frames()
    assert media.is_image and media.rows == 1 and not media.has_audio
    assert frame.rgb.shape == (562, 572, 3)


def test_tone_survives_resampling(steady: Path) -> None:
    spectrum = np.abs(np.fft.rfft(opened(steady).audio[:SAMPLE_RATE]))
    assert spectrum.argmax() == pytest.approx(440, abs=1)


def test_a_clip_without_a_file_has_no_streams() -> None:
    media = open_media(Clip("words", None))
    assert not media.has_video and not media.has_audio
    assert list(media.frames()) == [] and len(media.audio) == 0


@pytest.mark.parametrize("span", [Span(1.0, 1.0), Span(2.0, 1.0), Span(-1.0, 1.0), Span(9.0, 10.0)])
def test_impossible_spans_are_refused_in_one_line(steady: Path, span: Span) -> None:
    with pytest.raises(TextualizeError, match="span") as caught:
        opened(steady, span)
    assert "\n" not in str(caught.value)


def test_a_span_past_the_end_is_cut(steady: Path) -> None:
    assert opened(steady, Span(1.5, 99.0)).span.end == pytest.approx(2.0, abs=0.1)


def test_grid_length_ignores_rounding() -> None:
    assert grid_length(Span(0.1, 0.1 + 3 * 0.1), 10.0) == 3


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    (tmp_path / "c").write_bytes(b"other")
    assert media_digest(tmp_path / "a") == media_digest(tmp_path / "b")
    assert media_digest(tmp_path / "a") != media_digest(tmp_path / "c")
    with pytest.raises(TextualizeError):
        media_digest(tmp_path / "none")


def test_a_middle_hole_is_bridged_and_counted(steady: Path) -> None:
    data = bytearray(steady.read_bytes())
    start = data.find(b"mdat") + 4
    middle = start + (len(data) - start) // 3
    data[middle : middle + 600] = bytes(600)
    steady.write_bytes(data)
    media = opened(steady)
    assert len(list(media.frames())) > 0
    assert len(media.audio) > SAMPLE_RATE


def damaged(kind: str, seed: int, data: bytes) -> bytes:
    rng = np.random.default_rng(seed)
    if kind == "truncate":
        return data[: int(len(data) * rng.uniform(0.01, 0.99))]
    if kind == "header":
        return data[: int(rng.integers(1, 200))]
    buffer = np.frombuffer(data, np.uint8).copy()
    if kind == "flip":
        at = rng.integers(0, len(buffer), len(buffer) // 200 + 1)
        buffer[at] = rng.integers(0, 256, len(at))
    elif kind == "start":
        at = rng.integers(0, min(400, len(buffer)), 12)
        buffer[at] = rng.integers(0, 256, len(at))
    elif kind == "end":
        at = len(buffer) - 1 - rng.integers(0, min(1500, len(buffer)), 20)
        buffer[at] = rng.integers(0, 256, len(at))
    return buffer.tobytes()


SOURCES = ("grid.mpg", "steady.mp4", "steady.mkv", "face.jpg")
CASES = [
    (source, kind, seed)
    for source in SOURCES
    for kind in ("truncate", "header", "flip", "start", "end")
    for seed in range(3)
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, assets: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    times = [i / 25 for i in range(50)]
    return {
        "grid.mpg": (assets / "data/grid/bbaf2n.mpg").read_bytes(),
        "steady.mp4": encode(folder / "a.mp4", times, audio_s=2.0).read_bytes(),
        "steady.mkv": encode(folder / "a.mkv", times, audio_s=2.0).read_bytes(),
        "face.jpg": (assets / "data/pyfeat/single_face.jpg").read_bytes(),
    }


@pytest.mark.parametrize(("source", "kind", "seed"), CASES)
def test_damage_is_read_or_refused(
    tmp_path: Path, originals: dict[str, bytes], source: str, kind: str, seed: int
) -> None:
    path = tmp_path / source
    path.write_bytes(damaged(kind, seed, originals[source]))
    try:
        media = opened(path)
        frames = list(media.frames())
        assert all(f.rgb.dtype == np.uint8 and f.rgb.ndim == 3 for f in frames)
        assert len(frames) <= media.rows
        assert np.isfinite(media.audio).all()
    except TextualizeError as error:
        assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"this is not a video\n" * 50),
        ("text.txt", b"plain words in a text file\n" * 50),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n"),
        ("words.srt", b"1\n00:00:00,000 --> 00:00:02,000\nhello\n"),
        ("noise.bin", np.random.default_rng(0).bytes(5000)),
        ("zeros.mp4", bytes(5000)),
    ],
)
def test_what_is_not_media_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextualizeError, match="cannot read"):
        opened(tmp_path / name)


def test_missing_files_folders_and_lost_indexes_are_refused(tmp_path: Path, steady: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(TextualizeError, match="cannot read"):
            opened(path)
    data = steady.read_bytes()
    steady.write_bytes(data[: data.find(b"moov") - 4])
    with pytest.raises(TextualizeError, match="cannot read"):
        opened(steady)


def test_a_gigapixel_claim_is_refused(tmp_path: Path) -> None:
    head = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR"
    body = (60000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    (tmp_path / "huge.png").write_bytes(head + body + bytes(200))
    with pytest.raises(TextualizeError, match="cannot read"):
        list(opened(tmp_path / "huge.png").frames())


def test_rotation_metadata_turns_the_picture(tmp_path: Path) -> None:
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, :32] = 255  # the left half is white
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(wide, "rgb24")))
        out.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 36  # the matrix of a version-0 track header
    # Matrix of a quarter turn clockwise, as phones write it: a b u c d v x y w.
    turned = [0, 0x10000, 0, -0x10000 & 0xFFFFFFFF, 0, 0, 32 << 16, 0, 0x40000000]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big") for v in turned)
    path.write_bytes(data)
    frame = next(iter(opened(path).frames()))
    assert frame.rgb.shape == (64, 32, 3)
    assert frame.rgb[:24].mean() > 200 > 60 > frame.rgb[40:].mean()  # left has become top
