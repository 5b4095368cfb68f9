"""Files no reader should trust: made, seeded, from a second of real film or of noise."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

RATE = 25
SOUND_HZ = 16000
Expected = Literal["read", "fails", "either"]


@dataclass(frozen=True)
class Case:
    """A file and what should come of it; "either" where damage may or may not be fatal."""

    path: Path
    expected: Expected


@dataclass(frozen=True)
class Film:
    """A second of material: pictures (T, H, W, 3) uint8 and 16 kHz sound (N,) float32."""

    pictures: np.ndarray
    sound: np.ndarray


def film(real: Path | None) -> Film:
    """The first second of a real clip, at 160 x 128; noise and a tone without one."""
    if real is None:
        rng = np.random.default_rng(0)
        pictures = rng.integers(0, 255, (RATE, 128, 160, 3), dtype=np.uint8)
        return Film(pictures, np.sin(np.arange(SOUND_HZ) / 20).astype(np.float32) / 2)
    with av.open(str(real)) as container:
        frames = [f for _, f in zip(range(RATE), container.decode(video=0), strict=False)]
        pictures = np.stack([f.reformat(160, 128, "rgb24").to_ndarray() for f in frames])
    with av.open(str(real)) as container:
        resampler = av.AudioResampler("flt", "mono", SOUND_HZ)
        parts = [r.to_ndarray() for f in container.decode(audio=0) for r in resampler.resample(f)]
    return Film(pictures, np.concatenate(parts, axis=1)[0, :SOUND_HZ])


def encode(
    path: Path,
    pictures: np.ndarray | None,
    sound: np.ndarray | None,
    *,
    video: str = "libx264",
    audio: str = "aac",
    pix_fmt: str = "yuv420p",
    form: str | None = None,
    times: Sequence[float] | None = None,
    aspect: Fraction | None = None,
    turn: int = 0,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
) -> Path:
    """Write pictures and sound as one file; `times` are the pictures' times in seconds."""
    with av.open(str(path), "w", format=form, options=muxer or {}) as out:
        pictured: Any = None
        heard: Any = None
        if pictures is not None:
            pictured = out.add_stream(video, rate=RATE, options=encoder or {})
            pictured.height, pictured.width = pictures.shape[1:3]
            pictured.pix_fmt, pictured.codec_context.thread_count = pix_fmt, 1
            if aspect:
                pictured.codec_context.sample_aspect_ratio = aspect
            if times is not None:
                pictured.codec_context.time_base = Fraction(1, 1000)
            if turn:
                pictured.set_display_rotation(turn)
        if sound is not None:
            heard = out.add_stream(audio, rate=48000 if audio == "libopus" else SOUND_HZ)
        if pictured is not None:
            for n, picture in enumerate(pictures):
                frame = VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts = n if times is None else round(times[n] * 1000)
                frame.time_base = Fraction(1, RATE if times is None else 1000)
                out.mux(pictured.encode(frame))
            out.mux(pictured.encode(None))
        if heard is not None:
            frame = AudioFrame.from_ndarray(sound[None].astype(np.float32), "flt", "mono")
            frame.sample_rate, frame.pts = SOUND_HZ, 0
            out.mux(heard.encode(frame))
            out.mux(heard.encode(None))
    return path


