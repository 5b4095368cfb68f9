"""Records to what the training loop of the picture methods reads: task and two picture sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from textualize.baselines.augment import Augment
from textualize.baselines.bank_history import write_history
from textualize.baselines.landmarked import landmark_notes
from textualize.baselines.network import Network
from textualize.baselines.pictured import PictureMethod, build_pictured
from textualize.baselines.pictures import PictureSource
from textualize.baselines.reading import Reading, open_reels, torn_notes
from textualize.baselines.reels import Reel
from textualize.baselines.task import Task
from textualize.finetune.feature_data import answers, people_counts
from textualize.finetune.picture_recipes import AuGuidedRecipe, PictureRecipe
from textualize.labels import LabelSet
from textualize.types import Record


@dataclass(frozen=True, slots=True, eq=False)
class PictureData:
    """What is learned from and chosen on, and notes on what was left out.

    clips: ids of what is learned from, as the rows of its source.
    """

    name: str
    task: Task
    reading: Reading
    frames: int
    train: PictureSource
    validation: PictureSource
    notes: tuple[str, ...]
    clips: tuple[str, ...] = ()

    def build(self, settings: Mapping[str, Any]) -> Network:
        """Return the untrained network; `settings` see `settings_of`."""
        return build_pictured(self.name, self.task, self.frames, settings)

    def method(self, network: Network, settings: Mapping[str, Any]) -> PictureMethod:
        """Return what predicts with the trained network."""
        own = {**settings, **network.resolved()}
        return PictureMethod(self.name, self.task, self.reading, self.frames, network, own)

    def keep_history(self, network: Network, folder: Path) -> None:
        """Write where training looked, of a network that draws pieces by score."""
        state = network.history()
        rows = state["rows"].tolist() if state else []
        if not rows:
            return
        positions, reels = self.train.positions(), self.train.reels
        starts = [torch.from_numpy(reels[i].seconds())[: positions[i]] for i in rows]
        names = [self.clips[i] for i in rows]
        write_history(folder, state, names, starts, self.train.targets[rows])

    def torn(self) -> list[str]:
        """Return notes on pictures that training and validation could not decode."""
        parts = {"training": self.train.reels, "validation": self.validation.reels}
        return [f"{self.name}: {n} ({k})" for k, own in parts.items() for n in torn_notes(own)]

    def effective(self) -> dict[str, Any]:
        """Return how many pictures the clips have."""
        many = self.train.lengths
        return {
            "pictures of a piece": self.frames,
            "pictures of a training clip": [int(many.min()), int(many.median()), int(many.max())],
            **people_counts(self.train.subjects),
        }


def at_once(recipe: PictureRecipe, reels: Sequence[Reel]) -> int:
    """Return how many of these clips fit, whole: three times the pictures of a training step."""
    longest = max(reel.length for reel in reels)  # without gradients, so many do
    return max(1, min(3 * recipe.batch_size * recipe.frames // longest, recipe.batch_size))


def prepare_pictures(
    recipe: PictureRecipe,
    labels: LabelSet,
    train: Sequence[Record],
    validation: Sequence[Record],
) -> PictureData:
    """Return sources of the records that have pictures; the notes say why others have none.

    Raises:
        TextualizeError: no record has pictures, a label is unknown, or the training records show
            one class or one value only.
    """
    reading = Reading(recipe.pictures, recipe.cut, recipe.size, recipe.rate_hz, recipe.most)
    kept, reels, notes = open_reels(train, reading)
    held, held_reels, held_notes = open_reels(validation, reading)
    if isinstance(recipe, AuGuidedRecipe) and recipe.weight:
        notes += landmark_notes(reels)
    asked = answers(recipe, labels, [train[i] for i in kept], [validation[i] for i in held])
    learned = PictureSource(
        reels,
        asked.train,
        torch.tensor(asked.weights),
        frames=recipe.frames,
        augment=Augment(**recipe.augment.model_dump()) if recipe.augment else None,
        workers=recipe.workers,
        at_once=at_once(recipe, reels),
    )
    checked = PictureSource(
        held_reels,
        asked.validation,
        torch.ones(len(held)),
        workers=recipe.workers,
        at_once=at_once(recipe, held_reels),
    )
    told = [f"{recipe.method}: {n} (training)" for n in notes]
    told += [f"{recipe.method}: {n} (validation)" for n in held_notes]
    return PictureData(
        recipe.method,
        asked.task,
        reading,
        recipe.frames,
        learned,
        checked,
        (*told, *asked.notes),
        tuple(train[i].clip.id for i in kept),
    )
