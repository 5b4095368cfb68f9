"""How long extraction took: a line a run in the corpus' `timings.jsonl`, told beside scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from textualize.files import add_line, read_lines

TIMINGS = "timings.jsonl"


def remember_time(corpus: Path, clips: int, seconds: float, sensors: Sequence[str]) -> None:
    """Add a run that read so many clips anew in so many seconds by the clock; none is no line.

    Raises:
        StorageError: the file cannot be written.
    """
    if clips:
        line = {"clips": clips, "seconds": round(seconds, 2), "sensors": list(sensors)}
        add_line(corpus / TIMINGS, json.dumps(line))


def time_told(corpus: Path) -> str:
    """Return a line on the time of extraction over all runs; empty where nothing was measured.

    A line that is none, as of a run that was killed while it wrote, is passed over.
    """
    clips, seconds, sensors = 0, 0.0, dict[str, None]()
    for line in read_lines(corpus / TIMINGS) if (corpus / TIMINGS).is_file() else ():
        try:
            one = json.loads(line)
            count, took, names = int(one["clips"]), float(one["seconds"]), list(one["sensors"])
        except (ValueError, TypeError, LookupError):
            continue
        clips, seconds = clips + count, seconds + took
        sensors |= dict.fromkeys(names)
    if not clips:
        return ""
    return (
        f"extraction: {seconds / clips:.2f} s a clip by the clock ({clips} clips read in "
        f"{seconds:.0f} s by {', '.join(sensors)})"
    )
