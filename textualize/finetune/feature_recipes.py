"""The recipes of the methods that read tracks as numbers, a class each on top of `FeatureRecipe`.

A network takes the keys it needs by their name here (`baselines/fusion.py`).
"""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from textualize.errors import TextualizeError
from textualize.finetune.options import ClassSelection, Recipe
from textualize.finetune.subject_recipes import Adapting
from textualize.labels import LabelSet


class NetworkRecipe(Recipe):
    """What every method has whose network is trained by the one loop of `finetune/baseline.py`."""

    task: Literal["classes", "values"] | None = None
    """what is predicted; by default what the clips' labels are"""
    loss: Literal["cross_entropy", "ccc", "mse", "mae"] | None = None
    """by default cross_entropy; of values mse, per step ccc"""
    dropout: float = Field(0.3, ge=0, lt=1)
    epochs: int = Field(60, ge=1)
    """of each stage of the method"""
    batch_size: int = Field(32, ge=1)
    lr: float = Field(1e-3, gt=0)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd has momentum 0.9 (Nesterov)"""
    weight_decay: float = Field(1e-2, ge=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    """what the network computes in (mixed precision): weights and loss are float32"""
    patience: int = Field(12, ge=1)
    """epochs without a better validation score before a stage stops"""

    @property
    def answers_per_step(self) -> bool:
        """Whether every step of a clip is answered, not the clip alone."""
        return False

    @property
    def adapts(self) -> bool:
        """Whether it reads clips of the people it is for, without their labels."""
        return False

    @property
    def oracle(self) -> bool:
        """Whether its epochs are chosen with the labels of the people it is for."""
        return False

    def resolved(self, labels: LabelSet) -> Self:
        """Return the recipe for clips with these labels: numbers make the task one of values.

        Raises:
            TextualizeError: `select` or `loss` is not for what is predicted.
        """
        kind = self.task or ("values" if labels.numeric else "classes")
        if kind == "classes":
            self._check(kind, get_args(ClassSelection), ("cross_entropy",))
            return self
        loss = self.loss or ("ccc" if self.answers_per_step else "mse")
        select = self.select if "select" in self.model_fields_set else "ccc"
        chosen = self.model_copy(update={"task": kind, "loss": loss, "select": select})
        chosen._check(kind, ("ccc", "mae", "rmse"), ("ccc", "mse", "mae"))
        return chosen

    def _check(self, kind: str, selects: tuple[str, ...], losses: tuple[str, ...]) -> None:
        for key, value, known in (
            ("select", self.select, selects),
            ("loss", self.loss or losses[0], losses),
        ):
            if value not in known:
                raise TextualizeError(
                    f"{self.method}: recipe key '{key}' is {value}, which is not for {kind}: "
                    f"give {' or '.join(known)}"
                )


class FeatureRecipe(NetworkRecipe):
    """What every method has that reads tracks as numbers."""

    tracks: list[str] = ["aus", "prosody", "speech_rate"]
    """what is read; a record without one of them gives zeros and a mask, counted in the log"""
    groups: dict[str, list[str]] = {"visual": ["aus"], "audio": ["prosody", "speech_rate"]}
    """stream -> its tracks; concat, which has no streams, leaves them aside"""
    steps: int = Field(8, ge=1)
    """length L of the sequences a clip is pooled to"""
    speaker_relative: bool = True
    """relate functionals and sequences to the subject's own statistics where a record has them"""
    normalise: Literal["standard", "none"] = "standard"
    """by mean and spread of the training records; or take the numbers as they are"""
    per_step: str | None = None
    """a track of annotation to predict at every step: class ids, or a value a column"""
    invalid: float | None = -5.0
    """an annotated value that means there is none, as in Aff-Wild2; so do NaN, and ids below 0"""
    votes: Literal["majority", "mean_logit", "mean_probability"] = "mean_probability"
    """how the classes of the steps become the clip's"""
    smooth_s: float | dict[str, float] = 0.0
    """seconds of the moving average over values predicted per step: one, or by value"""
    hidden: int = Field(128, ge=4)
    linear_start: bool = True
    """start the linear path, where there is one, as a fitted linear model and the rest at 0"""
    drop_stream: float = Field(0.0, ge=0, lt=1)
    """chance that a clip's stream is hidden in a training step; one stream always stays"""

    @property
    def training_only(self) -> tuple[str, ...]:
        """The streams that predicting does without."""
        return ()

    @property
    def answers_per_step(self) -> bool:
        """Whether every step of a clip is answered, not the clip alone."""
        return self.per_step is not None

    @model_validator(mode="after")
    def _task_per_step(self) -> FeatureRecipe:
        if self.per_step is not None and self.task is None:
            raise ValueError("per_step needs task: classes or task: values")
        if self.per_step is not None and self.per_step in self.tracks:
            raise ValueError(f"per_step '{self.per_step}' is the answer: it cannot be read, too")
        if self.per_step is not None and self.windows is not None:
            raise ValueError("per_step answers whole clips: leave out window and rows")
        if self.smooth_s and (self.per_step is None or self.task != "values"):
            raise ValueError("smooth_s is of values predicted per step")
        return self


class ConcatRecipe(FeatureRecipe):
    """concat."""

    method: Literal["concat"]
    hidden: int = Field(128, ge=0)
    """0 leaves the MLP out: logistic, or linear, regression"""

    @model_validator(mode="after")
    def _without_streams(self) -> ConcatRecipe:
        if self.drop_stream:
            raise ValueError(f"concat has no streams to drop: drop_stream {self.drop_stream}")
        return self


