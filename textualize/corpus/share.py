"""Exports without faces, voices or names: what of a corpus can be published.

Ids become keyed hashes (HMAC-SHA256, RFC 2104), subjects and speakers s01, …, groups g01, …, never
a name the corpus has used. Times count from the clip's start; rows stand in the order of their
hashes. The key lies in a file beside the export: with it the owner finds a clip again, without it
nobody can try ids one by one. `verify_share` reads everything back and looks for what must not be
there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from textualize.corpus.examples import Example
from textualize.describe import clean_transcript
from textualize.errors import TextualizeError
from textualize.files import StorageError, read_json
from textualize.store import Corpus
from textualize.types import Clip, Record, Utterance

MASK = "[name]"
_WORD = re.compile(r"[^\W\d_]+")
# what scripts call speakers who have no name, and what stands before names
_ROLES = frozenset(
    "a all and another any anyone audience both boy boys child couple crowd doctor dr everybody "
    "everyone father female friend friends girl girls group guest guy guys he her him host in kid "
    "lady male man me men mother mr mrs ms narrator no nurse of officer old on one other others "
    "person prof professor she sister brother somebody someone speaker student teacher the they "
    "unknown voice waiter waitress we with woman women you young".split()
)


@dataclass(frozen=True, slots=True)
class Share:
    """What a share-safe export is asked for.

    `key` is the private file (made where there is none); `names` are further names to mask.
    """

    key: Path
    mask_names: bool = False
    names: tuple[str, ...] = ()
    transcript: bool = True


def share_options(
    out: Path,
    share: bool,
    *,
    key: Path | None = None,
    mask: bool = False,
    names: Path | None = None,
    transcript: bool = True,
) -> Share | None:
    """Return what a command line asks for, None without `share`; the key lies beside `out`.

    Raises:
        TextualizeError: an option that needs another one, or an unreadable file of names.
    """
    if not share:
        if key or mask or names or not transcript:
            raise TextualizeError(
                "--key, --mask-names, --names and --no-transcript go with --share: add it"
            )
        return None
    if names and not mask:
        raise TextualizeError("--names goes with --mask-names: add it")
    private = key or out.with_name(f"{out.name}.key.json")
    return Share(private, mask, read_names(names) if names else (), transcript)


def name_words(speakers: Iterable[str]) -> frozenset[str]:
    """Return the words of speakers' names: capitalised, of two letters or more, no roles.

    >>> sorted(name_words(["Joey", "Mr. Heckles", "The Waiter", "actor_03", "Ross and Rachel"]))
    ['Heckles', 'Joey', 'Rachel', 'Ross']
    """
    words = {w for s in speakers for w in _words(s)}
    return frozenset(w for w in words if len(w) > 1 and w[0].isupper() and w.lower() not in _ROLES)


def masked(text: str, names: frozenset[str]) -> str:
    """Return a text with every name, as written in `names` or in capitals, as MASK.

    Best effort: nicknames, misspellings and names a recogniser wrote in lower case stay, and a
    name that is also a word ("Will") is masked wherever it is capitalised.

    >>> masked("Joey's here, JOEY and joey", frozenset({"Joey"}))
    "[name]'s here, [name] and joey"
    """
    if not names:
        return text
    composed = unicodedata.normalize("NFC", text)  # an accent may be a character of its own
    upper = {n.upper() for n in names}
    return _WORD.sub(lambda m: MASK if m[0] in names or m[0] in upper else m[0], composed)


def _words(name: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", name))


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of a file, one a line; raises TextualizeError if it cannot be read."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TextualizeError(f"names should be a text file, one a line; {path}: {error}") from None
    return tuple(name for line in lines if (name := line.strip()))


def read_key(path: Path) -> bytes:
    """Return the key of a private file, which is made, for its owner's eyes only, if missing.

    Raises:
        TextualizeError: the file holds no key, or cannot be written.
    """
    if path.exists():
        salt = read_json(path, "private key").get("salt")
        if not isinstance(salt, str) or not re.fullmatch(r"[0-9a-f]{64}", salt):
            raise TextualizeError(f"{path} holds no key of an export: name another file")
        return bytes.fromhex(salt)
    key = secrets.token_bytes(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(json.dumps({"salt": key.hex()}) + "\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {(error.strerror or '').lower()}") from error
    return key


class Disguise:
    """Who is who in one corpus under one key: the same key gives the same names again."""

    def __init__(self, corpus: Corpus, share: Share) -> None:
        """Read the index for everybody's name."""
        self.share = share
        self._key = read_key(share.key)
        people, groups, ids = set[str](), set[str](), set[str]()
        for entry in corpus.iter_entries():
            people |= _people(entry.clip)
            groups.add(entry.clip.fold_group)
            ids.add(entry.clip.id)
        taken = people | groups | ids
        self._people = self._numbered("s", people, taken)
        self._groups = self._numbered("g", groups, taken)
        given = {w for name in share.names for w in _words(name)}
        self.names = name_words(people) | given if share.mask_names else frozenset()

    def hashed(self, kind: str, name: str) -> str:
        """Return 16 hex digits for a name, the same for the same key."""
        message = f"{kind}\0{name}".encode("utf-8", "backslashreplace")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:16]

    def _numbered(self, letter: str, names: set[str], taken: set[str]) -> dict[str, str]:
        """Return s01, … in an order that says nothing; never what something was called before."""
        while any(re.fullmatch(rf"{letter}\d+", name) for name in taken):
            letter += "x"
        ordered = sorted(names, key=lambda name: self.hashed(letter, name))
        width = max(2, len(str(len(ordered))))
        return {name: f"{letter}{i:0{width}}" for i, name in enumerate(ordered, 1)}

    def person(self, name: str | None) -> str | None:
        """Return how a subject or speaker is called in the export."""
        if name is None:
            return None
        return self._people.get(name) or f"s{self.hashed('speaker', name)[:6]}"

    def record(self, record: Record) -> Record:
        """Return a record before it is put into words: turns before it renamed, names masked."""
        clip = record.clip
        written = clip.transcript
        if written:
            written = masked(clean_transcript(written, len(written)), self.names)
        context = tuple(self._said(u) for u in clip.context)
        utterances = tuple(self._said(u) for u in record.utterances)
        return replace(
            record, clip=replace(clip, transcript=written, context=context), utterances=utterances
        )

    def _said(self, utterance: Utterance) -> Utterance:
        # cleaned first: an invisible character may stand inside a name
        text = masked(clean_transcript(utterance.text, max(1, len(utterance.text))), self.names)
        return replace(utterance, text=text, words=(), speaker=self.person(utterance.speaker))

    def example(self, example: Example) -> Example:
        """Return an example under its other name, with times from the clip's start."""
        zero = example.start or 0.0
        cues = tuple(
            cue
            | {"start": _since(cue["start"], zero), "end": _since(cue["end"], zero)}
            | {"source": re.split(r"[/\\]", cue["source"])[-1]}
            for cue in example.cues
        )
        said = tuple(
            (_moved(a, zero), _moved(b, zero), who, t) for a, b, who, t in example.utterances
        )
        return replace(
            example,
            id=self.hashed("clip", example.id),
            subject=self.person(example.subject),
            group=self._groups[example.group],
            start=None if example.start is None else 0.0,
            end=_since(example.end, zero),
            cues=cues,
            utterances=said,
        )


