"""A method whose recipe says whether it reads tracks or pictures: its runs, read back."""

from __future__ import annotations

from pathlib import Path

from textualize.baselines.fusion import FeatureMethod
from textualize.baselines.pictured import PictureMethod
from textualize.files import read_json


class TracksOrPictures:
    """Reads back a run of a method of both kinds."""

    @staticmethod
    def load(run: str | Path) -> FeatureMethod | PictureMethod:
        """Return the method saved in a run folder, of the kind it was trained as.

        Raises:
            TextualizeError: a file is missing or damaged, or the two do not belong together.
        """
        about = read_json(Path(run) / "model.json", "model")
        return (PictureMethod if "reading" in about else FeatureMethod).load(run)
