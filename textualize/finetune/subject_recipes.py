"""What both recipes of subject-msda have, whether it reads tracks or pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from textualize.finetune.options import Options


class Adapting(Options):
    """How people are made alike, and how the one adapted to is learned without labels."""

    discrepancy: Literal["mmd", "coral"] = "mmd"
    weight: float = Field(0.1, ge=0)
    """gamma: of the discrepancy between two subjects that are learned from; the paper's"""
    target_weight: float = Field(1.0, ge=0)
    """of the discrepancy to the subject adapted to; the paper's is not known"""
    pseudo_labels: bool = True
    """learn the own answers to the subject adapted to where they are sure"""
    threshold: float = Field(0.9, ge=0, le=1)
    """the sureness asked for at first"""
    fall: float = Field(0.02, ge=0, le=1)
    """what is taken off it every so many epochs"""
    every: int = Field(20, ge=1)
    """epochs until pseudo-labels are made again, of all clips adapted to"""
    align: int = Field(0, ge=0)
    """epochs of adapting by the discrepancy alone, before pseudo-labels; not in the paper"""
    agreement: bool = True
    """ask both views of a clip for the same class, not in the paper"""
    choose: Literal["source", "information", "oracle"] = "source"
    """the epoch of adapting: by the validation score, which is of other people, or by the mutual
    information between the clips adapted to and the answers to them; oracle: by the labels of these
    clips, to tell what choosing costs. It is no rival of other methods and reported apart"""
    sources: int | None = Field(None, ge=2)
    """adapt from so many subjects, those most alike the one adapted to; null: from all"""
    rank: Literal["mmd", "cosine"] = "mmd"
    """what alike means: the discrepancy of features, or the cosine of their means"""

    @property
    def adapts(self) -> bool:
        """Whether it reads clips of the people it is for, without their labels."""
        return True

    @property
    def oracle(self) -> bool:
        """Whether its epochs are chosen with the labels of the people it is for."""
        return self.choose == "oracle"
