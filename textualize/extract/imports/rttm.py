"""Who speaks when, from RTTM (NIST's Rich Transcription Time Marked; pyannote, NeMo, WhisperX).

    SPEAKER a01 1 0.48 2.10 <NA> <NA> anna <NA> <NA>
            file channel begin duration          speaker

A clip names its file as `sidecars["speakers"]`, or "all.rttm#a01" where one file is about several
recordings. Beside a transcript the turns say who speaks (`extract/speech/recogniser.py`); alone
they are utterances without words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.extract.imports.table import located, names_of, text_of
from textualize.extract.sensor import Imported, Options, Reader, Reading, Reads
from textualize.extract.speech.transcripts import restrict
from textualize.extract.video import Media
from textualize.types import Modality, Span, Status, Utterance

KEY = "speakers"
# other kinds of line that the format has, and that say nothing of who speaks when
_OTHERS = {
    "SPKR-INFO", "NON-SPEECH", "NON-LEX", "LEXEME", "SEGMENT", "NOSCORE", "NO_RT_METADATA",
    "A/P", "IP", "CB", "EDIT", "FILLER", "SU",
}  # fmt: skip
_WHAT = "an RTTM file (SPEAKER file 1 begin duration …)"


class SpeakerTurns:
    """Turns of speakers without words, where the clip brings no transcript."""

    name = "rttm"
    version = "1"
    modality: Modality = "speech"
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self) -> None:
        """Build the sensor; it has nothing to load."""
        self.options: Options = {}

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives one empty utterance a turn; absent where no file is named.

        The reader raises TextualizeError for a file that is missing or damaged.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(KEY)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no RTTM file"))
        turns = read_turns(given, media.clip.id)
        inside = restrict(turns, media.span) if media.span else tuple(turns)
        if not inside:
            return Reading(Status("absent", self.name, "nobody speaks in this span"))
        count = len({t.speaker for t in inside})
        return Reading(
            Status("observed", self.name, f"{len(inside)} turns of {count} speakers, no words"),
            utterances=tuple(replace(t, source=self.name) for t in inside),
        )


def read_turns(given: str, clip_id: str) -> list[Utterance]:
    """Return the turns of a recording, in time order, as utterances without text.

    `given` is a file or "file#recording"; where the file is about several, the one that is called
    like the clip. Raises TextualizeError with the line of what cannot be read.
    """
    path, key = located(given)
    recordings = turns_by_recording(path)
    wanted = key if key is not None else clip_id
    if key is None and len(recordings) == 1:
        return next(iter(recordings.values()))
    for name, turns in recordings.items():
        if wanted in names_of(name):
            return turns
    some = ", ".join(list(recordings)[:5])
    raise TextualizeError(
        f"{path} has no turn of recording '{wanted}'; it has {len(recordings)}: {some}"
    )


def turns_by_recording(path: Path) -> dict[str, list[Utterance]]:
    """Return all turns of an RTTM file by recording; raises TextualizeError."""
    found: dict[str, list[Utterance]] = {}
    for number, line in enumerate(text_of(path, _WHAT).splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith(";") or parts[0] in _OTHERS:
            continue
        if parts[0] != "SPEAKER" or len(parts) < 8:
            raise TextualizeError(
                f"{path}:{number}: expected 'SPEAKER file 1 begin duration <NA> <NA> speaker …'; "
                f"given '{line[:60]}'"
            )
        try:
            begin, duration = float(parts[3]), float(parts[4])
        except ValueError:
            begin, duration = 0.0, -1.0
        if not (duration >= 0 and begin >= 0):
            raise TextualizeError(
                f"{path}:{number}: begin and duration should be seconds; given "
                f"'{parts[3]}' and '{parts[4]}'"
            )
        speaker = None if parts[7] == "<NA>" else parts[7]
        turn = Utterance(Span(begin, begin + duration), "", speaker=speaker)
        found.setdefault(parts[1], []).append(turn)
    if not found:
        raise TextualizeError(f"{path} has no SPEAKER line; give {_WHAT}")
    return {name: sorted(turns, key=lambda t: t.span) for name, turns in found.items()}


def with_speakers(
    utterances: Sequence[Utterance], turns: Sequence[Utterance]
) -> tuple[tuple[Utterance, ...], int]:
    """Return the utterances, each with the speaker whose turns overlap it most.

    Besides, how many have no speaker. A speaker that the transcript names itself is kept.

    >>> said = [Utterance(Span(0.0, 2.0), "hello")]
    >>> short = Utterance(Span(0.0, 0.5), "", speaker="a")
    >>> with_speakers(said, [short, Utterance(Span(0.5, 3.0), "", speaker="b")])[0][0].speaker
    'b'
    """
    given = tuple(
        u if u.speaker else replace(u, speaker=_speaker(u.span, turns)) for u in utterances
    )
    return given, sum(u.speaker is None for u in given)


def _speaker(span: Span, turns: Sequence[Utterance]) -> str | None:
    shared: dict[str, float] = {}
    for turn in turns:
        if turn.speaker and span & turn.span:
            shared[turn.speaker] = shared.get(turn.speaker, 0.0) + (span & turn.span).duration
    return max(shared, key=lambda s: shared[s]) if shared else None
