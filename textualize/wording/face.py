"""What a face did, in words: each action unit or compound with its strength, side and time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from textualize.errors import TextualizeError
from textualize.speakers import FUNCTIONALS, relative
from textualize.types import Cue, Float32, Record, Span, Track
from textualize.wording import ladder
from textualize.wording.facs import (
    BLENDSHAPES,
    COMPOUNDS,
    Side,
    clause,
    number_of,
    phrase,
    read_column,
)
from textualize.wording.scales import AU_SCALES, Register, Scale, listed, relative_words
from textualize.wording.timing import Timing, timing

MAX_AUS = 12
SEEN_ENOUGH = 0.5  # of the frames; below, the face cues are announced as partial
# The weaker side over the stronger one. Ours: a blendshape model seldom sees a side quite still.
LEANING, ONE_SIDED = 0.5, 0.25
SPEAKS = 0.5  # mean confidence that the person described speaks; ours
TOGETHER_HZ = 1.0  # a row that is the mean of a longer time cannot tell what was shown together

NO_FACE = "no face visible"
_AT_REST: Mapping[tuple[Register, bool], str] = {
    ("terse", False): "face at rest, no action unit active",
    ("terse", True): "face as usual, no action unit stands out",
    ("sentences", False): "the face is at rest",
    ("sentences", True): "the face is as usual, nothing stands out",
    ("graded", False): "face at rest, no action unit active",
    ("graded", True): "face as usual, no action unit stands out",
}
_CHANGING = {"growing": "building up"}
_ADVERBS = {"slight": "slightly", "clear": "clearly", "strong": "strongly"}


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """A curve of one action unit or compound, (T,), on one side of the face or on both.

    `leans` is the stronger side of what both sides show; `columns` are the track's columns.
    """

    codes: tuple[str, ...]
    side: Side
    leans: Side
    values: Float32
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An action that is worded: `level` is 1 to 3, negative for less than usual."""

    action: Action
    size: float
    level: int
    words: str
    timing: Timing | None


def face_cues(record: Record, register: Register = "terse") -> list[Cue]:
    """Return the cues of a record that has a track "aus", strongest action first.

    Raises TextualizeError for a track whose unit is none of action units.
    """
    track = record.tracks["aus"]
    seen = np.isfinite(track.values).any(axis=1)
    fraction = float(seen.mean()) if len(seen) else 0.0
    if fraction == 0:
        return [Cue("face", "absent", NO_FACE, None, track.source)]
    cues: list[Cue] = []
    if fraction < SEEN_ENOUGH:
        text = f"face visible in only {100 * fraction:.0f} % of the clip"
        cues.append(Cue("face", "uncertain", text, None, track.source))
    people = _people(record)
    if people is not None:
        cues.append(people)
    z = relative(record, "aus")
    actions = _actions(track, record.tracks.get("blendshapes"))
    step = au_scale(track).step
    if register == "graded" and z is not None:
        shown = _rungs(actions, track, z)
        cues += _graded_list(shown, step, track.source)
    else:
        shown = _shown(actions, track, z)
        worded = _sentences if register == "sentences" else _terse
        cues += worded(shown[:MAX_AUS], step, track.source)
    if not shown:
        text = _AT_REST[register, z is not None]
        cues.append(Cue("face", "neutral", text, None, track.source))
    return cues


def _people(record: Record) -> Cue | None:
    """Return the cue that says which of several people is described; None for one."""
    status, track = record.status.get("face"), record.tracks.get("face")
    told = _SEEN.search(status.reason) if status is not None else None
    count = int(told.group(1)) if told else 1
    if count < 2 or status is None:
        return None
    sure = track.column("speaking") if track and "speaking" in track.names else np.array([])
    sure = sure[np.isfinite(sure)]
    speaks = bool(len(sure)) and float(sure.mean()) >= SPEAKS
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    which = "the one speaking is" if speaks else "one of them is"
    text = f"{number} people visible, {which} described"
    return Cue("face", "observed" if speaks else "uncertain", text, None, status.source)


_SEEN = re.compile(r"\b(\d{1,4}) people seen\b")  # only the count is read of a sensor's reason
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def au_scale(track: Track) -> Scale:
    """Return the thresholds for a track of action units; raises TextualizeError for no AU unit."""
    if track.unit not in AU_SCALES:
        known = ", ".join(AU_SCALES)
        raise TextualizeError(
            f"track 'aus' of {track.source} has unit '{track.unit}'; expected one of {known}"
        )
    return AU_SCALES[track.unit]


