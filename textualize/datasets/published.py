"""Folds by the name of a dataset: its published lists, and train, validation and test clips."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from textualize.datasets import DATASETS, load_dataset
from textualize.datasets.folds import made_folds
from textualize.datasets.given import Fold, given_fold, write_folds
from textualize.errors import TextualizeError
from textualize.types import Clip

PUBLISHED = "published-folds.json"  # beside corpus.json, where a dataset has published folds

Lists = list[tuple[Sequence[str], Sequence[str], Sequence[str]]]


@dataclass(frozen=True, slots=True)
class FoldClips:
    """The clips of one fold; iterating gives train, validation, test.

    `fold` holds the ids, the digest and what leaks.
    """

    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    test: tuple[Clip, ...]
    fold: Fold

    def __iter__(self) -> Iterator[tuple[Clip, ...]]:
        return iter((self.train, self.validation, self.test))


def load_fold(
    dataset: str,
    root: str | Path = "",
    index: int = 0,
    *,
    folds: int | str | None = None,
    test: str = "test",
    seed: int = 0,
    options: Mapping[str, str] | None = None,
) -> FoldClips:
    """Return the labelled clips of one fold of a known corpus.

    Args:
        dataset: one of DATASETS.
        root: the corpus' folder.
        index: which fold, from 0.
        folds: see `made_folds`; "published" takes the lists the corpus was published with where
            it has some, with what leaks in them in `fold.leaks`.
        test: with the corpus' own splits, the one reported on.
        seed: another assignment of the groups.
        options: of the dataset, see `load_dataset`.

    Raises:
        TextualizeError: no such dataset or fold, or the clips cannot be split so.
    """
    clips = [c for c in load_dataset(dataset, root, options).clips if c.label is not None]
    made = published_folds(dataset, Path(root), clips) if folds == "published" else None
    if made is None:
        made = made_folds(clips, folds, test=test, seed=seed)
    if not 0 <= index < len(made):
        raise TextualizeError(f"index should be 0 to {len(made) - 1}; given {index}")
    fold, known = made[index], {c.id: c for c in clips}
    train, validation, test_clips = (
        tuple(known[i] for i in ids) for ids in (fold.train, fold.validation, fold.test)
    )
    return FoldClips(train, validation, test_clips, fold)


def published_folds(dataset: str, root: Path, clips: Sequence[Clip]) -> list[Fold] | None:
    """Return the lists a dataset was published with, as they are; None where it has none.

    A dataset has some if its module has `published_lists(root)`. What leaks in them, and how many
    listed clips are not among `clips`, stands in each fold's `leaks`.
    """
    module = importlib.import_module(DATASETS[dataset].partition(":")[0])
    lists: Callable[[Path], Lists] | None = getattr(module, "published_lists", None)
    if lists is None:
        return None
    return [
        given_fold(f"published {i}", *parts, clips, allow_overlap=True, allow_absent=True)
        for i, parts in enumerate(lists(root.expanduser()))
    ]


def keep_published(dataset: str, root: Path, clips: Sequence[Clip], corpus: Path) -> Path | None:
    """Write a dataset's published folds into its corpus folder, where `published` finds them.

    Returns the file, or None where the dataset has no published lists.
    """
    made = published_folds(dataset, root, [c for c in clips if c.label is not None])
    if made is None:
        return None
    write_folds(corpus / PUBLISHED, made, {"dataset": dataset, "folds": "published"})
    return corpus / PUBLISHED
