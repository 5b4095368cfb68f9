"""One spelling of punctuation for texts whose copies differ: quotes, ellipses, wrong decodings.

Copies of one corpus carry curly quotes, Windows-1252 punctuation read as control characters
(U+0092 for an apostrophe), or UTF-8 read as Windows-1252 (three characters for one). The words are
the same; a model and a join must not see a difference. Dashes and accents stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

CURLY: Mapping[str, str] = {
    "‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "…": "...", "\u00a0": " ",
}  # fmt: skip
_KINDS = {
    "twice": "text that was decoded twice",
    "control": "Windows-1252 punctuation as control characters",
    "curly": "curly quotes or ellipses",
}


def _windows_1252(code: int) -> str:
    """Return what the byte means in Windows-1252; five bytes mean nothing and become a blank."""
    return bytes([code]).decode("cp1252", "replace").replace("\ufffd", " ")


_CONTROL = {chr(code): _windows_1252(code) for code in range(0x80, 0xA0)}
_BY_BYTE = {**{chr(code): chr(code) for code in range(0x80, 0x100)}, **_CONTROL}


def _decoded_twice(character: str) -> set[str]:
    """Return what a character becomes when its UTF-8 bytes are read as Windows-1252 or Latin-1."""
    latin = character.encode().decode("latin-1")
    windows = "".join(c if _CONTROL.get(c, c) == " " else _BY_BYTE.get(c, c) for c in latin)
    return {latin, windows}


_TWICE = {
    wrong: right
    for right in (*CURLY, *"–—éèêëáàâäóòôöúùûüíìîïñç")
    for wrong in _decoded_twice(right)
}
_WRONG = re.compile("|".join(map(re.escape, sorted(_TWICE, key=len, reverse=True))))
_CONTROLS = re.compile("[\x80-\x9f]")
_CURLY = re.compile("[" + "".join(CURLY) + "]")


class Typography:
    """Normalises texts and counts, per kind of oddity, in how many it was found."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.texts = 0
        self.found: Counter[str] = Counter()

    def plain(self, text: str) -> str:
        r"""Return the text with straight quotes, three dots and single blanks.

        >>> Typography().plain("It’s “so”\x85  true")
        'It\'s "so"... true'
        """
        self.texts += 1
        self.found["curly"] += bool(_CURLY.search(text))
        text, twice = _WRONG.subn(lambda hit: _TWICE[hit.group()], text)
        text, controls = _CONTROLS.subn(lambda hit: _CONTROL[hit.group()], text)
        self.found["twice"] += bool(twice)
        self.found["control"] += bool(controls)
        text = _CURLY.sub(lambda hit: CURLY[hit.group()], text)
        return " ".join(text.split())

    def notes(self, what: str) -> list[str]:
        """Return one sentence per kind of oddity that was found.

        Args:
            what: the noun of what was normalised, e.g. "utterances".
        """
        return [
            f"{self.found[kind]} of {self.texts} {what} had {named}: normalised"
            for kind, named in _KINDS.items()
            if self.found[kind]
        ]


def read_text(path: Path) -> tuple[str, str]:
    """Return a text file's content, and a note if it was not UTF-8.

    A byte-order mark is dropped. What is not UTF-8 is read as Windows-1252, and said.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        note = f"{path.name} is not UTF-8 (byte {error.start}): read as Windows-1252"
        return data.decode("cp1252", "replace"), note
