"""Getting weights: what a name means, and the row's files downloaded, checked and recorded.

Every file is checked against the sha256 in `table.py`, or against what was recorded when it was
first fetched (`cache.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textualize import assets
from textualize.errors import TextualizeError, unknown
from textualize.extract.sensor import PRESETS, SENSORS, parse_spec
from textualize.files import file_digest, read_yaml
from textualize.weights.cache import (
    Files,
    expected,
    homes_of,
    lacking,
    lock_path,
    look,
    matching,
    read_lock,
    record,
)
from textualize.weights.download import (
    NoNetworkError,
    Progress,
    check_reachable,
    from_address,
    from_hub,
    hub_address,
)
from textualize.weights.table import OF_SENSOR, WEIGHTS, Weights

_SPARE = 1 << 30  # bytes a disk should keep

Bar = Callable[[str], AbstractContextManager[Progress]]


# --- what a name means --------------------------------------------------------------------------


def of_recipe(recipe: str) -> Weights | None:
    """Return the row a shipped recipe's model is in; None when it fetches nothing."""
    path = assets.find("finetune", recipe, ".yaml")
    model = read_yaml(path).get("model")
    return next((row for row in WEIGHTS.values() if row.source == model), None)


def of_preset(preset: str) -> list[Weights]:
    """Return the rows a preset's sensors load when nothing else is said."""
    sensors = [parse_spec(spec).name for spec in PRESETS[preset]]
    return [WEIGHTS[row] for sensor in sensors for row in OF_SENSOR.get(sensor, ())]


def chosen(names: Iterable[str]) -> list[Weights]:
    """Return the rows that names mean: of the table, a preset, a sensor, or a shipped recipe.

    >>> [row.name for row in chosen(["whisper", "whisper-base", "bert-base"])]
    ['whisper-base', 'bert-base-uncased']
    >>> chosen(["embedded"])
    []

    Raises TextualizeError for a name that is none of these.
    """
    rows: dict[str, Weights] = {}
    for name in names:
        for row in _meant(name):
            rows[row.name] = row
    return list(rows.values())


def _meant(name: str) -> list[Weights]:
    if name in WEIGHTS:
        return [WEIGHTS[name]]
    if name in PRESETS:
        return of_preset(name)
    if name in SENSORS:
        return [WEIGHTS[row] for row in OF_SENSOR.get(name, ())]
    if name in assets.names("finetune", ".yaml"):
        row = of_recipe(name)
        return [row] if row else []
    raise unknown("preset, sensor, recipe or weights", name, [*WEIGHTS, *PRESETS, *SENSORS])


# --- getting ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetched:
    """A row that is here and right.

    `how` says whether its content is fixed by the table ("pinned"), by an earlier fetch ("as
    recorded") or only from now on ("recorded now").
    """

    row: Weights
    outcome: Literal["already here", "fetched", "replaced"]
    how: Literal["pinned", "as recorded", "recorded now"]
    folder: Path
    revision: str
    digests: Mapping[str, str]

    @property
    def use(self) -> str:
        """How to ask for it, with the file's place where that is needed."""
        return self.row.use.replace("FILE", str(self.folder / next(iter(self.digests))))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.row.name,
            "outcome": self.outcome,
            "how": self.how,
            "source": self.row.source,
            "revision": self.revision,
            "folder": str(self.folder),
            "files": dict(self.digests),
            "licence": self.row.licence,
            "notice": self.row.notice,
            "use": self.use,
        }


def fetch(row: Weights, progress: Progress, *, quiet: bool) -> Fetched:
    """Return a row's files, downloaded if they are not here, checked in any case.

    A file that is here and is not the right one is removed and fetched again. Raises
    TextualizeError: no network, a package is missing, no room, cut off, or a wrong content.
    """
    lock = read_lock()
    before = look(row, lock)
    recorded = lock.get(row.name, {}).get("revision", "")
    wanted = row.revision or recorded
    damaged: list[str] = []
    right = not wanted or before.revision == wanted
    if before.state == "here" and before.folder and right:
        digests, damaged = _digests(before.files, expected(row, before.revision, lock))
        if not damaged:
            return _done(row, "already here", before.folder, before.revision, digests, lock)
        _remove(before.files[name] for name in damaged)
    folder, revision = _download(row, wanted, progress, quiet=quiet)
    files = matching(row, folder)
    if absent := lacking(row, files):
        raise TextualizeError(
            f"{row.page} has no {', '.join(absent)} at {revision or 'its address'}"
        )
    digests, wrong = _digests(files, expected(row, revision, lock))
    if wrong:
        _remove(files[name] for name in wrong)
        raise TextualizeError(
            f"{row.page} gave another {', '.join(wrong)} than the one known; removed: try again, "
            f"or, if it was meant to change, take '{row.name}' out of {lock_path()}"
        )
    return _done(row, "replaced" if damaged else "fetched", folder, revision, digests, lock)


def fetch_all(
    rows: Iterable[Weights], bar: Bar, *, quiet: bool
) -> Iterator[tuple[Weights, Fetched | TextualizeError]]:
    """Yield every row with what came of it; one that fails does not stop the others.

    Where there is no network, rows that are not here are not tried one by one.
    """
    dead: NoNetworkError | None = None
    for row in rows:
        if dead and look(row).state != "here":
            yield row, dead
            continue
        try:
            with bar(row.name) as progress:
                done = fetch(row, progress, quiet=quiet)
            yield row, done
        except NoNetworkError as error:
            dead = error
            yield row, error
        except TextualizeError as error:
            yield row, error


def _digests(files: Files, expected: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return every file's sha256, and the names of those that are not as expected."""
    digests = {name: file_digest(path) for name, path in files.items()}
    return digests, [n for n, found in digests.items() if expected.get(n, found) != found]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.resolve().unlink(missing_ok=True)  # the hub's cache links to blobs
        path.unlink(missing_ok=True)


def _download(row: Weights, revision: str, progress: Progress, *, quiet: bool) -> tuple[Path, str]:
    home = homes_of(row)[0]
    check_reachable(hub_address() if row.on_hub else row.source)
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if free < row.size + _SPARE:
        raise TextualizeError(
            f"'{row.name}' needs {row.size / 1e9:.1f} GB and {home} has {free / 1e9:.1f} GB free"
        )
    if row.on_hub:
        folder = from_hub(row.source, revision, row.patterns, home, quiet=quiet)
        return folder, folder.name
    file, digest = next(iter(row.files.items()))
    from_address(row.source, home / file, digest, progress)
    return home, ""


def _done(
    row: Weights,
    outcome: Literal["already here", "fetched", "replaced"],
    folder: Path,
    revision: str,
    digests: Mapping[str, str],
    lock: Mapping[str, Any],
) -> Fetched:
    known = expected(row, revision, lock)
    how: Literal["pinned", "as recorded", "recorded now"] = "pinned"
    if not row.pinned:
        how = "as recorded" if set(digests) <= set(known) else "recorded now"
    record(row, revision, {name: folder / name for name in digests}, digests)
    if row.on_hub:
        # Libraries that are told a bare name offline look for what the cache calls main.
        main = folder.parent.parent / "refs" / "main"
        if not main.exists():
            main.parent.mkdir(parents=True, exist_ok=True)
            main.write_text(revision, "utf-8")
    return Fetched(row, outcome, how, folder, revision, dict(digests))