def _paletted(path: Path, indices: np.ndarray, palette: np.ndarray) -> Path:
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("png", rate=RATE)
        stream.height, stream.width = indices.shape[1:]
        stream.pix_fmt = "pal8"
        for n, picture in enumerate(indices):
            frame = VideoFrame.from_ndarray((np.ascontiguousarray(picture), palette), "pal8")
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def originals(folder: Path, made: Film) -> list[Path]:
    """The material in every container that corpora come in."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures, sound = made.pictures, made.sound
    both: dict[str, dict[str, Any]] = {
        "late.mp4": {},  # the index is at the end
        "early.mp4": {"muxer": {"movflags": "faststart"}},
        "film.mkv": {"audio": "mp2"},
        "film.mpg": {"video": "mpeg2video", "audio": "mp2"},
        "film.avi": {"video": "mpeg4", "audio": "mp2"},
        "film.webm": {"video": "libvpx", "audio": "libopus"},
        "film.ts": {},
        "film.flv": {},
        "film.mov": {"video": "mjpeg", "pix_fmt": "yuvj420p", "audio": "pcm_s16le"},
    }
    heard = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac", "ogg": "libopus"}
    return [
        *(encode(folder / name, pictures, sound, **how) for name, how in both.items()),
        *(encode(folder / f"voice.{s}", None, sound, audio=a) for s, a in heard.items()),
    ]


def truncated(folder: Path, whole: Sequence[Path], places: int = 7) -> Iterator[Case]:
    """Each file cut off at many places, the last one byte before its end."""
    for path in whole:
        data = path.read_bytes()
        for n, part in enumerate(np.linspace(0.002, 1.0, places)):
            cut = folder / f"cut{n}-{path.name}"
            cut.write_bytes(data[: min(int(len(data) * part), len(data) - 1)])
            yield Case(cut, "either")


def flipped(folder: Path, whole: Sequence[Path], seed: int = 0) -> Iterator[Case]:
    """Each file with 1, 10, … 10000 bits flipped anywhere, and with 10 in its first 500 bytes."""
    rng = np.random.default_rng(seed)
    for path in whole:
        for bits, within in ((1, None), (10, None), (100, None), (1000, None), (10_000, None),
                             (10, 500)):  # fmt: skip
            data = np.frombuffer(path.read_bytes(), np.uint8).copy()
            at = rng.integers(0, len(data[:within]) * 8, bits)
            np.bitwise_xor.at(data, at // 8, (1 << (at % 8)).astype(np.uint8))
            hurt = folder / f"flip{bits}-{within or 'all'}-{path.name}"
            hurt.write_bytes(data.tobytes())
            yield Case(hurt, "either")


def misnamed(folder: Path, whole: Sequence[Path], image: Path) -> Iterator[Case]:
    """Media under another format's extension, and under none."""
    suffixes = [".avi", ".mp4", ".wav", ".ts", ".jpg", ".txt", ""]
    for n, path in enumerate(whole):
        wrong = folder / f"is-{path.name.replace('.', '-')}{suffixes[n % len(suffixes)]}"
        wrong.write_bytes(path.read_bytes())
        yield Case(wrong, "read")
    for suffix in (".mp4", ".wav", ".mkv"):
        wrong = folder / f"is-picture{suffix}"
        wrong.write_bytes(image.read_bytes())
        yield Case(wrong, "read")


def not_media(folder: Path, seed: int = 1) -> Iterator[Case]:
    """Files of other kinds with a film's name."""
    rng = np.random.default_rng(seed)
    contents = {
        "empty": b"",
        "zero": b"\0",
        "zeros": bytes(100_000),
        "text": b"this is not a film\n" * 50,
        "blank": b" \n" * 500,
        "json": b'{"clips": []}',
        "html": b"<!doctype html><html><body>404 not found</body></html>",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(2000),
        "pdf": b"%PDF-1.7\n" + bytes(range(256)) * 8,
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "atoms": b"\0\0\0\x14ftypisom\0\0\2\0isom\0\0\0\x08moov\0\0\0\x08mdat",
    }
    contents |= {f"noise{n}": rng.bytes(10**n) for n in range(1, 6)}
    for name, data in contents.items():
        for suffix in (".mp4", ".wav") if name in ("zeros", "text", "noise4") else (".mp4",):
            path = folder / f"{name}{suffix}"
            path.write_bytes(data)
            yield Case(path, "fails")
    packed = folder / "zip.mp4"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("film.mp4", bytes(1000))
    yield Case(packed, "fails")


