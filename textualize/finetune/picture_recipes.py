"""The recipes of the methods that read pictures, a class each on top of `PictureRecipe`.

A network takes the keys it needs by their name here, see `baselines/pictured.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from textualize.finetune.feature_recipes import NetworkRecipe
from textualize.finetune.options import Options
from textualize.finetune.subject_recipes import Adapting


class AugmentOptions(Options):
    """How far pictures are moved in training at most, all of a piece alike."""

    flip: float = Field(0.5, ge=0, le=1)
    """chance of the mirror image"""
    rotation: float = Field(10.0, ge=0, le=180)
    """degrees"""
    zoom: float = Field(0.15, ge=0, le=1)
    """share by which a picture is enlarged"""
    shift: float = Field(0.05, ge=0, le=0.5)
    """share of the side"""
    light: float = Field(0.2, ge=0, le=0.9)
    """share by which brightness and contrast change"""


class PictureRecipe(NetworkRecipe):
    """What every method has that reads pictures."""

    pictures: str = "crops"
    """a track of pixels (crops: `extract --sensors mediapipe:crops=112`), or "file": the clips'
    own videos or images, of which only what is wanted is decoded"""
    cut: Literal["face", "middle"] = "face"
    """of a file: the square around the face (track "face"), or the largest in the middle"""
    size: int = Field(112, ge=8, le=1024)
    """side of a picture in pixels"""
    rate_hz: float = Field(10.0, gt=0)
    """of a file: pictures a second"""
    frames: int = Field(16, ge=1)
    """pictures of a piece, which is what a training step sees of a clip"""
    most: int = Field(999, ge=1)
    """pictures read of a clip at most"""
    augment: AugmentOptions | None = AugmentOptions()
    """null: training sees pictures as they are"""
    workers: int = Field(0, ge=0)
    """threads that read clips side by side; they change no result"""
    batch_size: int = Field(16, ge=1)


class StochasticSoftmaxRecipe(PictureRecipe):
    """stochastic-softmax."""

    method: Literal["stochastic-softmax"]
    beta: float = Field(1.0, ge=0)
    """inverse temperature: 0 pools by the mean and draws evenly"""
    sampling: Literal["softmax", "uniform"] = "softmax"
    """uniform draws pieces evenly and pools alike: the control"""
    warm_up: int = Field(3, ge=0)
    """visits of a video that are drawn evenly, without a score"""
    exploration: int = Field(5, ge=1)
    """visits after these that are spread over the video"""
    backbone: str = "small"
    """small, from scratch; folder or hub id of a vision model of transformers; dmsn-a, -b, -c"""
    width: int = Field(16, ge=4)
    """channels of the first stage of small, of four; of dmsn's stem"""
    backbone_rate: float = Field(1.0, ge=0, le=1)
    """share of the learning rate the backbone learns at; 0.005 as published, of pretrained ones"""
    padding: Literal["replicate", "zeros"] = "replicate"
    """before the first and after the last picture; zeros as released"""
    hidden: int = Field(128, ge=4)
    dropout: float = Field(0.5, ge=0, lt=1)


class DmsnRecipe(PictureRecipe):
    """dmsn, a reconstruction."""

    method: Literal["dmsn"]
    block: Literal["a", "b", "c", "msn"] = "c"
    """multiscale over time, both, or space; msn is the control that is not decomposed"""
    depth: Literal["shallow", "deep"] = "shallow"
    """blocks of the stages: [2, 2, 2, 2] or [3, 4, 6, 3]"""
    stem: int = Field(64, ge=16, multiple_of=16)
    """channels of the first layer; the stages have 2, 4, 8 and 16 times as many"""
    multiscale: bool = True
    """false: three kernels of 3 in place of 3, 5 and 7"""
    hidden: int = Field(512, ge=4)
    """of the layers before values; classes have none"""
    dropout: float = Field(0.5, ge=0, lt=1)


class AuGuidedRecipe(PictureRecipe):
    """au-guided."""

    method: Literal["au-guided"]
    weight: float = Field(4.0, ge=0)
    """lambda of the alignment of attention with the map; 0 classifies only"""
    layers: list[int] = Field([-1], min_length=1)
    """layers whose attention is aligned: 1 the first, -1 the last"""
    criterion: Literal["cosine", "standardised_cosine", "l1", "l2", "kl", "log_barrier"] = "cosine"
    codebook: Literal["facs", "as_released"] = "facs"
    """which action units an emotion has and how they are drawn; the release slips in places"""
    relative: bool = True
    """lengths by the distance of the eyes; false: of the picture's side, as published"""
    actions: dict[str, list[int]] = {}
    """label -> its action units: for labels that are no emotions, or in the codebook's place"""
    shuffled: bool = False
    """draw the maps of training on another picture's landmarks: the control"""
    backbone: str = "small"
    """small, from scratch; or the folder or hub id of a vision model of transformers"""
    width: int = Field(16, ge=4)
    """channels of the first stage of small, of four"""
    large_maps: bool = True
    """of a ResNet: the last two stages keep the size they are given"""
    frames: int = Field(1, ge=1)
    """pictures of a piece, which is what a training step sees of a clip"""
    dropout: float = Field(0.0, ge=0, lt=1)


class SubjectMsdaPictures(Adapting, PictureRecipe):
    """subject-msda with the key `pictures`; without it see `feature_recipes.SubjectMsdaRecipe`."""

    method: Literal["subject-msda"]
    backbone: str = "small"
    """small, from scratch; folder or hub id of a vision model of transformers; dmsn-a, -b, -c"""
    width: int = Field(16, ge=4)
    """channels of the first stage of small, of four; of dmsn's stem"""
    backbone_rate: float = Field(1.0, ge=0, le=1)
    """share of the learning rate the backbone learns at; 0.1 as published, of pretrained ones"""
    frames: int = Field(1, ge=1)
    """pictures of a piece, which is what a training step sees of a clip"""
    hidden: int = Field(128, ge=4)
    dropout: float = Field(0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _classes_of_their_own(self) -> SubjectMsdaPictures:
        if self.task == "values" and self.pseudo_labels:
            raise ValueError("pseudo_labels are classes: with task values give false")
        return self


PictureAnyRecipe = StochasticSoftmaxRecipe | DmsnRecipe | AuGuidedRecipe | SubjectMsdaPictures
