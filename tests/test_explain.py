import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.explain import explain, without_each
from textualize.types import Clip, Prediction, Record, Span, Status, Track, Utterance


def record():
    values = np.array([[1.0, 0.25], [1.0, 0.25]], np.float32)
    aus = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
    said = (Utterance(Span(0, 1), "yes"), Utterance(Span(1, 2), "no"))
    return Record(Clip("c", None), {"aus": aus}, said, {"speech": Status("observed", "test")})


class Sum:
    """A fake method: the probability grows with what it sees."""

    labels = ("a", "b")

    def predict(self, records):
        answers = []
        for r in records:
            p = float(np.nan_to_num(r.tracks["aus"].values).sum()) / 5 + 0.1 * len(r.utterances)
            answers.append(Prediction(r.clip.id, "sum", "a", {"a": p, "b": 1 - p}))
        return answers


def test_effects_are_what_each_piece_adds_strongest_first():
    found = explain(Sum(), record())
    changes = {e.what: round(e.change, 4) for e in found.effects}
    assert changes == {"aus AU06": 0.4, "aus AU12": 0.1, 'words "yes"': 0.1, 'words "no"': 0.1}
    assert found.effects[0].what == "aus AU06"


def test_taking_away_never_changes_the_record_itself():
    whole = record()
    pieces = list(without_each(whole))
    assert len(pieces) == 4
    assert np.isfinite(whole.tracks["aus"].values).all()
    assert [len(r.utterances) for _, r in pieces[2:]] == [1, 1]


def test_taking_the_last_words_away_leaves_an_absence():
    one = Record(Clip("c", None), {}, (Utterance(Span(0, 1), "yes"),), record().status)
    ((_, without),) = without_each(one)
    assert without.status["speech"].state == "absent"


def test_an_unreadable_answer_is_an_error():
    class Mute(Sum):
        def predict(self, records):
            return [Prediction(r.clip.id, "mute", None) for r in records]

    with pytest.raises(TextualizeError, match="no readable answer"):
        explain(Mute(), record())
