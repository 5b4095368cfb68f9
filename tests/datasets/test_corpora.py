from pathlib import Path
from typing import Literal

import pytest

from textualize import datasets
from textualize.datasets import DATASETS, Listing, dataset_options, load_dataset
from textualize.errors import TextualizeError


@pytest.fixture
def told(monkeypatch):
    """A corpus whose loader remembers what it was told."""
    given: dict[str, object] = {}

    def load(
        root: Path,
        *,
        kind: Literal["a", "b"] = "a",
        other: bool = True,
        most: int = 3,
        columns: Path | None = None,
        speaker: str = "",
    ) -> Listing:
        given.update(kind=kind, other=other, most=most, columns=columns, speaker=speaker)
        return Listing((), None)

    monkeypatch.setattr(datasets, "told", load, raising=False)
    monkeypatch.setattr(datasets, "DATASETS", {**DATASETS, "told": "textualize.datasets:told"})
    return given


def test_options_reach_the_loader_in_its_types(told):
    load_dataset("told", "")
    assert told == {"kind": "a", "other": True, "most": 3, "columns": None, "speaker": ""}
    text = {"kind": "b", "other": "FALSE", "most": "7", "columns": "a.yaml", "speaker": "Anna"}
    load_dataset("told", "", text)
    assert told == {
        "kind": "b", "other": False, "most": 7, "columns": Path("a.yaml"), "speaker": "Anna",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("kind", "c", "option kind should be a or b; given 'c'"),
        ("other", "yes", "option other should be true or false; given 'yes'"),
        ("most", "x", "option most should be a whole number; given 'x'"),
        ("kinds", "a", "did you mean kind"),
        ("root", "/", "no option of dataset 'told' named 'root'"),
    ],
)
def test_a_wrong_option_is_one_line(told, option, value, error):
    with pytest.raises(TextualizeError, match=error) as raised:
        load_dataset("told", "", {option: value})
    assert "\n" not in str(raised.value)


def test_a_corpus_without_options_says_so(tmp_path):
    with pytest.raises(TextualizeError, match="dataset 'demo' takes no options"):
        load_dataset("demo", tmp_path, {"a": "b"})


@pytest.mark.parametrize("name", DATASETS)
def test_every_corpus_can_be_loaded_and_lists_its_options(name):
    assert all("default" in text for text in dataset_options(name).values())


def test_unknown_and_empty_corpora_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="did you mean meld"):
        load_dataset("melt", tmp_path)
    for name, said in {
        "meld": "no MELD split file",
        "emorynlp": "no EmoryNLP split file",
        "mosi": "no CMU-MOSI split file",
        "mmmo": "no ICT-MMMO file",
        "ravdess": "no RAVDESS takes",
    }.items():
        with pytest.raises(TextualizeError, match=said):
            load_dataset(name, tmp_path)