def playlists(folder: Path, good: Path, port: int) -> Iterator[Case]:
    """Texts FFmpeg would follow to other files and to this machine's `port`."""
    url = f"http://127.0.0.1:{port}"
    lists = {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "concat.mp4": "ffconcat version 1.0\nfile '{}'\n",
        "concat.txt": "ffconcat version 1.0\nfile '{}'\n",
        "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        'profiles="urn:mpeg:dash:profile:isoff-main:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "rtsp.mp4": "RTSPtext\nrtsp://{}\n",
        "asx.wmv": "[Reference]\nRef1={}\n",
        "smil.mp4": '<smil><body><video src="{}"/></body></smil>',
    }
    os.mkfifo(folder / "trap.ts")  # who opens it hangs
    (folder / "good.ts").write_bytes(good.read_bytes())
    for name, text in lists.items():
        for kind, target in (
            ("trap", "trap.ts"),
            ("file", str(folder / "good.ts")),
            ("url", f"{url}/a.ts"),
        ):
            path = folder / f"to-{kind}-{name}"
            path.write_text(text.format(target))
            yield Case(path, "fails")


def odd_streams(folder: Path, made: Film) -> Iterator[Case]:
    """Readable media at the edges of what there is: streams, sizes, colours, clocks."""
    pictures, sound = made.pictures, made.sound
    yield Case(encode(folder / "silent.mp4", pictures, None), "read")
    yield Case(encode(folder / "blind.mp4", None, sound), "read")
    yield Case(encode(folder / "one-frame.mp4", pictures[:1], sound), "read")
    yield Case(encode(folder / "one-frame-silent.mkv", pictures[:1], None), "read")
    yield Case(encode(folder / "long-sound.mp4", pictures, np.tile(sound, 10)), "read")
    yield Case(encode(folder / "long-picture.mp4", np.tile(pictures, (4, 1, 1, 1)),
                      sound[:1600]), "read")  # fmt: skip
    yield Case(encode(folder / "tiny-sound.wav", None, sound[:1], audio="pcm_s16le"), "read")
    yield Case(encode(folder / "8k.mkv", np.zeros((1, 4320, 7680, 3), np.uint8), None,
                      video="mjpeg", pix_fmt="yuvj420p"), "read")  # fmt: skip
    colours = {
        "yuv444p10le": "libx264", "gray": "ffv1", "rgb8": "gif", "rgba": "png", "yuv410p": "ffv1",
        "bgra": "ffv1", "yuv420p16le": "ffv1", "rgb48be": "png", "monob": "png", "gray16be": "png",
        "yuv444p": "libvpx-vp9", "argb": "qtrle",
    }  # fmt: skip
    forms = {"gif": "gif", "png": "mov", "qtrle": "mov"}
    for colour, codec in colours.items():
        where = folder / f"{colour}.{forms.get(codec, 'mkv')}"
        yield Case(encode(where, pictures[:5], None, video=codec, pix_fmt=colour), "read")
    palette = np.arange(256, dtype=np.uint8)[:, None].repeat(4, axis=1)
    yield Case(_paletted(folder / "pal8.mov", pictures[:5, ..., 0], palette), "read")
    for wide, high in ((1, 1), (2, 2000), (3, 5), (2000, 2), (17, 31)):
        small = np.resize(pictures[:3], (3, high, wide, 3))
        path = folder / f"{wide}x{high}.mkv"
        yield Case(encode(path, small, None, video="ffv1", pix_fmt="bgra"), "read")
        for ratio in (Fraction(1, 4), Fraction(4), Fraction(1, 100)):
            name = f"{wide}x{high}-{ratio.numerator}to{ratio.denominator}.mp4"
            yield Case(encode(folder / name, small, None, video="mpeg4", aspect=ratio), "read")
    for turn in (90, 180, 270, 45):
        yield Case(encode(folder / f"turned{turn}.mp4", pictures[:5], None, turn=turn), "read")
    yield from _odd_clocks(folder, made)
    yield from _attachments(folder, made)


