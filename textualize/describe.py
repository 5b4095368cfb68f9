"""A record in words: what was seen and heard, one short sentence each.

All selection and wording is here and in `wording`, so that templates only order and frame. Three
rules: every modality says something, even if it is that nothing was measured; a face at rest, a
lost face and a sensor that was not run are different sentences; no cue names an emotion.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from textualize.errors import unknown
from textualize.types import MODALITIES, Cue, Modality, Record, State, Utterance
from textualize.wording.face import NO_FACE, face_cues
from textualize.wording.prosody import NO_VOICE, prosody_cues
from textualize.wording.scales import REGISTERS, Register

UNSURE = 0.5  # recogniser confidence below which words are marked
MAX_TRANSCRIPT = 2000  # characters

_MISSING: dict[tuple[Modality, State], str] = {
    ("face", "not_run"): "face was not measured",
    ("face", "absent"): NO_FACE,
    ("face", "failed"): "face could not be measured, the sensor failed",
    ("speech", "not_run"): "speech was not transcribed",
    ("speech", "absent"): "no speech heard",
    ("speech", "failed"): "speech could not be transcribed, the recogniser failed",
    ("prosody", "not_run"): "voice was not measured",
    ("prosody", "absent"): NO_VOICE,
    ("prosody", "failed"): "voice could not be measured, the sensor failed",
}


def describe(
    record: Record,
    modalities: Sequence[Modality] = MODALITIES,
    register: Register = "terse",
) -> tuple[Cue, ...]:
    """Return the record's cues, at least one per modality, in the order face, speech, prosody.

    `register` "terse" gives entries of a list ("brow lowerer (AU4) strong, at the end"),
    "sentences" gives clauses ("the brows are lowered strongly, at the end"), "graded" counts rungs
    from the person's usual ("AU4 more AU4 much, at the end"; terse where that is not known). Cues
    never hold the clip's id, file or label, nor a sensor's free-text reason. Raises TextualizeError
    for an unknown register and for action units in no known unit.
    """
    if register not in REGISTERS:
        raise unknown("register", register, REGISTERS)
    cues: list[Cue] = []
    for modality in MODALITIES:
        if modality in modalities and record.cues is not None:
            cues += [cue for cue in record.cues if cue.modality == modality]
        elif modality in modalities:
            cues += _of_modality(record, modality, register)
    return tuple(cues)


def not_measured(modality: Modality) -> Cue:
    """Return the cue of a modality that nothing looked at."""
    return Cue(modality, "not_run", _MISSING[modality, "not_run"], None, "")


def _of_modality(record: Record, modality: Modality, register: Register) -> list[Cue]:
    missing = _missing(record, modality)
    if modality == "prosody":
        return _voice(record, missing, register)
    if missing is not None:
        return [missing]
    return face_cues(record, register) if modality == "face" else _speech(record)


def caption(cues: Iterable[Cue], register: Register = "terse") -> str:
    """Return cues as one line: what is unremarkable goes unsaid, "than usual" is said once.

    The last cue that compares keeps the words; the lone cue of a face at rest is kept. In the
    register "sentences" the line is a sentence.
    """
    every = list(cues)
    kept = [c for c in every if c.state != "neutral"] or every[: len(every) == 1]
    usual = " than usual"
    compared = [i for i, c in enumerate(kept) if usual in c.text and c.modality != "speech"]
    texts = [c.text for c in kept] or ["nothing stands out"]
    for i in compared[:-1]:
        texts[i] = texts[i].replace(usual, "")
    if register != "sentences":
        return "; ".join(texts)
    joined = (", " if {(c.modality, c.state) for c in kept} <= _ONE_BREATH else "; ").join(texts)
    return f"{joined[:1].upper()}{joined[1:]}."


_ONE_BREATH = {("prosody", "observed")}  # "speaks fast, pitch high"; a face's clauses are longer


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


def _voice(record: Record, missing: Cue | None, register: Register) -> list[Cue]:
    """Return what was measured in the voice and what a model of affect says of it.

    A model's word stands beside a voice that could not be measured, not beside "not measured".
    """
    affect = "affect" in record.tracks
    status = record.status.get("affect")
    cues = [missing] if missing and not (affect and missing.state == "not_run") else []
    if affect or not missing:
        cues += prosody_cues(record, register)
    if status is not None and status.state == "failed":
        cues.append(Cue("prosody", "failed", _NO_AFFECT, None, status.source))
    return cues


_NO_AFFECT = "arousal and valence could not be measured, the sensor failed"


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
    unsure = unsure or bool(utterance.doubt)
    state: State = "uncertain" if unsure else "observed"
    return Cue("speech", state, text, utterance.span, utterance.source)
