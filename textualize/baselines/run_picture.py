"""The picture of a run, by its method: what `textualize explain --picture` draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textualize.baselines.activation import CamKind
from textualize.errors import TextualizeError
from textualize.finetune.run_folder import RunFolder
from textualize.types import Record

OF_TRAINING = ("stochastic-softmax",)  # drawn from the run alone; others are drawn of clips


def draw_run(
    run: Path,
    method: object,
    records: Sequence[Record],
    path: Path,
    *,
    cam: CamKind = "cam",
    each_label: bool = False,
) -> str:
    """Write the picture of a run, and return what it shows.

    stochastic-softmax: where training looked, see `bank_picture.py`; no clip is read. au-guided:
    where the network looks on the faces of the clips, with `each_label` of one clip of each label,
    see `attention_picture.py`; `cam` is the kind of its class activation maps.

    Raises:
        TextualizeError: a method without a picture, no clip where one is needed, a file's name that
            ends in no known format, or what the method's own module says.
    """
    name = str(RunFolder(run).recipe_values["method"])
    if name in OF_TRAINING:
        from textualize.baselines.bank_picture import draw_bank

        draw_bank(run, path)
        return "where training looked"
    if name == "au-guided":
        from textualize.baselines.attention_picture import draw_attention, draw_each_label

        if not records:
            raise TextualizeError("attention is drawn over the faces of clips: give --corpus")
        if each_label:
            trained = set(RunFolder(run).parts["train"])
            return f"attention on {draw_each_label(method, records, path, cam, trained)}"
        draw_attention(method, records, path, cam)
        return "attention on the face"
    raise TextualizeError(
        f"{name} has no picture of its own: give a run of au-guided or stochastic-softmax"
    )
