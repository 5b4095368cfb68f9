import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.datasets.labelling import labelling, plain
from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS, label_set

SPELLINGS = (str.upper, str.title, str.lower, lambda x: x.replace(" ", "-"),
             lambda x: x.title().replace(" ", "_"), lambda x: f"  {x} ")  # fmt: skip


@given(
    st.sampled_from(sorted(LABEL_SETS)), st.lists(st.sampled_from(SPELLINGS), min_size=8),
    st.booleans(),
)  # fmt: skip
def test_every_spelling_becomes_the_sets_own(name, spellings, given_set):
    known = label_set(name)
    written = {s(x): x for x, s in zip(known.labels, spellings, strict=False)}
    found = labelling(dict.fromkeys(written, 1), known if given_set else None)
    assert found.values == written and found.problems == {}
    assert found.labels.labels == known.labels  # the shipped order, from labels in any order


def test_own_labels_keep_their_spelling_and_merge_into_the_most_frequent():
    found = labelling({"Bored": 3, "bored": 1, "On-Edge": 1, "on edge": 1})
    assert found.values == {
        "Bored": "Bored", "bored": "Bored", "On-Edge": "On-Edge", "on edge": "On-Edge",
    }  # fmt: skip
    assert found.labels.labels == ("Bored", "On-Edge")
    assert found.notes == ("labels respelled: bored -> Bored, on edge -> On-Edge",)
    assert labelling({"Bored": 3}).notes == ()


def test_a_part_of_a_shipped_set_takes_its_spelling_but_not_its_absent_labels():
    found = labelling({"Sadly-Angry": 1, "happily_surprised": 2})
    assert found.labels.labels == ("happily surprised", "sadly angry")


@given(st.dictionaries(st.text(max_size=4), st.integers(1, 3), max_size=5), st.randoms())
def test_the_order_of_the_rows_changes_nothing(written, random):
    def outcome(given):
        try:
            return labelling(given)
        except TextualizeError as error:
            return str(error)

    mixed = list(written.items())
    random.shuffle(mixed)
    assert outcome(written) == outcome(dict(mixed))


@pytest.mark.parametrize("written", [("0.5", "-2"), ("-1", "1"), ("1e-1", "3"), ("2.0",)])
def test_numbers_that_are_no_class_ids_are_scores(written):
    found = labelling(dict.fromkeys(written, 1))
    assert found.labels is None
    assert found.values == {x: float(x) for x in written}
    assert "labels are numbers" in found.notes[0]


def test_whole_numbers_are_not_guessed_at():
    with pytest.raises(TextualizeError, match=r"whole numbers \(0, 2, 10\).*label_kind: number"):
        labelling({"10": 1, "0": 4, "2": 1})
    with pytest.raises(TextualizeError, match="class ids need their names"):
        labelling({"0": 1}, kind="class")
    assert labelling({"0": 1, "2": 1}, kind="number").values == {"0": 0.0, "2": 2.0}


def test_what_is_no_label_has_a_reason():
    scores = labelling({"1": 1, "high": 1, "1e999": 1}, kind="number")
    assert scores.values == {"1": 1.0} and set(scores.problems) == {"high", "1e999"}
    ids = labelling({"3": 1, "fear": 1, "angst": 1}, label_set("basic7"))
    assert ids.values == {"fear": "fear"}
    assert "class ids need their names" in ids.problems["3"]
    assert "'angst' is not in label set 'basic7'" in ids.problems["angst"]


def test_a_label_of_dashes_keeps_its_spelling():
    assert plain("--") == "--"
    assert labelling({}).labels is None
