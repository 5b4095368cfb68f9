"""What the service takes and gives, field by field; a field it would ignore is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from textualize.types import Modality, State

Name = Annotated[str, Field(min_length=1, max_length=200)]
MOST_CUES = 256
MOST_ITEMS = 256


class Taken(BaseModel):
    """A request's part: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class GivenCue(Taken):
    """One sentence on face, voice or words."""

    modality: Literal["face", "speech", "prosody"]
    text: str = Field(min_length=1, max_length=4000)
    state: State = "observed"

    @property
    def sense(self) -> Modality:
        """Its modality, typed."""
        return self.modality


class Turn(Taken):
    """Something said before the clip or after it."""

    text: str = Field(min_length=1, max_length=20_000)
    speaker: str = Field("", max_length=200)


class Asks(Taken):
    """What every way of asking for an emotion may say."""

    model: Name | None = Field(None, description="the run's name; the first where none is given")
    explain: bool = Field(False, description="tell what each cue contributes")
    tokens: bool = Field(False, description="tell the prompt's token ids")


class EmotionRequest(Asks):
    """A clip in words: its cues, its transcript, or both."""

    id: str = Field("", max_length=200, description="given back with the answer")
    transcript: str | None = Field(None, max_length=200_000)
    cues: list[GivenCue] | None = Field(None, max_length=MOST_CUES)
    context: list[Turn] = Field([], max_length=50, description="turns before it, oldest first")
    following: list[Turn] = Field([], max_length=50, description="turns after it, the next first")

    @model_validator(mode="after")
    def _says_something(self) -> EmotionRequest:
        if self.transcript is None and not self.cues:
            raise ValueError("give a transcript, cues, or both")
        if self.transcript is not None and any(c.modality == "speech" for c in self.cues or ()):
            raise ValueError("words are given twice: as transcript and as speech cues")
        return self


class BatchRequest(Taken):
    """Several clips at once."""

    items: list[EmotionRequest] = Field(min_length=1, max_length=MOST_ITEMS)


class Contribution(BaseModel):
    """How much the label's probability, and its logarithm, fall without one piece."""

    what: str
    cue: str
    change: float
    log_change: float


class EmotionAnswer(BaseModel):
    """A label, always one of the run's, and what it rests on."""

    id: str
    model: str
    label: str
    probabilities: dict[str, float]
    prompt: str = Field(description="exactly what the model read, before its chat template")
    template_digest: str
    prompt_tokens: int
    prompt_cut: str = Field(description="what a prompt that was too long has lost")
    notes: list[str]
    token_ids: list[int] | None = None
    contributions: list[Contribution] | None = None


class ErrorDetail(BaseModel):
    """What was wrong, in one line."""

    message: str
    type: str


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class ItemError(ErrorBody):
    """One clip of a batch that could not be answered."""

    id: str


class BatchAnswer(BaseModel):
    """One answer or error a clip, in the order asked."""

    answers: list[EmotionAnswer | ItemError]


class Health(BaseModel):
    """Whether requests are answered now."""

    status: Literal["ok", "down"]
    engine: str
    models: list[str]
