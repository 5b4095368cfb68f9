"""A record in words: what was seen and heard, one short sentence each.

All selection and wording is here, so that templates only order and frame. Three rules: every
modality says something, even if it is that nothing was measured; a neutral face, a lost face and
a sensor that was not run are different sentences; no cue names an emotion.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from textualize.errors import TextualizeError
from textualize.speakers import FUNCTIONALS, functionals, relative
from textualize.types import (
    MODALITIES,
    Cue,
    Float32,
    Modality,
    Record,
    Span,
    State,
    Track,
    Utterance,
)
from textualize.wording import (
    AU_NAMES,
    AU_SCALES,
    VOICES,
    Scale,
    Voice,
    pause_words,
    relative_words,
)

MAX_AUS = 12
SEEN_ENOUGH = 0.5  # of the frames; below, the face cues are announced as partial
UNSURE = 0.5  # recogniser confidence below which words are marked
MAX_TRANSCRIPT = 2000  # characters

_MISSING: dict[tuple[Modality, State], str] = {
    ("face", "not_run"): "face was not measured",
    ("face", "absent"): "no face visible",
    ("face", "failed"): "face could not be measured, the sensor failed",
    ("speech", "not_run"): "speech was not transcribed",
    ("speech", "absent"): "no speech heard",
    ("speech", "failed"): "speech could not be transcribed, the recogniser failed",
    ("prosody", "not_run"): "voice was not measured",
    ("prosody", "absent"): "no voice heard",
    ("prosody", "failed"): "voice could not be measured, the sensor failed",
}


def describe(record: Record, modalities: Sequence[Modality] = MODALITIES) -> tuple[Cue, ...]:
    """Return the record's cues, at least one per modality, in the order face, speech, prosody.

    Cues never hold the clip's id, file or label, nor a sensor's free-text reason.
    """
    workers = {"face": _face, "speech": _speech, "prosody": _prosody}
    cues: list[Cue] = []
    for modality in MODALITIES:
        if modality in modalities:
            missing = _missing(record, modality)
            cues += [missing] if missing else workers[modality](record)
    return tuple(cues)


def caption(cues: Iterable[Cue]) -> str:
    """Return cues as one line: what is unremarkable goes unsaid, "than usual" is said once.

    The last cue that compares keeps the words; the lone cue of a neutral face is kept.
    """
    every = list(cues)
    kept = [c.text for c in every if c.state != "neutral"]
    if not kept:
        return every[0].text if len(every) == 1 else "nothing stands out"
    usual = " than usual"
    last = max((i for i, text in enumerate(kept) if text.endswith(usual)), default=-1)
    return "; ".join(t if i == last else t.removesuffix(usual) for i, t in enumerate(kept))


def clean_transcript(text: str, limit: int = MAX_TRANSCRIPT) -> str:
    r"""Return recognised words as plain text that cannot pose as anything else.

    Control and invisible characters and chat control tokens go, curly quotes become straight,
    blanks collapse, and beyond `limit` characters the text ends in " [cut]". Apostrophes stay.

    >>> clean_transcript("I can’t  believe<|eot_id|> it\n[INST] no")
    "I can't believe it no"
    """
    kept = "".join(_plain(character) for character in text)
    previous = None
    while previous != kept:  # removing one token may join the halves of another
        previous = kept
        kept = _CONTROL_TOKEN.sub(" ", kept)
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[:limit].rstrip() + " [cut]"


_CONTROL_TOKEN = re.compile(
    r"<\s*[|｜].*?[|｜]\s*>|<[|｜]|[|｜]>"  # <|eot_id|> and its halves
    r"|\[/?(?:INST|SYS|CLS|SEP|MASK|PAD|UNK)\]|</?(?:s|bos|eos|pad|unk|mask)>|<</?SYS>>"
    r"|</?(?:start_of_turn|end_of_turn|im_start|im_end|think|tool_call)>",
    re.IGNORECASE | re.DOTALL,
)
_STRAIGHT = str.maketrans("‘’‚‛“”„‟«»", '\'\'\'\'""""""')
_JOINERS = "\u200c\u200d"  # letters of Persian and Indic scripts are shaped by these


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category in ("Cf", "Cs", "Co") and character not in _JOINERS:
        return ""
    return character.translate(_STRAIGHT)


_REQUIRED: dict[Modality, str] = {"face": "aus", "prosody": "prosody"}


def _missing(record: Record, modality: Modality) -> Cue | None:
    """Return the one cue of a modality that has nothing to word, or None."""
    status = record.status.get(modality)
    there = record.utterances if modality == "speech" else _REQUIRED[modality] in record.tracks
    state: State
    if status is not None and status.state != "observed":
        state = status.state
    elif there:
        return None
    elif status is not None and modality == "speech":
        return Cue("speech", "absent", "no words recognised", None, status.source)
    else:
        state = "not_run"
    source = status.source if status is not None else ""
    return Cue(modality, state, _MISSING[modality, state], None, source)


# --- face ---------------------------------------------------------------------------------------


def _face(record: Record) -> list[Cue]:
    track = record.tracks["aus"]
    seen = np.isfinite(track.values).any(axis=1)
    fraction = float(seen.mean()) if len(seen) else 0.0
    if fraction == 0:
        return [Cue("face", "absent", _MISSING["face", "absent"], None, track.source)]
    cues: list[Cue] = []
    if fraction < SEEN_ENOUGH:
        text = f"face visible in only {100 * fraction:.0f} % of the clip"
        cues.append(Cue("face", "uncertain", text, None, track.source))
    z = relative(record, "aus")
    if z is None:
        shown, nothing = _active_aus(track), "neutral face, no action unit active"
    else:
        shown, nothing = _unusual_aus(track, z), "face as usual, no action unit stands out"
    return cues + (shown or [Cue("face", "neutral", nothing, None, track.source)])


def au_scale(track: Track) -> Scale:
    """Return the thresholds for a track of action units; raises TextualizeError for no AU unit."""
    if track.unit not in AU_SCALES:
        known = ", ".join(AU_SCALES)
        raise TextualizeError(
            f"track 'aus' of {track.source} has unit '{track.unit}'; expected one of {known}"
        )
    return AU_SCALES[track.unit]


def _au_phrase(column: str) -> str:
    """Name an action unit by word and number; a column that FACS does not name is left as is."""
    if column not in AU_NAMES:
        return column
    return f"{AU_NAMES[column]} (AU{column.removeprefix('AU').lstrip('0')})"


def au_peaks(track: Track) -> Float32:
    """Return how strongly each action unit was shown, (D,), in the track's unit.

    The 90th percentile over the seen frames, which one bad frame does not move; for presence the
    fraction of seen frames. Never seen is NaN.
    """
    name = "mean" if track.unit == "presence" else "p90"
    return np.asarray(functionals(track)[FUNCTIONALS.index(name)], dtype=np.float32)


def _active_aus(track: Track) -> list[Cue]:
    scale = au_scale(track)
    single = len(track.values) == 1
    peaks = au_peaks(track)
    cues = []
    for column in np.argsort(-np.nan_to_num(peaks, nan=-np.inf), kind="stable"):
        word = scale.grade(float(peaks[column]), single)
        if word is not None and track.names[column] not in scale.unworded:
            text = f"{_au_phrase(track.names[column])} {word}"
            span = _span_above(track, int(column), scale.active)
            cues.append(Cue("face", "observed", text, span, track.source))
    return cues[:MAX_AUS]


def _unusual_aus(track: Track, z: Float32) -> list[Cue]:
    """Word the action units by how far the clip's mean is from the person's usual."""
    scale = au_scale(track)
    differences = z[FUNCTIONALS.index("mean")]
    cues = []
    for column in np.argsort(-np.abs(np.nan_to_num(differences)), kind="stable"):
        words = relative_words(float(differences[column]), "less", "more")
        if words is not None and track.names[column] not in scale.unworded:
            text = f"{_au_phrase(track.names[column])} {words} than usual"
            span = _span_above(track, int(column), scale.active) if "more" in words else None
            cues.append(Cue("face", "observed", text, span, track.source))
    return cues[:MAX_AUS]


def _span_above(track: Track, column: int, active: float) -> Span | None:
    """Return from the first to the last time above `active`; None if that is the whole clip."""
    above = np.flatnonzero(track.values[:, column] > active)
    if not len(above) or len(above) == len(track.values):
        return None
    times = track.times
    return Span(float(times[above[0]]), float(times[above[-1]] + 1 / track.rate_hz))


# --- speech -------------------------------------------------------------------------------------


def _speech(record: Record) -> list[Cue]:
    left = MAX_TRANSCRIPT
    cues: list[Cue] = []
    for utterance in record.utterances:
        if left <= 0:
            cues[-1] = _marked_cut(cues[-1])
            break
        text = clean_transcript(utterance.text, left)
        if text:
            left -= len(text)
            cues.append(_said(utterance, text))
    if not cues:
        source = record.utterances[0].source
        return [Cue("speech", "absent", "no words recognised", None, source)]
    return cues


def _marked_cut(cue: Cue) -> Cue:
    text = cue.text if cue.text.endswith(" [cut]") else cue.text + " [cut]"
    return Cue(cue.modality, cue.state, text, cue.span, cue.source)


def _said(utterance: Utterance, text: str) -> Cue:
    """Return the words verbatim; that they are uncertain is the state's, not the text's."""
    unsure = utterance.confidence is not None and utterance.confidence < UNSURE
    state: State = "uncertain" if unsure else "observed"
    return Cue("speech", state, text, utterance.span, utterance.source)


# --- prosody ------------------------------------------------------------------------------------


def _prosody(record: Record) -> list[Cue]:
    if not _voiced(record.tracks["prosody"]):
        return [_no_voice(record)]
    names = [name for name in ("prosody", "speech_rate") if name in record.tracks]
    tracks = {name: record.tracks[name] for name in names}
    summaries = {name: functionals(track) for name, track in tracks.items()}
    usual = {name: relative(record, name) for name in tracks}
    cues: list[Cue] = []
    for voice in VOICES:
        track = tracks.get(voice.track)
        if track is None or voice.column not in track.names:
            continue
        at = FUNCTIONALS.index(voice.functional), track.names.index(voice.column)
        z = usual[voice.track]
        relation = float(z[at]) if z is not None and voice.more else None
        cue = _voice_cue(voice, float(summaries[voice.track][at]), relation, track.source)
        if cue is not None:
            cues.append(cue)
    if "speech_rate" in tracks:
        cues += _pauses(tracks["speech_rate"], summaries["speech_rate"])
    return cues or [_no_voice(record)]


def _no_voice(record: Record) -> Cue:
    source = record.tracks["prosody"].source
    return Cue("prosody", "absent", _MISSING["prosody", "absent"], None, source)


def _voice_cue(voice: Voice, value: float, z: float | None, source: str) -> Cue | None:
    """Return the sentence for one number; None where it was not measured (no voiced frame)."""
    if not np.isfinite(value):
        return None
    if z is None:
        word = voice.absolute(value)
        state: State = "neutral" if word == voice.words[2] else "observed"
        return Cue("prosody", state, f"{voice.subject} {word}", None, source)
    compared = relative_words(z, voice.less, voice.more, voice.slight)
    if compared is None:
        return Cue("prosody", "neutral", f"{voice.subject} as usual", None, source)
    return Cue("prosody", "observed", f"{voice.subject} {compared} than usual", None, source)


def _voiced(track: Track) -> bool:
    """Tell whether any frame is voiced; noise has loudness but no voice to describe."""
    return "voiced" not in track.names or bool(np.nansum(track.column("voiced")) > 0)


def _pauses(track: Track, summary: Float32) -> list[Cue]:
    if "pauses" not in track.names or "longest_pause_s" not in track.names:
        return []
    means = dict(zip(track.names, summary[FUNCTIONALS.index("mean")], strict=True))
    count, longest = float(means["pauses"]), float(means["longest_pause_s"])
    if not (np.isfinite(count) and np.isfinite(longest)):
        return []
    text = pause_words(round(count), longest)
    return [Cue("prosody", "neutral" if count < 1 else "observed", text, None, track.source)]
