"""A clip's sound, spoken by espeak-ng (a GPL program whose output is free to use)."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textualize.demo.script import RATE_HZ, Line
from textualize.errors import TextualizeError

Wave = NDArray[np.float64]
SOUND_HZ = 22050  # what espeak-ng makes
SILENCE_S = 0.2  # before and after the speech
SHORTEST_S = 2.6  # of a clip
PEAK = 0.95  # loudest sample allowed; a louder voice is turned down as a whole
ROOM_DB = -65.0  # level of the room noise
_HEADER = 44  # bytes of a WAV header; espeak-ng leaves its lengths blank when it writes to a pipe
_ESPEAK_STEPS = (6.9, 5.7)  # steps of `-p` per semitone, downwards and upwards


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A clip's sound: `wave` mono at 22.05 kHz within +-1, and what was made of it."""

    wave: Wave
    f0_hz: float
    wpm: float

    def loudness(self) -> Wave:
        """Return the loudness of every video frame, 0-1, shape (T,)."""
        hop = int(SOUND_HZ / RATE_HZ)
        frames = len(self.wave) // hop
        power = (self.wave[: frames * hop].reshape(frames, hop) ** 2).mean(1)
        level = np.sqrt(power)
        return np.asarray(np.clip(level / (np.percentile(level, 95) + 1e-9), 0, 1))


def speak(line: Line) -> Sound:
    """Return the line spoken by its subject; raises TextualizeError without espeak-ng."""
    voice = line.subject.voice
    steps = _ESPEAK_STEPS[0] if line.pitch_st < 0 else _ESPEAK_STEPS[1]
    pitch = int(np.clip(round(voice.pitch + steps * line.pitch_st), 0, 99))
    wpm = round(voice.wpm * line.rate)
    parts = [_trim(_espeak(voice.name, pitch, wpm, s)) for s in line.sentences]
    spoken = sum(len(p) for p in parts) / SOUND_HZ
    between = np.zeros(int(SOUND_HZ * max(0.12, line.pause_s)))
    speech = parts[0]
    for part in parts[1:]:
        speech = np.concatenate([speech, between, part])
    f0 = fundamental(np.concatenate(parts))
    level = np.sqrt((np.concatenate(parts) ** 2).mean())
    gain = 10 ** ((voice.level_db + line.gain_db) / 20) / level
    gain = min(gain, PEAK / np.abs(speech).max())
    quiet = np.zeros(int(SOUND_HZ * SILENCE_S))
    wave = np.concatenate([quiet, gain * speech, quiet])
    hop = int(SOUND_HZ / RATE_HZ)
    frames = max(-(-len(wave) // hop), math.ceil(SHORTEST_S * RATE_HZ))
    wave = np.pad(wave, (0, frames * hop - len(wave)))
    room = np.random.default_rng([line.seed, 3]).standard_normal(len(wave))
    wave = wave + 10 ** (ROOM_DB / 20) * room
    words = sum(len(s.split()) for s in line.sentences)
    return Sound(wave, f0, 60 * words / spoken)


def _espeak(voice: str, pitch: int, wpm: int, text: str) -> Wave:
    program = shutil.which("espeak-ng")
    if program is None:
        raise TextualizeError(
            "the demo voices need the program espeak-ng, which is not on the path: install it "
            "(apt install espeak-ng) and run the build again"
        )
    command = [program, "-v", voice, "-p", str(pitch), "-s", str(wpm), "--stdout", text]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or len(done.stdout) <= _HEADER:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no sound came out"]
        raise TextualizeError(f"espeak-ng could not speak with voice '{voice}': {reason[0]}")
    return np.frombuffer(done.stdout[_HEADER:], np.int16).astype(np.float64) / 32768


def _trim(wave: Wave) -> Wave:
    """Return the wave without the silence espeak-ng puts around a sentence."""
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave


def fundamental(wave: Wave) -> float:
    """Return the median fundamental frequency in Hz by autocorrelation, NaN if none is voiced.

    The autocorrelation of each 46 ms window is divided by that of the window function
    (Boersma 1993); the highest peak between 60 and 450 Hz counts where it exceeds 0.6.

    >>> t = np.arange(SOUND_HZ) / SOUND_HZ
    >>> round(fundamental(np.sin(2 * np.pi * 200 * t)))
    200
    """
    size, hop = 1024, 441
    window = np.hanning(size)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * size)) ** 2)
    low, high = SOUND_HZ // 450, SOUND_HZ // 60
    found = []
    for start in range(0, len(wave) - size, hop):
        part = wave[start : start + size]
        if np.sqrt((part**2).mean()) < 0.02:
            continue
        power = np.abs(np.fft.rfft((part - part.mean()) * window, 2 * size)) ** 2
        like = np.fft.irfft(power)
        like = like[:high] / like[0] / (own[:high] / own[0])
        # The slight slope prefers the shortest period among near-equal peaks.
        peak = low + int(np.argmax(like[low:] - 0.0004 * np.arange(high - low)))
        if like[peak] > 0.6:
            found.append(SOUND_HZ / peak)
    return float(np.median(found)) if found else float("nan")
