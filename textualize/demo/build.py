"""Draws, speaks and writes the demo corpus: `python -m textualize.demo.build [--out DIR]`.

`--people N` draws more than the twelve that ship, and splits them: no person is in two splits.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from textualize.console import progress_bar
from textualize.demo import script
from textualize.demo.face import render
from textualize.demo.stage import FRAME_HEIGHT, FRAME_WIDTH, Pixels
from textualize.demo.voice import SOUND_HZ, Sound, speak
from textualize.errors import TextualizeError
from textualize.files import write_bytes_atomic, write_text_atomic

FRAME_RATE = Fraction(25, 2)
QUALITY = "25"  # x264's constant rate factor
SOUND_BITS_PER_S = 28_000
COLUMNS = ("id", "video", "start", "end", "label", "subject", "group", "split", "transcript")


def frames(line: script.Line, curves: dict[int, script.Track]) -> Iterator[Pixels]:
    """Yield the clip's pictures, (240, 320, 3) uint8 RGB, at 12.5 a second."""
    count = len(curves[25])
    for i, pose in enumerate(script.poses(line, count)):
        face = {action: float(curve[i]) for action, curve in curves.items()}
        yield render(line.subject.look, face, pose, line.scene)


def encode(pictures: Iterator[Pixels], sound: Sound) -> bytes:
    """Return an mp4 file: H.264 pictures and AAC mono sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as box:
        video = box.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = FRAME_WIDTH, FRAME_HEIGHT, "yuv420p"
        video.options = {"crf": QUALITY, "preset": "slow", "threads": "1"}
        audio = box.add_stream("aac", rate=SOUND_HZ, layout="mono")
        audio.bit_rate = SOUND_BITS_PER_S
        for i, picture in enumerate(pictures):
            image = av.VideoFrame.from_ndarray(picture, format="rgb24")
            image.pts, image.time_base = i, 1 / FRAME_RATE
            box.mux(video.encode(image))
        box.mux(video.encode(None))
        samples = np.round(sound.wave * 32767).astype(np.int16)[None]
        whole = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = SOUND_HZ, 0, Fraction(1, SOUND_HZ)
        box.mux(audio.encode(whole))
        box.mux(audio.encode(None))
    return buffer.getvalue()


def truth(line: script.Line, sound: Sound, curves: dict[int, script.Track]) -> dict[str, Any]:
    """Return what was drawn and spoken, ready for one line of JSON."""
    return {
        "id": line.id,
        "emotion": line.emotion,
        "label": line.label,
        "label_noise": line.label != line.emotion,
        "face": line.shown,
        "text": " ".join(line.sentences),
        "pitch_level": line.levels.pitch,
        "rate_level": line.levels.rate,
        "loudness_level": line.levels.loudness,
        "f0_hz": None if math.isnan(sound.f0_hz) else round(sound.f0_hz, 1),
        "wpm": round(sound.wpm, 1),
        "pause": line.pause_s > 0,
        "rate_hz": script.RATE_HZ,
        "aus": {f"AU{k:02d}": [round(float(v), 2) for v in curve] for k, curve in curves.items()},
    }


def make(line: script.Line, out: Path) -> dict[str, Any]:
    """Write one clip under `out` and return its truth."""
    cv2.setNumThreads(1)  # clips are made side by side instead
    sound = speak(line)
    curves = script.actions(line, sound.loudness())
    write_bytes_atomic(out / video_name(line), encode(frames(line, curves), sound))
    return truth(line, sound, curves)


def video_name(line: script.Line) -> str:
    """Return the clip's file name relative to the manifest."""
    return f"clips/{line.id}.mp4"


def split_of(who: str, people: Sequence[str]) -> str:
    """Return the split of a person; the twelve have none, of more 30 % are tested, 15 % held out.

    >>> sum(split_of(who, [str(i) for i in range(40)]) == "test" for who in map(str, range(40)))
    12
    """
    if len(people) <= script.PEOPLE:
        return ""
    tested, held = (round(share * len(people)) for share in (0.3, 0.15))
    beyond = len(people) - people.index(who)
    return "test" if beyond <= tested else "validation" if beyond <= tested + held else "train"


def manifest(lines: Sequence[script.Line]) -> str:
    """Return the corpus' CSV manifest; the transcript stays empty, since it is to be heard."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    people = list(dict.fromkeys(line.subject.id for line in lines))
    for line in lines:
        who = line.subject.id
        table.writerow(
            {
                "id": line.id,
                "video": video_name(line),
                "label": line.label,
                "subject": who,
                "group": who,
                "split": split_of(who, people),
            }
        )
    return text.getvalue()


def build(out: Path, jobs: int = 2, people: int = script.PEOPLE) -> None:
    """Write clips, manifest and truth under `out`; what was stopped goes on.

    Raises:
        TextualizeError: there is no espeak-ng.
    """
    lines = script.lines(people=people)
    (out / "clips").mkdir(parents=True, exist_ok=True)
    journal = out / "unfinished.jsonl"  # the truth of clips already written
    made = _written(journal)
    left = [line for line in lines if line.id not in made]
    with ProcessPoolExecutor(jobs) as pool, journal.open("a") as log, progress_bar("draw") as step:
        for line, record in zip(left, pool.map(partial(make, out=out), left), strict=True):
            made[line.id] = record
            log.write(json.dumps(record, separators=(",", ":")) + "\n")
            log.flush()
            step(len(made), len(lines), line.id)
    told = [json.dumps(made[line.id], separators=(",", ":")) for line in lines]
    packed = gzip.compress("\n".join([*told, ""]).encode(), mtime=0)
    write_bytes_atomic(out / "truth.jsonl.gz", packed)
    write_text_atomic(out / "clips.csv", manifest(lines))
    journal.unlink()


def _written(journal: Path) -> dict[str, dict[str, Any]]:
    """Return the clips of a journal, which keeps its whole lines: a kill may have left half a one.

    An empty journal is begun where there is none.
    """
    text = journal.read_text("utf-8") if journal.is_file() else ""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    write_text_atomic(journal, "".join(whole))
    return {record["id"]: record for record in map(json.loads, whole)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of `python -m textualize.demo.build`: 0, or 2 for a user's error."""
    parser = argparse.ArgumentParser(description="draw and speak the demo corpus")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--people", type=int, default=script.PEOPLE, help="drawn people, 14 clips each (default 12)"
    )
    given = parser.parse_args(arguments)
    try:
        if given.jobs < 1:
            raise TextualizeError(f"--jobs is {given.jobs}, expected 1 or more")
        if given.people < script.PEOPLE:
            raise TextualizeError(f"--people is {given.people}, expected {script.PEOPLE} or more")
        build(given.out, given.jobs, given.people)
    except TextualizeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
