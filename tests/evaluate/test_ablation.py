"""pytest tests/evaluate/test_ablation.py"""

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.evaluate.ablation import Ablation, ablated
from textualize.evaluate.findings import Ablated, Report
from textualize.evaluate.report import build_report
from textualize.evaluate.suite import Suite, run_suite
from textualize.evaluate.tables import against_one_another
from textualize.evaluate.verify import verify_report
from textualize.finetune.recipe import load_recipe
from textualize.labels import NUMBERS
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Prediction, Status, Track

NAMES = ("majority", "bag-of-words", "concat", "jca")


@pytest.fixture(scope="module")
def recipes():
    return {name: load_recipe(name) for name in NAMES}


def test_words_are_cut_by_modalities_and_features_by_tracks(recipes):
    said = []
    found, told = ablated(Ablation(), recipes, said.append)
    words = {n: r.modalities for n, r in found.items() if n.startswith("bag")}
    assert words == {f"bag-of-words-{s}": s for s in ("T", "V", "A", "TV", "TA", "VA")}
    assert found["concat-V"].tracks == ["aus"]
    assert found["concat-A"].tracks == ["prosody", "speech_rate"]
    assert Ablated("bag-of-words", "TVA", "bag-of-words") in told
    assert Ablated("concat", "VA", "concat") in told  # which is what it reads anyway
    assert not any(a.method == "majority" for a in told)
    assert "jca: not trained on V, it fuses two streams" in said
    assert "concat: not trained on TV, its recipe reads VA" in said
    assert {a.name for a in told} - set(NAMES) == set(found)


def test_letters_stand_in_one_order_and_methods_can_be_chosen(recipes):
    found, told = ablated(Ablation(sets=["VT"], methods=["bag-of-words"]), recipes)
    assert set(found) == {"bag-of-words-TV"} and [a.letters for a in told] == ["TV"]


def test_what_a_recipe_leaves_to_the_labels_is_left_to_them(recipes):
    found, _ = ablated(Ablation(sets=["V"], methods=["concat"]), recipes)
    assert recipes["concat"].resolved(NUMBERS).select == "ccc"
    assert found["concat-V"].resolved(NUMBERS).select == "ccc"


def test_tracks_of_no_group_need_a_modality(recipes):
    odd = recipes["concat"].model_copy(update={"tracks": ["aus", "laughter"], "groups": {}})
    with pytest.raises(TextualizeError, match="of what modality is track 'aus'"):
        ablated(Ablation(), {"concat": odd})
    found, _ = ablated(Ablation(tracks={"V": ["aus"], "A": ["laughter"]}), {"concat": odd})
    assert found["concat-A"].tracks == ["laughter"]


@pytest.mark.parametrize("spec", [{"sets": ["X"]}, {"sets": ["TT"]}, {"methods": ["bert"]}])
def test_unknown_sets_and_methods_are_refused(recipes, spec):
    with pytest.raises(TextualizeError, match="ablation"):
        ablated(Ablation(**spec), recipes)


def test_a_report_tables_the_ablation_and_compares_it_with_nothing(invented):
    own = {f"{n}-V": [Prediction(p.clip_id, n, p.label, p.scores) for p in invented.predictions[n]]
           for n in ("bert", "jca")}  # fmt: skip
    runs = {**invented.runs, **{f"{n}-V": invented.runs[n] for n in ("bert", "jca")}}
    told = [Ablated(n, s, f"{n}-{s}" if s == "V" else n) for n in ("bert", "jca")
            for s in ("V", "TVA")]  # fmt: skip
    report = build_report(
        invented.records, {**invented.predictions, **own}, invented.labels,
        prompts=invented.prompts, runs=runs, draws=20, ablation=told,
    )  # fmt: skip
    plain = invented.report(draws=20)
    assert report.headline == plain.headline
    assert [(d.a, d.b) for d in report.differences] == [(d.a, d.b) for d in plain.differences]
    title, head, rows = against_one_another(report)[0]
    assert "each modality" in title and head == ["method", "V", "TVA"]
    assert [r[0] for r in rows] == ["bert", "jca"]
    assert report.row("bert-V").scores["macro_f1"] == report.row("bert").scores["macro_f1"]
    assert Report.from_json(report.to_json()) == report


def test_a_suite_trains_the_smaller_sets_combines_the_best_and_verifies(tmp_path):
    corpus = Corpus.create(tmp_path / "c", None, [])
    rng = np.random.default_rng(0)
    entries = []
    for n in range(48):
        label = n % 2
        face = rng.normal(0.15 + 0.5 * label, 0.1, (6, 2)).clip(0, 1).astype(np.float32)
        track = Track(face, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
        voice = Track(rng.normal(0, 1, (60, 1)).astype(np.float32), 100.0, 0.0, ("energy_db",),
                      "named", "test")  # fmt: skip
        write_item(corpus.folder, f"f{n}", Item(Status("observed", "test"), {"aus": track}))
        write_item(corpus.folder, f"v{n}", Item(Status("observed", "test"), {"prosody": voice}))
        clip = Clip(f"c{n:02d}", None, subject=f"s{n // 8}", label=("calm", "happy")[label])
        entries.append(Entry(clip, {"face": f"f{n}", "prosody": f"v{n}"}))
    corpus.write_entries(entries)
    spec = Suite.model_validate({
        "title": "t", "methods": ["bag-of-words", "linear"], "folds": 3, "draws": 200,
        "ablation": {"sets": ["V", "A", "VA"], "methods": ["linear"]},
        "overrides": {"linear": {"tracks": ["aus", "prosody"],
                                 "groups": {"visual": ["aus"], "audio": ["prosody"]}}},
    })  # fmt: skip
    done = run_suite(spec, corpus, tmp_path / "runs", tmp_path / "report")
    report = done.report
    score = {a.letters: report.row(a.name).scores["accuracy"].value for a in report.ablation}
    assert score["V"] > 0.9 > score["A"] and score["VA"] > 0.9
    assert report.combined is not None and set(report.headline) == {"bag-of-words", "linear"}
    assert report.combined.score.value > 0.9 and len(report.combined.weights) == 3
    assert verify_report(tmp_path / "report").equal
    again = run_suite(spec, corpus, tmp_path / "runs", tmp_path / "report")
    assert again.trained == 0 and again.report.combined == report.combined