class LinearRecipe(FeatureRecipe):
    """linear: fitted in one go, so that it has no keys of a network or its epochs."""

    method: Literal["linear"]
    hidden: int = Field(0, ge=0, le=0)
    dropout: float = Field(0.0, ge=0, le=0)
    strengths: list[float] = Field(
        [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0], min_length=1
    )
    """inverse regularisation C (of ridge regression: 1 / alpha), chosen on validation"""

    @model_validator(mode="after")
    def _nothing_of_a_network(self) -> LinearRecipe:
        if min(self.strengths) <= 0:
            raise ValueError(f"strengths are above 0: {min(self.strengths)}")
        if self.per_step is not None:
            raise ValueError("linear reads what a clip is on the whole: leave out per_step")
        for key in ("linear_start", "drop_stream", "epochs", "batch_size", "lr", "optimizer",
                    "weight_decay", "dtype", "patience"):  # fmt: skip
            if getattr(self, key) != FeatureRecipe.model_fields[key].default:
                raise ValueError(f"linear has no {key}: it is fitted in one go")
        return self


class JcaRecipe(FeatureRecipe):
    """jca."""

    method: Literal["jca"]
    wiring: Literal["fixed", "paper", "released", "vanilla"] = "fixed"
    """vanilla attends to the other stream in place of the joint features"""
    attention: int = Field(32, ge=1)
    """k of the joint cross-attention"""


class JmtRecipe(FeatureRecipe):
    """jmt."""

    method: Literal["jmt"]
    aggregation: Literal["last", "mean", "cls", "concat"] = "last"
    """how the six attended vectors of a step become one; last is the paper's"""
    positions: bool = False
    joint: bool = True
    """false: the vanilla transformer, two encoders and two cross-attentions"""
    heads: int = Field(1, ge=1)
    layers: int = Field(1, ge=1)
    unit_length: bool = True
    """bring projected features to length 1, as the paper does"""
    intra: dict[str, list[str]] = {}
    """modality -> its two streams, fused by a transformer of their own before the others"""
    skip: bool = True
    """a linear path from the streams to the answer beside the network, not in the paper"""


class LfanRecipe(FeatureRecipe):
    """lfan."""

    method: Literal["lfan"]
    channels: list[int] | dict[str, list[int]] = [64, 64, 32, 32]
    """of each layer of a stream's temporal encoder: one list, or by stream"""
    kernel: int = Field(5, ge=1)
    heads: int = Field(2, ge=1)
    width: int = Field(32, ge=1)
    """of a stream's query, key and value, over all heads"""
    leader: str | None = None
    """the stream whose own encoding stands beside the attended one; by default the first"""
    skip: bool = True
    """a linear path from the streams to the answer beside the network, not in the paper"""


class CanRecipe(FeatureRecipe):
    """can."""

    method: Literal["can"]
    channels: list[int] | dict[str, list[int]] = [64, 64, 32, 32]
    """of each layer of a stream's temporal encoder: one list, or by stream"""
    kernel: int = Field(5, ge=1)
    skip: bool = True
    """a linear path from the streams to the answer beside the network, not in the paper"""


class PkdotRecipe(FeatureRecipe):
    """pkdot."""

    method: Literal["pkdot"]
    privileged: str = "audio"
    """the stream that training has and prediction has not"""
    teachers: list[str] = []
    """more privileged streams, a teacher each; a batch learns from the one that does best"""
    weight: float = Field(0.6, ge=0)
    """lambda of the structural loss; 0 is the student alone"""
    anchors: Literal["top", "bottom", "random"] = "top"
    neighbours: int = Field(30, ge=1)
    """k: anchors of a clip among the batch; a smaller batch has fewer"""
    exclude_self: bool = True
    index_aware: bool = False
    """compare each clip's own similarities (mean square) instead of clouds of them"""
    epsilon: float = Field(0.01, gt=0)
    """entropic regularisation of the transport"""
    hallucination: list[int] = [64, 32, 64]
    """widths of the layers that regress the privileged features"""
    heads: int = Field(2, ge=1)
    layers: int = Field(1, ge=1)
    skip: bool = True
    """a linear path from the streams to the answer beside the network, not in the paper"""

    @property
    def training_only(self) -> tuple[str, ...]:
        """The streams that predicting does without."""
        return (self.privileged, *self.teachers)


class SubjectMsdaRecipe(Adapting, FeatureRecipe):
    """subject-msda on tracks; on pictures see `picture_recipes.SubjectMsdaPictures`."""

    method: Literal["subject-msda"]
    noise: float = Field(0.3, ge=0)
    """of the other view: deviation of what is added to standardised features"""

    @model_validator(mode="after")
    def _a_clip_at_a_time(self) -> SubjectMsdaRecipe:
        if self.drop_stream:
            raise ValueError(f"subject-msda has no streams to drop: drop_stream {self.drop_stream}")
        if self.per_step is not None:
            raise ValueError("subject-msda reads what a clip is on the whole: leave out per_step")
        if self.task == "values" and self.pseudo_labels:
            raise ValueError("pseudo_labels are classes: with task values give false")
        return self


TrackRecipe = (
    ConcatRecipe
    | LinearRecipe
    | JcaRecipe
    | JmtRecipe
    | LfanRecipe
    | CanRecipe
    | PkdotRecipe
    | SubjectMsdaRecipe
)
