"""Arrays of features: each container gives back what was put in; pickles are refused."""

from __future__ import annotations

import csv
import pickle  # noqa: TID251 - what must be refused has to be made
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from textualize.errors import TextualizeError
from textualize.extract.imports.array_files import array_names, read_array
from textualize.extract.imports.arrays import AudioFeatures, TextFeatures, VisualFeatures
from textualize.extract.sensor import Reading
from textualize.extract.sensor import read as read_clip
from textualize.extract.video import open_media
from textualize.types import Clip, Span

VALUES = np.arange(24, dtype=np.float32).reshape(2, 4, 3)  # two clips of four steps of three


def read(given_: str | Path, span: Span | None = None, **options: Any) -> Reading:
    clip = Clip("clip", None, span, sidecars={"features-visual": str(given_)})
    return read_clip(VisualFeatures(**options), open_media(clip))


def containers(folder: Path) -> dict[str, str]:
    """Write VALUES[1] in every way and return how a sidecar names it."""
    import h5py
    import pyarrow
    import pyarrow.parquet

    np.save(folder / "one.npy", VALUES[1])
    np.save(folder / "all.npy", VALUES)
    np.savez(folder / "all.npz", vision=VALUES, b=VALUES[1])
    save_file({"vision": VALUES}, folder / "all.safetensors")
    with h5py.File(folder / "all.h5", "w") as stored:
        stored["set/d1"] = VALUES
    lines = ["clip,f0,f1,f2"]
    lines += [f"{k},{','.join(map(str, row))}" for k, i in ("a0", "b1") for row in VALUES[int(i)]]
    (folder / "all.csv").write_text("\n".join(lines))
    (folder / "bare.csv").write_text("\n".join(",".join(map(str, row)) for row in VALUES[1]))
    table = pyarrow.table(
        {"clip": ["a"] * 4 + ["b"] * 4, "vector": [row.tolist() for row in VALUES.reshape(8, 3)]}
    )
    pyarrow.parquet.write_table(table, folder / "all.parquet")
    return {
        "npy": "one.npy", "npy row": "all.npy#[1]", "npz": "all.npz#b",
        "npz row": "all.npz#vision[1]",
        "safetensors": "all.safetensors#vision[1]", "h5": "all.h5#set/d1[1]", "alone": "all.h5#[1]",
        "csv": "all.csv#b", "bare csv": "bare.csv", "parquet": "all.parquet#b",
    }  # fmt: skip


def test_every_container_gives_back_what_was_put_in(tmp_path: Path) -> None:
    for what, name in containers(tmp_path).items():
        assert read_array(str(tmp_path / name)).tolist() == VALUES[1].tolist(), what
        cut = read_array(f"{tmp_path / name}{'' if '#' in name else '#'}[0:-1]")
        assert cut.tolist() == VALUES[1][:, :-1].tolist(), what


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(width=32, allow_infinity=False), min_size=2, max_size=2),
                min_size=1, max_size=5))  # fmt: skip
