import re

import pytest

from textualize.wording.facs import (
    AU_NAMES,
    BLENDSHAPES,
    COMPOUNDS,
    UNITS,
    clause,
    number_of,
    phrase,
    read_column,
)

NUMBERS = {*range(1, 40), 43, 45, 46, *range(51, 59), *range(61, 65)} - {3, 8}


def test_the_units_of_facs_are_named_and_easy_ones_to_swap_are_right():
    assert {int(code[2:]) for code in UNITS} == NUMBERS
    assert AU_NAMES["AU07"] == "lid tightener"
    assert AU_NAMES["AU23"] == "lip tightener"
    assert AU_NAMES["AU24"] == "lip pressor"
    assert AU_NAMES["AU26"] == "jaw drop"
    assert AU_NAMES["AU27"] == "mouth stretch"
    assert AU_NAMES["AU43"] == "eye closure"
    assert len(set(AU_NAMES.values())) == len(AU_NAMES)


@pytest.mark.parametrize("code", UNITS)
def test_a_name_and_a_clause_say_left_and_right(code):
    number = code[2:].lstrip("0")
    assert phrase((code,)).endswith(f"(AU{number})")
    assert phrase((code,), "left") == f"left {AU_NAMES[code]} (L{number})"
    assert " left" in clause((code,), "left")
    assert " right" in clause((code,), "right")
    assert clause((code,)).islower()


@pytest.mark.parametrize("codes", COMPOUNDS)
def test_a_compound_keeps_the_numbers_of_its_parts(codes):
    assert set(re.findall(r"AU\d+", phrase(codes))) == {number_of(c) for c in codes}
    assert set(codes) <= set(UNITS)
    assert COMPOUNDS[codes].name not in AU_NAMES.values()


def test_a_compound_of_more_comes_before_one_of_fewer():
    order = list(COMPOUNDS)
    assert all(
        order.index(large) < order.index(small)
        for large in order
        for small in order
        if set(small) < set(large)
    )


@pytest.mark.parametrize(
    ("column", "read"),
    [
        ("AU01", ("AU01", "")),
        ("AU1", ("AU01", "")),
        ("AU12L", ("AU12", "left")),
        ("AU12_R", ("AU12", "right")),
        ("R12", ("AU12", "right")),
        ("M51", ("M51", "")),
        ("AU12_r", ("AU12_r", "")),
        ("Lips", ("Lips", "")),
    ],
)
def test_columns_are_read_as_facs_writes_them(column, read):
    assert read_column(column) == read


def test_a_column_that_is_none_of_facs_keeps_its_name():
    assert phrase(("smirk",), "left") == "left smirk"
    assert clause(("smirk",)) == "smirk is active"


def test_blendshapes_are_of_known_units_and_named_after_the_left():
    assert set(BLENDSHAPES) <= set(UNITS)
    assert all(name.endswith("Left") for name in BLENDSHAPES.values())
