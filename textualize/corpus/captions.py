"""Speech alone: who speaks when as RTTM, what is said when as SubRip."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from textualize.corpus.examples import Example, Plan
from textualize.corpus.writing import Options


class Turns:
    """One RTTM file; the recording is the clip's id, with blanks as %20."""

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        self.notes: list[str] = []
        self._silent = self._untimed = 0
        path = folder / "speech.rttm"
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")

    def write(self, example: Example) -> None:
        """Write a clip's turns, a line each."""
        self._silent += not example.utterances
        for start, end, speaker, _ in example.utterances:
            if not 0 <= start < end < float("inf"):
                self._untimed += 1
                continue
            who = field_of(speaker or example.subject or "unknown")
            self._file.write(
                f"SPEAKER {field_of(example.id)} 1 {start:.3f} {end - start:.3f} "
                f"<NA> <NA> {who} <NA> <NA>\n"
            )

    def close(self) -> None:
        """Finish the file; `notes` then say what was left out."""
        self._file.close()
        self.notes += _missing(self._silent, self._untimed)


def field_of(text: str) -> str:
    """Return a text without blanks, as RTTM's fields and file names need it; %xx reads back.

    >>> field_of("a b/1"), field_of("é_1")
    ('a%20b%2F1', 'é_1')
    """
    return "".join(
        c if c.isalnum() or c in "_-." else quote(c, safe="", errors="surrogatepass") for c in text
    )


def file_name(text: str) -> str:
    """Return a text as a file's name that is never hidden and never leaves its folder.

    >>> file_name("../a 1")
    '%2E.%2Fa%201'
    """
    name = field_of(text)
    return f"%2E{name[1:]}" if name.startswith(".") else name


class Captions:
    """One SubRip file a clip; times count from the start of the media file."""

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        self.notes: list[str] = []
        self._silent = self._untimed = 0
        self._folder = folder / "srt"
        self._folder.mkdir()

    def write(self, example: Example) -> None:
        """Write a clip's captions as a file of its own; none where nothing was said."""
        said = [u for u in example.utterances if u[3]]
        timed = [u for u in said if 0 <= u[0] < u[1] < float("inf")]
        self._silent += not said
        self._untimed += len(said) - len(timed)
        blocks = [
            f"{n}\n{clock(start)} --> {clock(end)}\n{text.replace('-->', '->')}\n"
            for n, (start, end, _, text) in enumerate(timed, 1)
        ]
        if blocks:
            path = self._folder / f"{file_name(example.id)}.srt"
            path.write_text("\n".join(blocks), "utf-8", "backslashreplace", "\n")

    def close(self) -> None:
        """Say in `notes` what was left out."""
        self.notes += _missing(self._silent, self._untimed)


def _missing(silent: int, untimed: int) -> list[str]:
    found = [(silent, "clips have no words"), (untimed, "utterances have no times: left out")]
    return [f"{count} {what}" for count, what in found if count]


def clock(seconds: float) -> str:
    """Return a time as SubRip writes it.

    >>> clock(3661.5)
    '01:01:01,500'
    """
    whole = round(seconds * 1000)
    return (
        f"{whole // 3600000:02}:{whole // 60000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"
    )
