"""Media of one clip through PyAV: frames by time, 16 kHz sound, damage survived and counted.

Time zero is the start of the file's timeline, the same for picture and sound: a stream that begins
late keeps its delay, and formats whose clocks start anywhere (MPEG-TS, MPEG-PS) are shifted to 0.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.format import Flags, formats_available
from av.stream import Disposition
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from textualize.errors import TextualizeError, unknown
from textualize.extract.sound import SAMPLE_RATE, Stretch, stretches
from textualize.files import file_digest
from textualize.types import Clip, Float32, Span

_MAX_PIXELS = 120_000_000  # above any camera; a damaged header can claim gigapixels
_MAX_SECONDS = 12 * 3600.0  # 12 h of 16 kHz sound is 2.8 GB: longer files are given as spans
_MAX_DEMUX_ERRORS = 32  # in a row: the file is over, not damaged
_GAP_S = 0.05  # sound further than this from where it is expected is a gap, not jitter
_WARM_UP_S = 0.5  # sound before the span that lets decoder and resampler settle
_SOUND_RATES = range(1000, 768_001)  # outside, a damaged header: 1 Hz would make hours of a second
# Formats that FFmpeg opens but that are text, or lists that lead to other files.
_NOT_MEDIA = {"tty", "hls", "concat", "dash", "sdp", "rtsp", "bin", "xbin", "adf", "idf", "lrc"}
_OPENING = {
    "format_whitelist": ",".join(sorted(formats_available - _NOT_MEDIA)),  # refused unopened
    "protocol_whitelist": "file",
    "pattern_type": "none",  # "%03d.jpg" is a name
}
_READ_ERRORS = (av.error.FFmpegError, OSError, ValueError, MemoryError, OverflowError)


class Frame(NamedTuple):
    """One picture: `time` in seconds from the start of the file, `rgb` uint8 (H, W, 3)."""

    time: float
    rgb: NDArray[np.uint8]


class Sampler:
    """Picks, from frames in time order, the nearest to each point of a grid; each frame once."""

    def __init__(self, span: Span, rate_hz: float) -> None:
        """Take the grid start, start + 1/rate_hz, … within the span."""
        self._start, self._step = span.start, 1.0 / rate_hz
        self._row, self._rows = 0, grid_length(span, rate_hz)
        self._held: tuple[float, VideoFrame] | None = None

    @property
    def done(self) -> bool:
        """Whether every grid point has been served."""
        return self._row >= self._rows

    def push(self, time: float, frame: VideoFrame) -> tuple[float, VideoFrame] | None:
        """Return the frame before this one if it is the nearest to a grid point, else None."""
        held, self._held = self._held, (time, frame)
        if held is None or time <= held[0]:
            return None
        middle = (held[0] + time) / 2
        return held if self._serve(held[0], middle) else None

    def flush(self) -> tuple[float, VideoFrame] | None:
        """Return the last frame if it is within one step of a grid point not yet served."""
        held, self._held = self._held, None
        if held is None or not self._serve(held[0], held[0] + self._step):
            return None
        return held

    def _serve(self, time: float, until: float) -> bool:
        wanted = False
        while not self.done and self._start + self._row * self._step <= until:
            wanted |= abs(self._start + self._row * self._step - time) <= self._step
            self._row += 1
        return wanted


def grid_length(span: Span, rate_hz: float) -> int:
    """Return how many grid points `start + i / rate_hz` lie in the span, at least one.

    >>> grid_length(Span(0.0, 3.0), 10.0), grid_length(Span(1.0, 1.05), 10.0)
    (30, 1)
    """
    return max(1, int(np.ceil(span.duration * rate_hz - 1e-6)))


@dataclass(eq=False)
class Media:
    """One clip's picture and sound, decoded when asked for.

    `span` is what is covered (the clip's span within the file), `rate_hz` the rate of the frame
    grid: the fps asked for, or the source's own when that is lower. `pixel_aspect` is how much
    wider than high a pixel is; frames are stretched so that theirs are square. `damaged_packets`
    counts packets that could not be decoded, so far, by the latest pass over each stream.
    """

    clip: Clip
    path: Path | None
    span: Span
    duration_s: float
    rate_hz: float
    has_video: bool
    has_audio: bool
    is_image: bool = False
    hwaccel: str = ""
    pixel_aspect: float = 1.0
    _origin: float = 0.0
    _damaged: dict[str, int] = field(default_factory=dict)

    @property
    def damaged_packets(self) -> int:
        """Packets lost to damage in what has been decoded so far."""
        return sum(self._damaged.values())

    @property
    def rows(self) -> int:
        """Length of a track sampled on the frame grid."""
        return grid_length(self.span, self.rate_hz)

    def frames(self) -> Iterator[Frame]:
        """Yield the frame nearest to each grid point, in time order, each at most once.

        Raises TextualizeError where the stream cannot be decoded at all.
        """
        if not self.has_video:
            return
        count = 0
        with _as_unreadable(self.path):
            for frame in self._decode_video():
                count += 1
                yield frame
        if not count and (self.clip.span is None or self._damaged.get("video")):
            raise _unreadable(self.path, "no frame could be decoded")

    def sound(self) -> Iterator[Stretch]:
        """Yield the span's sound, 16 kHz mono, in stretches of at most five minutes.

        The first begins at `span.start`; gaps are silence; the last ends where the sound ends.
        Nothing without an audio stream. Raises TextualizeError where the stream cannot be
        decoded at all.
        """
        if not self.has_audio:
            return
        heard = False
        most = round(self.span.duration * SAMPLE_RATE)
        with _as_unreadable(self.path):
            for stretch in stretches(self._pieces(), self.span.start, most):
                heard = True
                yield stretch._replace(samples=np.nan_to_num(stretch.samples, copy=False))
        if not heard and (self.clip.span is None or self._damaged.get("audio")):
            raise _unreadable(self.path, "no sound could be decoded")

    @property
    def audio(self) -> Float32:
        """All of the span's sound at once, (T,) float32: for clips known to be short."""
        return np.concatenate([np.zeros(0, np.float32), *(s.samples for s in self.sound())])

    def _decode_video(self) -> Iterator[Frame]:
        sampler = Sampler(self.span, self.rate_hz)
        for frame in self._covering("video"):
            if not isinstance(frame, VideoFrame) or self._too_large(frame):
                self._damaged["video"] += 1
            elif self.is_image:
                yield Frame(0.0, self._rgb(frame))
                return
            elif frame.time is not None:
                chosen = sampler.push(frame.time - self._origin, frame)
                if chosen:
                    yield Frame(chosen[0], self._rgb(chosen[1]))
            if sampler.done:
                return
        chosen = sampler.flush()
        if chosen:
            yield Frame(chosen[0], self._rgb(chosen[1]))

    def _too_large(self, frame: VideoFrame) -> bool:
        return frame.width * frame.height * max(1.0, self.pixel_aspect) > _MAX_PIXELS

    def _rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        try:
            wide = round(frame.width * self.pixel_aspect)  # faces are measured in square pixels
            squared = frame.reformat(width=wide) if wide != frame.width else frame
            pixels = squared.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise _unreadable(self.path, str(error)) from error
        quarter_turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels

    def _covering(self, kind: str) -> Iterator[VideoFrame | AudioFrame]:
        """Yield decoded frames from at or before the span's start onwards."""
        start = self.span.start
        if start > 0:
            frames = self._decoded(kind, seek=True)
            first = next((f for f in frames if f.time is not None), None)
            if first is not None and (first.time or 0.0) - self._origin <= start + _GAP_S:
                yield first
                yield from frames
                return
        # From the beginning also where the index led past the span, or to nothing decodable.
        yield from self._decoded(kind, seek=False)

    def _decoded(self, kind: str, seek: bool) -> Iterator[VideoFrame | AudioFrame]:
        self._damaged[kind] = 0
        with _opened(self.path, self.hwaccel if kind == "video" else "") as container:
            stream = _stream(container, kind)
            if stream is None or stream.time_base is None:
                return
            if seek:
                target = int((self.span.start + self._origin) / float(stream.time_base))
                try:
                    container.seek(max(0, target), stream=stream)
                except av.error.FFmpegError:
                    container.seek(0)
            failures = 0
            begun = not seek  # a seek may land inside a packet: that is not damage
            while failures < _MAX_DEMUX_ERRORS:
                try:
                    for packet in container.demux(stream):
                        failures = 0
                        try:
                            frames = packet.decode()
                        except (av.error.FFmpegError, ValueError, MemoryError):
                            self._damaged[kind] += begun
                            continue
                        begun |= bool(frames)
                        yield from frames
                    return
                except av.error.EOFError:
                    return
                except (av.error.FFmpegError, IndexError):  # IndexError: a stream came late
                    failures += 1
                    self._damaged[kind] += failures == 1

    def _pieces(self) -> Iterator[tuple[int, Float32]]:
        """Yield (index on the span's 16 kHz clock, samples) as the sound is decoded."""
        resampler: AudioResampler | None = None
        begin, heard, form = 0.0, 0.0, ("", "", 0)
        at = 0
        for frame in self._covering("audio"):
            if not isinstance(frame, AudioFrame) or frame.sample_rate not in _SOUND_RATES:
                self._damaged["audio"] += 1
                continue
            time = begin + heard if frame.time is None else frame.time - self._origin
            if time >= self.span.end:
                break
            if time < self.span.start - _WARM_UP_S:
                continue
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or now != form or abs(time - begin - heard) > _GAP_S:
                if resampler is not None:
                    yield at, _resampled(resampler, None)
                resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
                begin, heard, form = time, 0.0, now
                at = round((time - self.span.start) * SAMPLE_RATE)
            frame.pts = None  # the resampler refuses clocks that jitter; the count keeps time
            heard += frame.samples / frame.sample_rate
            try:
                samples = _resampled(resampler, frame)
            except (av.error.FFmpegError, ValueError):
                self._damaged["audio"] += 1
                continue
            yield at, samples
            at += len(samples)
        if resampler is not None:
            yield at, _resampled(resampler, None)


def open_media(clip: Clip, fps: float = 10.0, hwaccel: str = "") -> Media:
    """Return the clip's media: what streams it has, what span it covers.

    `hwaccel` names a device FFmpeg decodes pictures on ("cuda", "vaapi", "videotoolbox").

    A clip without a file (text or tables only) gives a Media without streams. Raises
    TextualizeError for a file that is missing, not media, damaged beyond reading, or whose
    span is empty or outside the file.
    """
    if not fps > 0:
        raise TextualizeError(f"fps must be above 0, given {fps}")
    if clip.span is not None and (not clip.span or clip.span.start < 0):
        raise TextualizeError(
            f"clip '{clip.id}': span {clip.span.start:g}-{clip.span.end:g} s is empty or starts "
            "before 0; give start < end in seconds"
        )
    if clip.video is None:
        span = clip.span or Span(0.0, 0.0)
        return Media(clip, None, span, span.duration, fps, has_video=False, has_audio=False)
    path = Path(clip.video)
    if not _size(path):
        raise _unreadable(path, "it is empty")
    with _opened(path) as container:
        media = _probe(clip, path, container, fps)
    media.hwaccel = hwaccel if media.has_video and not media.is_image else ""
    return media


def media_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, hex; raises TextualizeError if unreadable."""
    _size(Path(path))
    try:
        return file_digest(Path(path))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _probe(clip: Clip, path: Path, container: InputContainer, fps: float) -> Media:
    name = container.format.name
    video, audio = _stream(container, "video"), _stream(container, "audio")
    pictured = video is not None and not video.disposition & Disposition.attached_pic
    if not pictured and audio is None:
        raise _unreadable(path, "it has neither a video nor an audio stream")
    rate = fps
    if pictured and video is not None:
        size = video.codec_context.width * video.codec_context.height
        if size > _MAX_PIXELS:
            raise _unreadable(path, f"it claims {size / 1e6:.0f} megapixels a frame")
        native = float(video.average_rate or 0)
        rate = min(fps, native) if native > 0 else fps
    image = name.endswith("_pipe") or name == "image2"
    if image:
        once = Span(0.0, 1.0 / fps)
        return Media(clip, path, once, once.duration, fps, True, False, is_image=True)
    aspect = float(video.sample_aspect_ratio or 1) if pictured and video is not None else 1.0
    # Only clocks that may start anywhere are shifted: elsewhere a late start is meant.
    shifted = bool(Flags(container.format.flags) & Flags.ts_discont)
    origin = (container.start_time or 0) / av.time_base if shifted else 0.0
    duration = _duration(path, container, origin, shifted)
    span = Span(0.0, duration) if clip.span is None else clip.span & Span(0.0, duration)
    if not span:
        wanted = clip.span or span
        raise TextualizeError(
            f"clip '{clip.id}': span {wanted.start:g}-{wanted.end:g} s is outside {path}, "
            f"which lasts {duration:.2f} s; check the clip's start and end"
        )
    if span.duration > _MAX_SECONDS:
        raise _unreadable(path, f"{span.duration / 3600:.0f} hours at once; give spans")
    return Media(
        clip,
        path,
        span,
        duration,
        rate,
        pictured,
        audio is not None,
        pixel_aspect=aspect if 0.25 <= aspect <= 4 else 1.0,  # beyond: a damaged header
        _origin=origin,
    )


def _stream(container: InputContainer, kind: str) -> Any:
    """Return the best stream of a kind that this FFmpeg can decode, or None."""
    best = container.streams.best(kind)  # type: ignore[arg-type]
    return None if best is None or best.codec_context is None else best


def _duration(path: Path, container: InputContainer, origin: float, shifted: bool) -> float:
    """Return the end of the file's timeline in seconds, counted from packets if not stated."""
    if container.duration and container.duration > 0:
        late = 0.0 if shifted else max(0, container.start_time or 0) / av.time_base
        return float(container.duration / av.time_base + late)
    end = 0.0
    try:
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            if packet.pts is not None and packet.time_base is not None:
                last = (packet.pts + (packet.duration or 0)) * float(packet.time_base) - origin
                end = max(end, last)
    except (av.error.FFmpegError, IndexError) as error:
        if not end:
            raise _unreadable(path, str(error)) from error
    if not end:
        raise _unreadable(path, "it holds no timed data")
    return end


def _size(path: Path) -> int:
    try:
        about = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    if not stat.S_ISREG(about.st_mode):  # a pipe or a device would be read for ever
        raise _unreadable(path, "it is not a file")
    return about.st_size


@contextmanager
def _opened(path: Path | None, hwaccel: str = "") -> Iterator[InputContainer]:
    """Open a file of media, and no file it may lead to."""
    name = str(Path(path or "").absolute())  # "concat:a|b" is a protocol, "/…/concat:a|b" a file
    with _as_unreadable(path):
        device = HWAccel(hwaccel, allow_software_fallback=False) if hwaccel else None
        try:
            container = av.open(
                name, container_options=_OPENING, metadata_errors="replace", hwaccel=device
            )
        except av.error.ArgumentError as error:
            reason = "it is a text or a list of files, or its header makes no sense"
            raise _unreadable(path, reason) from error
        with container:
            yield container


@contextmanager
def _as_unreadable(path: Path | None) -> Iterator[None]:
    """Turn whatever FFmpeg or the system says against a file into a TextualizeError."""
    try:
        yield
    except _READ_ERRORS as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error


def check_hwaccel(name: str) -> None:
    """Raise TextualizeError unless this FFmpeg knows the device and the machine has one."""
    known = hwdevices_available()
    if name not in known:
        raise unknown("hardware decoder", name, known)
    try:
        HWAccel(name).create(av.codec.Codec("h264", "r"))
    except (av.error.FFmpegError, RuntimeError, ValueError) as error:
        raise TextualizeError(
            f"no '{name}' device decodes video on this machine ({error}); leave --hwaccel out"
        ) from error


def _resampled(resampler: AudioResampler, frame: AudioFrame | None) -> Float32:
    parts = [out.to_ndarray().reshape(-1) for out in resampler.resample(frame)]
    return np.concatenate([np.zeros(0, np.float32), *parts], dtype=np.float32)


def _unreadable(path: Path | None, reason: str) -> TextualizeError:
    return TextualizeError(f"cannot read {path}: {reason.lower()}; give a media file FFmpeg plays")
