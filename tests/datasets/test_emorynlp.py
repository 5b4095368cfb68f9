import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textualize.datasets import load_dataset
from textualize.errors import TextualizeError

HEADER = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Sentiment\n"
ROWS = (
    '"Yeah.","[\'Anna Bell\']",Joyful,2,2,1,3,positive\n'
    '"It’s, well, so.","[\'Anna Bell\', ""Ben O\'Hill""]",Neutral,2,1,1,3,neutral\n'
    "\"Yeah.\",['Carl'],Mad,10,1,1,3,negative\n"
)


def test_scenes_are_groups_with_context_in_order(tmp_path):
    (tmp_path / "emorynlp_train_final.csv").write_text(HEADER + ROWS, "utf-8")
    (tmp_path / "emorynlp_dev_final.csv").write_text(HEADER + ROWS.replace(",1,3,", ",2,3,"))
    listing = load_dataset("emorynlp", tmp_path)
    assert not listing.failures and listing.labels.name == "emory7"
    first, second, third, *dev = listing.clips
    assert (first.id, first.label) == ("train_s01_e03_c02_utt1", "neutral")
    assert first.transcript == "It's, well, so." and first.subject == "Anna Bell, Ben O'Hill"
    assert [u.text for u in second.context] == [first.transcript] and second.label == "joyful"
    assert third.group == "s01_e03_c10" and third.context == ()
    assert {c.split for c in dev} == {"validation"} and dev[0].group == "s02_e03_c02"
    assert "2 of 6 utterances had curly quotes or ellipses: normalised" in listing.notes


def test_rows_that_cannot_be_used_are_listed(tmp_path):
    wrong = "a,[1,Joyful,1,1,1,1,x\nb,['X'],Glad,1,2,1,1,x\nc,['X'],Sad,1,,1,1,x\nd,['X']\n"
    again = ROWS.splitlines()[0] + "\n"
    (tmp_path / "emorynlp_test_final.csv").write_text(HEADER + ROWS + wrong + again, "utf-8")
    listing = load_dataset("emorynlp", tmp_path)
    assert len(listing.clips) == 3
    assert [f.clip for f in listing.failures] == [f"test_row{n}" for n in (5, 6, 7, 8, 9)]
    assert "given twice" in listing.failures[-1].error


def test_other_files_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no EmoryNLP split file"):
        load_dataset("emorynlp", tmp_path)
    (tmp_path / "emorynlp_train_final.csv").write_text("Utterance,Speaker\na,b\n")
    with pytest.raises(TextualizeError, match="has no column Emotion, Season"):
        load_dataset("emorynlp", tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_reading_is_total(tmp_path, data):
    path = tmp_path / "emorynlp_train_final.csv"
    path.write_bytes((HEADER + ROWS).encode() + data)
    try:
        assert load_dataset("emorynlp", tmp_path).clips
    except TextualizeError as error:
        assert "\n" not in str(error)
