"""What every recipe has, whatever its method reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from textualize.files import digest_of
from textualize.windows import PUBLISHED, RowWindows, Window

Selection = Literal["macro_f1", "weighted_f1", "accuracy", "ccc", "mae", "rmse"]
ClassSelection = Literal["macro_f1", "weighted_f1", "accuracy"]


class Options(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowOptions(Options):
    """Cut long clips, alike in training and prediction: seconds, and seconds to the next one."""

    length_s: float = Field(gt=0)
    hop_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _without_gaps(self) -> WindowOptions:
        self.window()
        return self

    def window(self) -> Window:
        """Return the window; raises TextualizeError where windows would leave a gap."""
        return Window(self.length_s, self.hop_s)


class Recipe(Options):
    """What every recipe has."""

    method: str
    seed: int = 0
    seeds: list[int] | None = Field(None, min_length=1)
    """train once for each of these, into `seed-N` folders, instead of once with `seed`"""
    select: Selection = "macro_f1"
    """the validation score that chooses epoch and strength"""
    class_balanced: float = Field(0.0, ge=0, le=1)
    """weight the loss by inverse class frequency to this power: 0 not at all, 1 fully"""
    window: WindowOptions | None = None
    """windows long clips are cut into; each is an example, a clip's answer is their mean"""
    rows: Literal["richet2024"] | None = None
    """instead of `window`, the windows of a publication, counted in rows of the face's track"""

    @model_validator(mode="after")
    def _each_seed_once(self) -> Recipe:
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds names a seed twice")
        return self

    @model_validator(mode="after")
    def _cut_once(self) -> Recipe:
        if self.window is not None and self.rows is not None:
            raise ValueError("a clip is cut by window or by rows, not by both")
        return self

    @property
    def windows(self) -> Window | RowWindows | None:
        """What clips are cut into, or None for whole clips."""
        if self.rows is not None:
            return PUBLISHED[self.rows]
        return self.window.window() if self.window else None

    @property
    def digest(self) -> str:
        """sha256 of the resolved recipe."""
        return digest_of(self.model_dump(mode="json"))
