"""Records to what the training loop of the picture methods reads: task and two picture sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from textualize.baselines.augment import Augment
from textualize.baselines.network import Network
from textualize.baselines.pictured import PictureMethod, build_pictured
from textualize.baselines.pictures import PictureSource, Reading, open_reels
from textualize.baselines.task import Task
from textualize.finetune.feature_data import answers
from textualize.finetune.picture_recipes import PictureRecipe
from textualize.labels import LabelSet
from textualize.types import Record


@dataclass(frozen=True, slots=True, eq=False)
class PictureData:
    """What is learned from and chosen on, and notes on what was left out."""

    name: str
    task: Task
    reading: Reading
    frames: int
    train: PictureSource
    validation: PictureSource
    notes: tuple[str, ...]

    def build(self, settings: Mapping[str, Any]) -> Network:
        """Return the untrained network; `settings` see `settings_of`."""
        return build_pictured(self.name, self.task, self.frames, settings)

    def method(self, network: Network, settings: Mapping[str, Any]) -> PictureMethod:
        """Return what predicts with the trained network."""
        own = {**settings, **network.resolved()}
        return PictureMethod(self.name, self.task, self.reading, self.frames, network, own)

    def effective(self) -> dict[str, Any]:
        """Return how many pictures the clips have."""
        many = self.train.lengths
        return {
            "pictures of a piece": self.frames,
            "pictures of a training clip": [int(many.min()), int(many.median()), int(many.max())],
        }


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
    asked = answers(recipe, labels, [train[i] for i in kept], [validation[i] for i in held])
    learned = PictureSource(
        reels,
        asked.train,
        torch.tensor(asked.weights),
        frames=recipe.frames,
        augment=Augment(**recipe.augment.model_dump()) if recipe.augment else None,
        workers=recipe.workers,
    )
    # without gradients, three times the pictures of a training step fit
    longest = max(reel.length for reel in held_reels)
    fits = 3 * recipe.batch_size * recipe.frames // longest
    checked = PictureSource(
        held_reels,
        asked.validation,
        torch.ones(len(held)),
        workers=recipe.workers,
        at_once=max(1, min(fits, recipe.batch_size)),
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
    )
