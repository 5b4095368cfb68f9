"""The formats that can be imported, and what in one file may belong to several clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be imported: its sensors in order, their sidecar's key, files' endings.

    `parts` returns what of a file may belong to different clips, nothing for a file of one clip.
    """

    sensors: tuple[str, ...]
    key: str
    endings: tuple[str, ...]
    parts: Callable[[Path], Iterable[str]]


def _openface(path: Path) -> Iterable[str]:
    from textualize.extract.face.openface import load_table

    table = load_table(path)
    per_frame = any(re.fullmatch(r"-?\d*\.?\d+(?:e-?\d+)?", key) for key in table.keys)
    return () if per_frame else table.keys


def _fex(path: Path) -> Iterable[str]:
    from textualize.extract.imports import fex, table

    return table.read_table(path, fex.LAYOUT).texts.get("input", ())


def _opensmile(path: Path) -> Iterable[str]:
    from textualize.extract.imports import opensmile, table

    read = table.read_table(path, opensmile.LAYOUT)
    column = opensmile.key_column(read)
    return read.texts[column] if column else ()


def _hume(path: Path) -> Iterable[str]:
    from textualize.extract.imports import hume

    return hume.read_inputs(path)


def _rttm(path: Path) -> Iterable[str]:
    from textualize.extract.imports import rttm

    return rttm.turns_by_recording(path)


def _arrays(path: Path) -> Iterable[str]:
    from textualize.extract.imports import array_files

    return array_files.array_names(path)


def _whole(path: Path) -> Iterable[str]:
    return ()


_CSV = (".csv", ".tsv", ".txt")
_ARRAYS = (".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".csv", ".tsv", ".parquet")
FORMATS: Mapping[str, Format] = {
    "openface": Format(("openface",), "openface", _CSV, _openface),
    "fex": Format(("fex",), "fex", _CSV, _fex),
    "opensmile": Format(("opensmile",), "opensmile", _CSV, _opensmile),
    "hume": Format(("hume",), "hume", (".json",), _hume),
    "hume-transcript": Format(("hume-transcript",), "hume", (".json",), _hume),
    # beside a transcript the turns say who speaks, without one that somebody does
    "rttm": Format(("sidecar", "rttm"), "speakers", (".rttm",), _rttm),
    "transcript": Format(("sidecar",), "transcript", (".srt", ".vtt", ".json", ".txt"), _whole),
    "elan": Format(("elan",), "elan", _CSV, _whole),
    "elan-ratings": Format(("elan-ratings",), "elan", _CSV, _whole),
    "features-visual": Format(("features-visual",), "features-visual", _ARRAYS, _arrays),
    "features-audio": Format(("features-audio",), "features-audio", _ARRAYS, _arrays),
    "features-text": Format(("features-text",), "features-text", _ARRAYS, _arrays),
}
