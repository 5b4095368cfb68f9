import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.datasets.typography import CURLY, Typography, read_text

WRITTEN = st.text(st.sampled_from(["a", "Z", "é", "—", " ", *CURLY]), max_size=30)


@given(WRITTEN)
def test_a_wrong_decoding_gives_the_same_text(text):
    right = Typography().plain(text)
    assert Typography().plain(text.encode().decode("latin-1")) == right
    assert not set(right) & set(CURLY)


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_more(text):
    once = Typography().plain(text)
    counted = Typography()
    assert counted.plain(once) == once and not +counted.found


def test_each_oddity_is_counted_once_a_text():
    counted = Typography()
    for text in ("It’s ‘so’", "It\x92s", "plain", "donâ€™t"):
        counted.plain(text)
    assert counted.notes("lines") == [
        "1 of 4 lines had text that was decoded twice: normalised",
        "1 of 4 lines had Windows-1252 punctuation as control characters: normalised",
        "1 of 4 lines had curly quotes or ellipses: normalised",
    ]


@pytest.mark.parametrize(("encoding", "said"), [("utf-8-sig", ""), ("cp1252", "is not UTF-8")])
def test_a_file_of_another_encoding_is_read_and_said(tmp_path, encoding, said):
    (tmp_path / "a.csv").write_bytes("It’s".encode(encoding))
    text, note = read_text(tmp_path / "a.csv")
    assert text == "It’s" and said in note and bool(said) == bool(note)
