import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.labels import BASIC, CODINGS, LABEL_SETS, coding, label_set, labels_of, to_basic


@pytest.mark.parametrize("name", CODINGS)
def test_every_coding_goes_both_ways(name):
    one = coding(name)
    assert sorted(one.codes.values()) == sorted(one.labels.labels)
    for label in one.labels.labels:
        assert one.label(one.code(label)) == label
    for code in one.codes:
        assert one.code(one.label(code)) == code
    with pytest.raises(TextualizeError, match=f"{name} has no label 'bored'"):
        one.label("bored")
    with pytest.raises(TextualizeError, match="is not in label set"):
        one.code("bored")


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("meld-text-models", "anger disgust fear joy neutral sadness surprise"),
        ("meld-feature-models", "neutral joy surprise fear anger disgust sadness"),
        ("raf-db", "neutral happiness surprise fear anger disgust sadness"),
    ],
)
def test_class_ids_of_the_published_systems(name, order):
    assert [coding(name).label(i) for i in range(7)] == order.split()


def test_ids_and_folders_of_c_expr_db():
    labels = "fearfully happily sadly disgustedly angrily".split()
    expected = [f"{x} surprised" for x in labels] + ["sadly fearful", "sadly angry", "other"]
    assert [coding("c-expr-db").label(i) for i in range(8)] == expected
    assert coding("c-expr-db-names").code("sadly angry") == "Sadly-Angry"
    assert label_set("compound8").labels[:7] == label_set("compound7").labels


def test_ids_of_ravdess():
    names = "neutral calm happy sad angry fearful disgust surprised".split()
    assert [coding("ravdess").label(f"0{i}") for i in range(1, 9)] == names


@given(st.sampled_from(sorted(LABEL_SETS)), st.randoms())
def test_a_shipped_set_is_known_by_its_labels_in_any_order(name, random):
    shuffled = list(LABEL_SETS[name].labels)
    random.shuffle(shuffled)
    assert labels_of([*shuffled, None]) is LABEL_SETS[name]


def test_every_corpus_names_the_same_basic_emotions():
    for name in ("meld7", "basic7"):
        assert {to_basic(x) for x in LABEL_SETS[name].labels} == {"neutral", *BASIC}
    ravdess = {x: to_basic(x) for x in LABEL_SETS["ravdess8"].labels}
    assert ravdess.pop("calm") is None and set(ravdess.values()) == {"neutral", *BASIC}
    emory = {x: to_basic(x) for x in LABEL_SETS["emory7"].labels}
    assert [x for x, basic in emory.items() if basic is None] == ["peaceful", "powerful"]
    assert to_basic("sadly angry") is None


def test_an_unknown_coding_is_one_line():
    with pytest.raises(TextualizeError, match="did you mean meld-text-models"):
        coding("meld-text-model")