# --- which actions there are --------------------------------------------------------------------


def _actions(track: Track, blendshapes: Track | None) -> list[Action]:
    """Return one action per action unit of the track, left and right columns brought together."""
    scale = au_scale(track)
    columns: dict[str, dict[Side, int]] = {}
    for index, name in enumerate(track.names):
        code, side = read_column(name)
        columns.setdefault(code, {})[side] = index
    return [
        _folded(code, sides, track, scale, blendshapes)
        for code, sides in columns.items()
        if code not in scale.unworded
    ]


def _folded(
    code: str,
    sides: Mapping[Side, int],
    track: Track,
    scale: Scale,
    blendshapes: Track | None,
) -> Action:
    """Return the action of one code; a side alone where the other shows (nearly) nothing."""
    side, leans = _sides(code, sides, track, scale, blendshapes)
    if side and side in sides:
        used: tuple[int, ...] = (sides[side],)
    else:
        used = (sides[""],) if "" in sides else tuple(sides.values())
    values = track.values[:, used[0]]
    for index in used[1:]:
        values = np.fmax(values, track.values[:, index])
    return Action((code,), side, leans, values, used)


def _sides(
    code: str,
    sides: Mapping[Side, int],
    track: Track,
    scale: Scale,
    blendshapes: Track | None,
) -> tuple[Side, Side]:
    """Return the side that acts alone, and the stronger side of both; empty where neither is."""
    if set(sides) in ({"left"}, {"right"}):
        return next(iter(sides)), ""
    if "left" in sides:
        left, right = (_strength(track.values[:, sides[s]], track) for s in ("left", "right"))
        return _lean(left, right, scale.active)
    name = BLENDSHAPES.get(code, "")
    if blendshapes is None or name not in blendshapes.names:
        return "", ""
    left, right = (
        _strength(blendshapes.column(n), blendshapes)
        for n in (name, name.removesuffix("Left") + "Right")
    )
    return _lean(left, right, ONE_SIDED * max(left, right))


def _lean(left: float, right: float, still: float) -> tuple[Side, Side]:
    """Return (side alone, stronger side); a side at most `still` does not act."""
    weak, strong = sorted((left, right))
    if not weak <= LEANING * strong:
        return "", ""
    side: Side = "left" if left > right else "right"
    return (side, "") if weak <= still < strong else ("", side)


# --- how strong, and when -----------------------------------------------------------------------


def _strength(values: Float32, track: Track, when: Timing | None = None) -> float:
    """Return how strongly an action was shown, in the track's unit.

    The 90th percentile over the seen rows, which one bad row does not move; over the rows in
    which it was active where its timing is known, so that what is brief is not also called weak.
    For presence the fraction of seen rows. NaN if never seen.
    """
    seen = values[np.isfinite(values)]
    if track.unit == "presence":
        return float(seen.mean()) if len(seen) else float("nan")
    if when is not None:
        seen = seen[seen > au_scale(track).active] if when.episodes else seen[:0]
    return float(np.percentile(seen, 90)) if len(seen) else float("nan")


def _shown(actions: Iterable[Action], track: Track, z: Float32 | None) -> list[Shown]:
    """Return the actions that are worded, strongest first, compounds in place of their parts."""
    graded = {a.codes: s for a in actions if (s := _graded(a, track, z)) is not None}
    together = track.rate_hz >= TOGETHER_HZ
    for codes in COMPOUNDS if together else ():
        parts = [graded[(code,)] for code in codes if (code,) in graded]
        if len(parts) == len(codes) and (whole := _together(codes, parts, track, z)):
            for code in codes:
                del graded[(code,)]
            graded[codes] = whole
    return sorted(graded.values(), key=lambda s: -s.size)


def _graded(action: Action, track: Track, z: Float32 | None) -> Shown | None:
    """Return the action with its words; None where there is nothing to say about it."""
    scale = au_scale(track)
    when = timing(action.values, track.times, track.rate_hz, scale.active)
    if z is not None:
        return _against_usual(action, z, when)
    strength = _strength(action.values, track, when)
    single = len(track.values) == 1
    word = scale.grade(strength, single)
    if word is None:
        return None
    return Shown(action, strength, scale.level(strength, single), word, when)