def test_any_numbers_survive(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    values = np.array(rows, np.float32)
    np.save(folder / "a.npy", values)
    (folder / "a.csv").write_text("\n".join(",".join(repr(float(v)) for v in r) for r in values))
    for name in ("a.npy", "a.csv"):
        np.testing.assert_array_equal(read_array(str(folder / name)).astype(np.float32), values)


def test_rows_are_spread_over_the_clip_or_follow_a_rate(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES[0])
    track = read(tmp_path / "a.npy", Span(2.0, 4.0)).tracks["visual"]
    assert (track.rate_hz, track.start, track.unit) == (2.0, 2.0, "embedding")
    assert track.values.tolist() == VALUES[0].tolist() and track.source == "features-visual"
    fixed = read(tmp_path / "a.npy", Span(2.0, 4.0), rate_hz=1, track="gaze").tracks["gaze"]
    assert fixed.values.tolist() == VALUES[0][2:].tolist() and fixed.start == 2.0
    kept = read(tmp_path / "a.npy", columns="1:").tracks["visual"]
    assert kept.values.tolist() == VALUES[0][:, 1:].tolist()
    with pytest.raises(TextualizeError, match="ends after 4.00 s, before clip 'clip' begins"):
        read(tmp_path / "a.npy", Span(9.0, 10.0), rate_hz=1)


def test_each_kind_of_feature_has_its_sensor(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES[0])
    for sensor in (VisualFeatures(), AudioFeatures(), TextFeatures()):
        clip = Clip("c", None, sidecars={sensor.name: str(tmp_path / "a.npy")})
        assert list(read_clip(sensor, open_media(clip)).tracks) == [sensor.modality]


def test_real_sequences_in_hdf5(assets: Path) -> None:
    import h5py

    path = assets / "data/mfn_sequences/mmmo/audio_valid.h5"
    with h5py.File(path) as stored:
        wanted = np.asarray(stored["d1"][7], np.float32)
    track = read(f"{path}#d1[7]", Span(0.0, 20.0)).tracks["visual"]
    np.testing.assert_array_equal(track.values, wanted)
    assert track.values.shape == (20, 74) and track.rate_hz == 1.0
    with pytest.raises(TextualizeError, match=r"shape \(40, 20, 74\).*audio_valid.h5#d1\[0\]"):
        read(f"{path}#d1")
    with pytest.raises(TextualizeError, match=r"no row 40: its shape"):
        read(f"{path}#d1[40]")


def test_real_utterance_features_by_row_number(assets: Path) -> None:
    path = assets / "data/mosi_utterance/audio/audio_train0.csv"
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    values = read(f"{path}#39[0:-1]").tracks["visual"].values
    assert values.shape == (1, 73)
    assert values[0] == pytest.approx([float(c) for c in rows[39][:-1]], rel=1e-6)
    with pytest.raises(TextualizeError, match="no header and 1447 rows: name one by number"):
        read(f"{path}#0lsjdk")


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.pt", "a.pth"])
def test_pickles_are_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(TextualizeError, match="looks like a pickle.*numpy.savez"):
        read(tmp_path / name)


def test_pickles_inside_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(TextualizeError, match="holds Python objects.*numpy.savez"):
        read(tmp_path / "a.npy")


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.savez(tmp_path / "two.npz", a=VALUES[0], b=VALUES[1])
    np.save(tmp_path / "inf.npy", np.array([[1.0], [np.inf]]))
    np.save(tmp_path / "nan.npy", np.full((2, 2), np.nan))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "cut.h5").write_bytes(b"not hdf5")
    (tmp_path / "cut.parquet").write_bytes(b"no")
    (tmp_path / "odd.csv").write_text("1,2\n3\n")
    (tmp_path / "bad.csv").write_text("clip,f0\na,1\nb,x\n")
    for given_, says in {
        "text.npy": "holds <U1, expected numbers",
        "two.npz": "no array ''; it has 2: a, b",
        "two.npz#c": "no array 'c'",
        "inf.npy": "row 1 is infinite",
        "cut.npz": "cannot be read as .npz",
        "cut.h5": "cannot be read as .h5",
        "cut.parquet": "cannot be read as .parquet",
        "odd.csv": "odd.csv:2: 1 cells where the first row has 2",
        "bad.csv#b": "bad.csv:3: column 'f0': 'x' is not a number",
        "bad.csv": "holds several clips; name one: bad.csv#a",
        "none.npy": "cannot read",
        "a.mat": "must end in one of",
    }.items():
        with pytest.raises(TextualizeError) as caught:
            read(tmp_path / given_)
        assert says in str(caught.value) and "\n" not in str(caught.value)
    assert read(tmp_path / "nan.npy").status.state == "absent"


def test_a_file_says_what_in_it_may_be_clips(tmp_path: Path) -> None:
    containers(tmp_path)
    names = {p: list(dict.fromkeys(array_names(tmp_path / p)))
             for p in ("all.npz", "all.csv", "all.parquet", "bare.csv", "one.npy")}  # fmt: skip
    assert names["all.npz"] == ["vision", "b"] and names["all.csv"] == ["a", "b"]
    assert names["all.parquet"] == ["a", "b"] and names["bare.csv"] == names["one.npy"] == []
