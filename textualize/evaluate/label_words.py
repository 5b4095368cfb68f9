"""Words that give a label away, and where a prompt has them from.

A word is told apart by its source: a cue or the template is ours and may not name an emotion; what
was said aloud is the speaker's, and is counted apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from textualize.labels import LabelSet, to_basic
from textualize.types import Prompt, Record

SHORTEST = 3  # a label such as "a" or "no" is no word to look for
TELLS_NOTHING = frozenset({"other", "none", "not", "the", "and", "label", "class"})
GUESSES = ("emotions", "prosody_emotions")  # tracks of sensors that answer with emotion names

# Nouns, adjectives, adverbs and near synonyms of each basic emotion.
_FORMS: Mapping[str, str] = {
    "anger": "anger angry angrily angered mad furious furiously fury rage enraged outraged",
    "disgust": "disgust disgusted disgustedly disgusting revulsion revolted repulsed",
    "fear": "fear fearful fearfully afraid scared frightened terrified terror",
    "happiness": "happiness happy happily joy joyful joyfully joyous delighted cheerful",
    "sadness": "sadness sad sadly unhappy sorrow sorrowful sorrowfully",
    "surprise": "surprise surprised surprisedly astonished astonishment amazed startled",
    "neutral": "neutral neutrally",
}
_ADVERBS = {form: basic for basic, forms in _FORMS.items() for form in forms.split()}


@dataclass(frozen=True, slots=True)
class Named:
    """The label words of one prompt by source: our cues, a sensor's guess, speech, the template."""

    cue: frozenset[str] = frozenset()
    guess: frozenset[str] = frozenset()
    said: frozenset[str] = frozenset()
    template: frozenset[str] = frozenset()


def forms_of(label: str) -> frozenset[str]:
    """Return the words that name a label: its own, and the synonyms of the basics it is made of.

    >>> "furious" in forms_of("sadly angry"), sorted(forms_of("other"))
    (True, [])
    """
    words = {w for w in re.findall(r"[^\W\d_]+", label.casefold()) if len(w) >= SHORTEST}
    basics = {to_basic(w) or _ADVERBS.get(w) for w in words} - {None}
    forms = {f for basic in basics for f in _FORMS[str(basic)].split()}
    return frozenset((words | forms) - TELLS_NOTHING)


@lru_cache(maxsize=8)
def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    ordered = sorted(words, key=lambda w: (-len(w), w))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)")


def found_in(text: str, words: frozenset[str]) -> frozenset[str]:
    """Return which of the words stand in a text, whole and in any case.

    >>> sorted(found_in("Gladly. SAD, not sadder", frozenset({"sad", "glad"})))
    ['sad']
    """
    return frozenset(_pattern(words).findall(text.casefold())) if words else frozenset()


def words_of(labels: LabelSet) -> frozenset[str]:
    """Return every word that names one of the labels."""
    return frozenset(w for label in labels.labels for w in forms_of(label))


def named_in(prompt: Prompt, record: Record, words: frozenset[str]) -> Named:
    """Return the label words of a prompt, by where they come from.

    A word that both a cue and the speaker say counts for both; the template is what is left.
    """
    every = found_in(prompt.text, words)
    if not every:
        return Named()
    cue = every & _among((c.text for c in prompt.cues if c.modality != "speech"), words)
    said = every & _among(_said(prompt, record), words)
    guess = every & _among(_guessed(record), words)
    return Named(cue, guess - cue, said, every - cue - said - guess)


def _among(texts: Iterable[str], words: frozenset[str]) -> frozenset[str]:
    return found_in("\n".join(texts), words)


def _said(prompt: Prompt, record: Record) -> Iterable[str]:
    """Everything a prompt may repeat of what was said, and who said it."""
    yield from (c.text for c in prompt.cues if c.modality == "speech")
    yield record.clip.transcript or ""
    around = (*record.clip.context, *record.around.spoken, *record.around.following)
    for utterance in (*record.utterances, *around):
        yield utterance.text
        yield utterance.speaker or ""


def _guessed(record: Record) -> Iterable[str]:
    return (n for track in GUESSES if track in record.tracks for n in record.tracks[track].names)