def _rungs(actions: Iterable[Action], track: Track, z: Float32) -> list[Shown]:
    """Return every action that is not as usual, furthest from it first, each by itself."""
    scale = au_scale(track)
    found = []
    for action in actions:
        difference = _difference(action, z)
        at = ladder.level(difference)
        if at:
            subject = number_of(action.codes[0], action.side)
            when = timing(action.values, track.times, track.rate_hz, scale.active)
            found.append(Shown(action, abs(difference), at, ladder.rungs(subject, at), when))
    return sorted(found, key=lambda s: -s.size)


def _difference(action: Action, z: Float32) -> float:
    """Return how far the clip's mean is from the person's usual, in standard deviations."""
    return float(np.mean(z[FUNCTIONALS.index("mean"), list(action.columns)]))


def _against_usual(action: Action, z: Float32, when: Timing | None) -> Shown | None:
    """Word an action by how far the clip's mean is from the person's usual."""
    difference = _difference(action, z)
    words = relative_words(difference, "less", "more")
    if words is None:
        return None
    level = {"slightly": 1, "much": 3}.get(words.split()[0], 2)
    sign = 1 if difference > 0 else -1
    return Shown(action, abs(difference), sign * level, f"{words} than usual", when)


def _together(
    codes: tuple[str, ...], parts: list[Shown], track: Track, z: Float32 | None
) -> Shown | None:
    """Return the compound of parts shown together and about equally, else None.

    At every moment a compound is as strong as its weakest part. What is shown less than usual
    stays apart: not to be seen together is no event.
    """
    if any(part.level < 0 for part in parts):
        return None
    first, *others = (part.action for part in parts)
    if any((a.side, a.leans) != (first.side, first.leans) for a in others):
        return None
    values = first.values
    for other in others:
        values = np.minimum(values, other.values)
    columns = tuple(c for a in (first, *others) for c in a.columns)
    whole = _graded(replace(first, codes=codes, values=values, columns=columns), track, z)
    if whole is None or any(abs(p.level - whole.level) > 1 for p in parts):
        return None
    return whole


# --- words --------------------------------------------------------------------------------------


def _how(shown: Shown, step: float) -> tuple[str, str]:
    """Return an action's words and when it happened, which is empty for what is less than usual.

    Presence has words of time only; those that say more take their place.
    """
    time = shown.timing.words(step) if shown.timing and shown.level > 0 else ""
    if time and shown.words in AU_SCALES["presence"].words:
        return time, ""
    return shown.words, time


def _span(shown: Shown) -> Span | None:
    return shown.timing.span if shown.timing and shown.level > 0 else None


def _leaning(action: Action) -> str:
    return f"stronger on the {action.leans}" if action.leans else ""


def _terse(shown: Sequence[Shown], step: float, source: str) -> list[Cue]:
    """Return entries of a list: "brow lowerer (AU4) strong, at the end"."""
    cues = []
    for each in shown:
        words, time = _how(each, step)
        name = phrase(each.action.codes, each.action.side)
        text = ", ".join(filter(None, (f"{name} {words}", time, _leaning(each.action))))
        cues.append(Cue("face", "observed", text, _span(each), source))
    return cues


def _graded_list(shown: Sequence[Shown], step: float, source: str) -> list[Cue]:
    """Return entries of rungs: "AU4 more AU4 much, at the end"."""
    cues = []
    for each in shown:
        _, time = _how(each, step)
        text = ", ".join(filter(None, (each.words, time, _leaning(each.action))))
        cues.append(Cue("face", "observed", text, _span(each), source))
    return cues


def _sentences(shown: Sequence[Shown], step: float, source: str) -> list[Cue]:
    """Return clauses; what was shown alike and at the same time shares one."""
    alike: dict[str, list[Shown]] = {}
    for each in shown:
        alike.setdefault(_manner(each, step), []).append(each)
    cues = []
    for manner, group in alike.items():
        clauses = listed([clause(each.action.codes, each.action.side) for each in group])
        spans = {_span(each) for each in group}
        span = spans.pop() if len(spans) == 1 else None
        cues.append(Cue("face", "observed", f"{clauses} {manner}", span, source))
    return cues


def _manner(shown: Shown, step: float) -> str:
    """Return how and when, as it follows a clause: "slightly and briefly at the end"."""
    words, time = _how(shown, step)
    manner = _ADVERBS.get(words, words)
    if time.startswith("briefly") and words in _ADVERBS:
        manner += f" {'and' if words == 'slight' else 'but'} {time}"
    elif time:
        joint = " " if time.startswith(("throughout", "at the", "in the")) else ", "
        manner += joint + _CHANGING.get(time, time)
    return ", ".join(filter(None, (manner, _leaning(shown.action))))