def _odd_clocks(folder: Path, made: Film) -> Iterator[Case]:
    pictures, sound = made.pictures, made.sound
    uneven = np.cumsum(np.random.default_rng(2).choice([0.01, 0.04, 0.2], len(pictures)))
    clocks = {
        "vfr": list(uneven - uneven[0]),
        "begins-late": [3 + n / RATE for n in range(RATE)],
        "begins-before": [-0.5 + n / RATE for n in range(RATE)],
        "gap": [n / RATE + 5 * (n > 10) for n in range(RATE)],
    }
    for name, times in clocks.items():
        yield Case(encode(folder / f"{name}.mkv", pictures, sound, times=times), "read")
    backwards = folder / "b-frames.mp4"
    how = {"bf": "3", "x264-params": "b-adapt=0:bframes=3"}
    yield Case(encode(backwards, pictures, sound, encoder=how), "read")
    yield Case(
        encode(folder / "fragments.mp4", pictures, sound,
               muxer={"movflags": "frag_keyframe+empty_moov"}), "read")  # fmt: skip
    wave = encode(folder / "whole.wav", None, sound, audio="pcm_s16le").read_bytes()
    size_at = wave.index(b"data") + 4
    yield Case(folder / "whole.wav", "read")
    for name, offset, value in (("rate1", 24, 1), ("rate4e9", 24, 2**32 - 1), ("rate0", 24, 0),
                                ("size4e9", size_at, 2**32 - 1),
                                ("channels", 22, 0xFFFF)):  # fmt: skip
        size = 2 if name == "channels" else 4
        path = folder / f"wave-{name}.wav"
        path.write_bytes(wave[:offset] + value.to_bytes(size, "little") + wave[offset + size :])
        yield Case(path, "read" if name == "size4e9" else "either")


def _attachments(folder: Path, made: Film) -> Iterator[Case]:
    voice = encode(folder / "plain.mp3", None, made.sound, audio="libmp3lame").read_bytes()
    yield Case(folder / "plain.mp3", "read")
    cover = encode(folder / "cover.jpg", made.pictures[:1], None, video="mjpeg",
                   pix_fmt="yuvj420p", form="image2").read_bytes()  # fmt: skip
    body = b"\0image/jpeg\0\3\0" + cover
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    seven = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\3\0\0" + seven + frame
    for name, data, expected in (("covered.mp3", tag + voice, "read"), ("cover-only.mp3", tag,
                                 "fails")):  # fmt: skip
        (folder / name).write_bytes(data)
        yield Case(folder / name, expected)  # type: ignore[arg-type]
    script = folder / "words.srt"
    script.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n\n")
    only = folder / "subtitles.mkv"
    with av.open(str(script)) as given, av.open(str(only), "w") as out:
        stream = out.add_stream_from_template(given.streams[0])
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    yield Case(only, "fails")


def odd_names(folder: Path, good: Path, picture: Path) -> Iterator[Case]:
    """Good media under names that shells, patterns and protocols stumble over."""
    names = [
        "фильм.mp4", "映画 🎬.mp4", "line\nbreak.mp4", "quo'te\".mp4", "100%d.mp4", "%03d.mp4",
        "a:b.mp4", "concat:a|b.mp4", "http:x.mp4", "[red].mp4", "{{ x }}.mp4", "$(true).mp4",
        "-o.mp4", " .mp4", "nel\u0085ls\u2028.mp4", "back\\slash.mp4", "hash#1.mp4",
        "é" * 125 + ".mp4", os.fsdecode(b"not-utf8-\xff.mp4"), "x" * 251 + ".mp4", "?.mp4",
        "file:.mp4",
    ]  # fmt: skip
    pictures = ["50%d.jpg", "what?.jpg", "any*.jpg", "{a}.jpg", "%03d.jpg"]
    for name, source in [*((n, good) for n in names), *((n, picture) for n in pictures)]:
        path = folder / name
        path.write_bytes(source.read_bytes() + str(name).encode(errors="replace")[:8])
        yield Case(path, "read")


def not_files(folder: Path) -> Iterator[Case]:
    """Things with a film's name that are no files, or not of this world's size."""
    (folder / "folder.mp4").mkdir()
    (folder / "dangling.mp4").symlink_to(folder / "nothing here")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.mp4")
    with (folder / "sparse.mp4").open("wb") as stream:
        stream.truncate(1 << 30)
    names = ["folder", "dangling", "loop", "device", "pipe", "sparse", "absent", "y" * 300, "nul\0"]
    yield from (Case(folder / f"{name}.mp4", "fails") for name in names)
