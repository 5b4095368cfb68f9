"""What each modality adds: the methods of a suite again on transcript, face and voice alone or two.

T, V and A are the transcript, the face and the voice, of words by the recipe key `modalities`, of
features by the tracks of a recipe's groups (text, visual, audio).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from textualize.errors import TextualizeError
from textualize.evaluate.findings import Ablated
from textualize.finetune.options import Recipe
from textualize.methods import entry

LETTERS = "TVA"
_STREAMS = {"text": "T", "visual": "V", "audio": "A"}
_PAIRED = ("jca", "jmt", "pkdot")  # fuse two streams and have nothing to say of one


class Ablation(BaseModel):
    """The suite key `ablation`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sets: list[str] = Field(["T", "V", "A", "TV", "TA", "VA", "TVA"], min_length=1)
    """modalities each method is trained on; a set its recipe reads anyway is trained once"""
    methods: list[str] | None = None
    """of the suite's; by default all that read words or tracks"""
    tracks: dict[str, list[str]] = {}
    """T, V or A -> tracks, where the recipes' groups do not say of what a track is"""


def ablated(
    spec: Ablation, recipes: Mapping[str, Recipe], say: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, Recipe], tuple[Ablated, ...]]:
    """Return the recipes to train beside the suite's, by name, and what each is an ablation of.

    What a method cannot be trained on is told through `say`.

    Raises:
        TextualizeError: an unknown set or method, or a track of unknown modality.
    """
    wrong = [s for s in spec.sets if not s or set(s) - set(LETTERS) or len(set(s)) < len(s)]
    if wrong:
        raise TextualizeError(f"ablation set '{wrong[0]}' is not of T, V and A, each at most once")
    strange = sorted(set(spec.methods or ()) - recipes.keys())
    if strange:
        raise TextualizeError(f"ablation of '{strange[0]}', which is not among methods")
    of_track = {t: letter for letter, own in spec.tracks.items() for t in own}
    for recipe in recipes.values():
        for stream, own in getattr(recipe, "groups", {}).items():
            of_track = {t: _STREAMS.get(stream, "") for t in own} | of_track
    found: dict[str, Recipe] = {}
    told: list[Ablated] = []
    for name, recipe in recipes.items():
        if spec.methods is not None and name not in spec.methods:
            continue
        read = _read(name, recipe, of_track)
        for letters in ["".join(x for x in LETTERS if x in s) for s in spec.sets] if read else ():
            if letters == read:
                told.append(Ablated(name, letters, name))
            elif set(letters) - set(read):
                say(f"{name}: not trained on {letters}, its recipe reads {read}")
            elif (smaller := _on(recipe, letters, of_track)) is None:
                say(f"{name}: not trained on {letters}, it fuses two streams")
            else:
                found[f"{name}-{letters}"] = smaller
                told.append(Ablated(name, letters, f"{name}-{letters}"))
    return found, tuple(told)


def _read(name: str, recipe: Recipe, of_track: Mapping[str, str]) -> str:
    """The modalities a recipe reads, in the order T, V, A; empty where it reads nothing."""
    if entry(recipe.method).reads == "nothing":
        return ""
    if hasattr(recipe, "modalities"):
        return str(recipe.modalities)
    tracks: Sequence[str] = getattr(recipe, "tracks", ())
    unknown = [t for t in tracks if of_track.get(t, "") not in set(LETTERS)]
    if unknown:
        raise TextualizeError(
            f"ablation of '{name}': of what modality is track '{unknown[0]}'? give it in the "
            "suite's ablation key 'tracks'"
        )
    return "".join(x for x in LETTERS if x in {of_track[t] for t in tracks})


def _on(recipe: Recipe, letters: str, of_track: Mapping[str, str]) -> Recipe | None:
    """The recipe on fewer modalities; None where its method cannot do with so few streams."""
    changed: dict[str, Any] = {"modalities": letters}
    if not hasattr(recipe, "modalities"):
        tracks = [t for t in getattr(recipe, "tracks", ()) if of_track[t] in letters]
        given: Mapping[str, list[str]] = getattr(recipe, "groups", {})
        kept = {m: [t for t in own if t in tracks] for m, own in given.items()}
        groups = {m: own for m, own in kept.items() if own}
        if recipe.method in _PAIRED and len(groups) < 2:
            return None
        changed = {"tracks": tracks, "groups": groups}
    try:
        return type(recipe).model_validate({**recipe.model_dump(exclude_unset=True), **changed})
    except ValidationError as error:
        raise TextualizeError(
            f"{recipe.method} on {letters}: {error.errors()[0]['msg'].lower()}"
        ) from None