def _people(clip: Clip) -> set[str]:
    return {p for p in (clip.subject, *(u.speaker for u in clip.context)) if p}


def _since(seconds: float | None, zero: float) -> float | None:
    return None if seconds is None else _moved(seconds, zero)


def _moved(seconds: float, zero: float) -> float:
    return round(seconds - zero, 3)


def by_hash(examples: Iterable[Example], beside: Path) -> Iterator[Example]:
    """Yield examples in the order of their ids: the corpus' own order says which clip is which.

    They wait in an unnamed file in `beside`; memory holds an id and a place for each.
    """
    places: list[tuple[str, int]] = []
    with tempfile.TemporaryFile(dir=beside) as waiting:
        for example in examples:
            places.append((f"{example.id} {example.split}", waiting.tell()))
            waiting.write(json.dumps(asdict(example)).encode() + b"\n")
        for _, place in sorted(places):
            waiting.seek(place)
            value = json.loads(waiting.readline())
            value["cues"] = tuple(value["cues"])
            value["utterances"] = tuple(tuple(u) for u in value["utterances"])
            value["scores"] = None if value["scores"] is None else tuple(value["scores"])
            yield Example(**value)


def holds(share: Share) -> Sequence[str]:
    """Return what an export's reader should know it holds and does not hold, a line each."""
    names = (
        "Names of the speakers list were masked in the words, as far as they could be told: read "
        "a sample before publishing."
        if share.mask_names
        else "Names that were spoken stand in the words."
    )
    return (
        "Holds: labels and descriptions of face and voice, a clip at a time"
        + (", and the words spoken." if share.transcript else "."),
        "Does not hold: pictures, sound, measured tracks, file names, paths, media digests, ids or "
        "names of the corpus. Ids are keyed hashes, people and groups are numbered, times count "
        "from the start of the clip.",
        names if share.transcript else "The words spoken were left out.",
        "Not anonymous against who has the corpus: descriptions and words can be compared with "
        "it. Publish only what the people shown have agreed to.",
    )
