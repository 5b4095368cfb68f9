"""OpenFace tables: headers as they come, units kept, damage refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.face import openface
from textualize.extract.face.openface import OpenFaceTable, load_table
from textualize.extract.sensor import Reading
from textualize.extract.sensor import read as read_clip
from textualize.extract.video import open_media
from textualize.types import Clip, Span


def read(table: str | Path, span: Span | None = None, rate_hz: float = 29.97) -> Reading:
    clip = Clip("clip", None, span, sidecars={"openface": str(table)})
    return read_clip(OpenFaceTable(rate_hz), open_media(clip))


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def frames_table(path: Path, times: list[float], extra: str = "1.0,1") -> Path:
    header = "frame, timestamp, confidence, success, AU01_r, AU12_r, AU12_c, AU45_c"
    rows = [f"{i + 1},{t:.3f},{extra},{i / 10:.1f},1.5,1,0" for i, t in enumerate(times)]
    return write(path, [header, *rows])


def test_blank_padded_headers_of_a_real_file(assets: Path) -> None:
    reading = read(assets / "data/pyfeat/OpenFace_Test.csv")
    aus, presence = reading.tracks["aus"], reading.tracks["au_presence"]
    assert (aus.unit, presence.unit) == ("intensity", "presence")
    assert aus.values.shape == (100, 17) and presence.values.shape == (100, 18)
    assert "AU28" in presence.names and "AU28" not in aus.names and "AU45" in aus.names
    assert 0 <= np.nanmin(aus.values) and np.nanmax(aus.values) <= 5
    assert set(np.unique(presence.values)) <= {0.0, 1.0}


def test_semicolons_without_timestamps_use_the_given_rate(assets: Path) -> None:
    table = assets / "data/ravdess/au_frames/Actor_01/01-01-01-01-01-01-01.csv"
    aus = read(table).tracks["aus"]
    assert aus.values.shape == (98, 17) and aus.rate_hz == pytest.approx(29.97)
    assert aus.column("AU04")[0] == pytest.approx(1.24)
    assert read(table, rate_hz=10.0).tracks["aus"].times[-1] == pytest.approx(9.7)


def test_one_row_of_a_corpus_table(assets: Path) -> None:
    table = assets / "data/ravdess/clip_au35_mfcc259_actors01-16.csv"
    reading = read(f"{table}#01-01-01-01-01-01-01", Span(0.0, 3.0))
    aus = reading.tracks["aus"]
    assert aus.values.shape == (1, 17) and aus.unit == "intensity"
    assert aus.column("AU04")[0] == pytest.approx(0.93051)
    assert aus.rate_hz == pytest.approx(1 / 3)
    with pytest.raises(TextualizeError, match="no row 'nobody'"):
        read(f"{table}#nobody")


def test_a_corpus_table_is_parsed_once(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = assets / "data/ravdess/clip_au35_mfcc259_actors01-16.csv"
    first = load_table(table)
    for actor in range(1, 17):
        read(f"{table}#01-01-01-01-01-01-{actor:02d}")
    assert load_table(table) is first


def test_a_changed_table_is_read_again(tmp_path: Path) -> None:
    table = frames_table(tmp_path / "a.csv", [0.0, 0.04])
    assert len(read(table).tracks["aus"].values) == 2
    frames_table(table, [0.0, 0.04, 0.08])
    assert len(read(table).tracks["aus"].values) == 3


@pytest.mark.parametrize(("extra", "kept"), [("0.9,1", True), ("0.4,1", False), ("0.9,0", False)])
def test_lost_frames_become_nan(tmp_path: Path, extra: str, kept: bool) -> None:
    header = "frame,timestamp,confidence,success,AU12_r"
    rows = ["1,0.0,1.0,1,2.0", f"2,0.04,{extra},2.0", "3,0.08,1.0,1,2.0"]
    reading = read(write(tmp_path / "a.csv", [header, *rows]))
    assert np.isfinite(reading.tracks["aus"].values[1, 0]) == kept
    assert f"face in {2 + kept} of 3 frames" in reading.status.reason


def test_no_frame_with_a_face_is_absent(tmp_path: Path) -> None:
    reading = read(frames_table(tmp_path / "a.csv", [0.0, 0.04], extra="0.1,0"))
    assert (reading.status.state, dict(reading.tracks)) == ("absent", {})
    assert reading.status.reason == "no face in 2 frames"


def test_a_span_cuts_the_table_by_its_timestamps(tmp_path: Path) -> None:
    table = frames_table(tmp_path / "a.csv", [i / 25 for i in range(50)])
    aus = read(table, Span(1.0, 1.4)).tracks["aus"]
    assert aus.start == pytest.approx(1.0) and aus.rate_hz == pytest.approx(25)
    assert aus.column("AU01") == pytest.approx(np.arange(25, 35) / 10)
    with pytest.raises(TextualizeError, match="no frame in the span"):
        read(table, Span(10.0, 11.0))


def test_rounded_timestamps_do_not_drift(tmp_path: Path) -> None:
    times = [i / 29.97 for i in range(600)]  # written with three decimals
    aus = read(frames_table(tmp_path / "a.csv", times)).tracks["aus"]
    assert len(aus.values) == 600
    assert aus.times[-1] == pytest.approx(times[-1], abs=0.002)


def test_missing_rows_leave_a_gap(tmp_path: Path) -> None:
    times = [i / 25 for i in range(20) if i not in (7, 8)]
    aus = read(frames_table(tmp_path / "a.csv", times)).tracks["aus"]
    assert len(aus.values) == 20
    assert np.flatnonzero(np.isnan(aus.values[:, 0])).tolist() == [7, 8]


def test_the_face_seen_most_often_is_read(tmp_path: Path) -> None:
    header = "frame,face_id,timestamp,confidence,success,AU12_r"
    rows = [f"{i},{face},{i / 25},1,1,{face}.0" for i in range(9) for face in (0, 1)]
    rows = [r for r in rows if not r.startswith(("3,0", "4,0"))]
    reading = read(write(tmp_path / "a.csv", [header, *rows]))
    assert set(reading.tracks["aus"].column("AU12")) == {1.0}
    assert "1 other faces left out" in reading.status.reason


def test_a_clip_without_a_table_is_absent() -> None:
    reading = read_clip(OpenFaceTable(), open_media(Clip("clip", None)))
    assert reading.status.state == "absent"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no action-unit column"),
        ("a,b\n1,2\n", "no action-unit column"),
        ("AU01_r,AU02_r\n", "no rows"),
        ("AU01_r,AU02_r\n1,2,3\n", "line 2 has 3 cells"),
        ("AU01_r,AU02_r\n1,two\n", "line 2"),
        ("timestamp,AU01_r\n0,1\n0,1\n0,1\n", "do not increase"),
        ("timestamp,AU01_r\n0,1\n0.04,1\n0.08,1\n1e9,1\n", "leap"),
    ],
)
def test_damaged_tables_are_refused_in_one_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(TextualizeError, match=says) as caught:
        read(tmp_path / "bad.csv")
    assert "\n" not in str(caught.value)


def test_binary_missing_and_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.csv").write_bytes(np.random.default_rng(0).bytes(3000))
    for given in (tmp_path / "noise.csv", tmp_path / "none.csv", tmp_path, f"{tmp_path}/x.csv#1"):
        with pytest.raises(TextualizeError):
            read(given)
    with pytest.raises(TextualizeError, match="rate_hz"):
        OpenFaceTable(rate_hz=0)


def test_the_video_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = frames_table(tmp_path / "a.csv", [0.0, 0.04])
    media = open_media(Clip("clip", None, sidecars={"openface": str(table)}))
    monkeypatch.setattr(type(media), "frames", lambda self: pytest.fail("decoded the video"))
    assert read_clip(openface.OpenFaceTable(), media).status.state == "observed"
