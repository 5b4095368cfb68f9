"""py-feat's tables: both versions, several faces, frame numbers to seconds, damage in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textualize.describe import describe
from textualize.errors import TextualizeError
from textualize.extract.face.tracks import FACE_COLUMNS
from textualize.extract.imports.fex import FexTable
from textualize.extract.sensor import Reading
from textualize.extract.sensor import read as read_clip
from textualize.extract.video import open_media
from textualize.types import Clip, Record, Span

V1 = "frame,FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU01,AU12,happiness,input"


def read(
    table: str | Path, span: Span | None = None, video: Path | None = None, **options: Any
) -> Reading:
    clip = Clip("clip", video, span, sidecars={"fex": str(table)})
    return read_clip(FexTable(**options), open_media(clip))


def write(path: Path, rows: list[str], header: str = V1) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_real_tables_of_version_2(assets: Path) -> None:
    good, bad = [], []
    for path in sorted((assets / "data/pyfeat/news_sample").glob("0*.csv")):
        reading = read(path, fps=25)
        aus, face = reading.tracks["aus"], reading.tracks["face"]
        assert aus.unit == "probability" and len(aus.names) == 20 and aus.source == "fex"
        assert aus.rate_hz == pytest.approx(12.5) and aus.start == 0  # every second frame
        assert face.names == FACE_COLUMNS and (face.column("w_px") > 100).all()
        assert set(reading.tracks["emotions"].names) >= {"happy", "sad", "neutral"}
        assert reading.tracks["valence_arousal"].unit == "named"
        assert len(reading.tracks["blendshapes"].names) == 51
        (good if path.stem < "010" else bad).append(float(np.nanmean(aus.column("AU12"))))
    assert min(good) > 0.9 > 0.5 > np.mean(bad)  # the smile of good news


def test_imported_faces_are_worded_like_our_own(assets: Path) -> None:
    table = assets / "data/pyfeat/news_sample/001.csv"
    reading = read(table, fps=25)
    record = Record(Clip("clip", None), reading.tracks, status={"face": reading.status})
    cues = describe(record, ["face"])
    assert any("AU12" in cue.text and cue.source == "fex" for cue in cues)


def test_radians_become_degrees_and_pitch_can_be_turned(assets: Path) -> None:
    table = assets / "data/pyfeat/news_sample/001.csv"
    up, down = (read(table, fps=25, pitch_up=u).tracks["face"] for u in (True, False))
    assert up.column("pitch_deg")[0] == pytest.approx(np.degrees(0.07763672), rel=1e-5)
    assert up.column("yaw_deg")[0] == pytest.approx(np.degrees(0.018920898), rel=1e-5)
    assert down.column("pitch_deg")[0] == -up.column("pitch_deg")[0]
    assert down.column("yaw_deg")[0] == up.column("yaw_deg")[0]


def test_version_1_names_blanks_and_sampled_frames(tmp_path: Path) -> None:
    rows = ["0,1,2,30,40,0.9,0.1,0.2,0.3,a", "12,,,,,,,,,a", "24,1,2,30,40,0.9,0.5,,0.3,a"]
    reading = read(write(tmp_path / "a.csv", rows), fps=24)
    aus = reading.tracks["aus"]
    assert aus.rate_hz == pytest.approx(2) and aus.names == ("AU01", "AU12")
    assert np.isnan(aus.values[1]).all() and np.isnan(aus.column("AU12")[2])
    assert reading.tracks["emotions"].names == ("happy",)
    assert "face in 2 of 3 frames" in reading.status.reason
    assert np.isnan(reading.tracks["face"].column("yaw_deg")).all()  # degrees or radians: unknown


def test_the_largest_person_is_read_by_identity(tmp_path: Path) -> None:
    header = V1 + ",Identity"
    rows = []
    for frame in range(4):
        rows.append(f"{frame},0,0,30,30,0.9,0.1,0.1,0.1,a,Person_0")
        if frame > 1:
            rows.append(f"{frame},200,0,90,90,0.9,0.8,0.8,0.1,a,Person_1")
    table = write(tmp_path / "a.csv", rows, header)
    aus = read(table, fps=1).tracks["aus"].column("AU01")
    assert np.isnan(aus[:2]).all() and aus[2:] == pytest.approx(0.8)
    small = read(table, fps=1, identity="Person_0")
    assert small.tracks["aus"].column("AU01") == pytest.approx(0.1)
    assert "2 rows of other faces left out" in small.status.reason
    with pytest.raises(TextualizeError, match="no Identity 'Bob'; it has: Person_0, Person_1"):
        read(table, fps=1, identity="Bob")


def test_without_identities_the_reading_stays_with_a_face(tmp_path: Path) -> None:
    rows = []
    for frame in range(3):
        sizes = ((50, 0.1), (54, 0.9)) if frame == 1 else ((54, 0.1), (50, 0.9))
        rows += [
            f"{frame},{300 * i},0,{w},{w},0.9,{au},0.1,0.1,a" for i, (w, au) in enumerate(sizes)
        ]
    aus = read(write(tmp_path / "a.csv", rows), fps=1).tracks["aus"].column("AU01")
    assert aus == pytest.approx(0.1)  # a face 8 % larger for one frame is not another's turn


def test_a_span_takes_its_frames(tmp_path: Path) -> None:
    rows = [f"{i},1,2,30,40,0.9,0.{i},0.2,0.3,a" for i in range(10)]
    track = read(write(tmp_path / "a.csv", rows), Span(0.4, 0.8), fps=10).tracks["aus"]
    assert track.column("AU01") == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert track.start == pytest.approx(0.4)


def test_the_video_tells_the_frame_rate(assets: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", [f"{i},1,2,30,40,0.9,0.1,0.2,0.3,a" for i in (0, 10)])
    video = assets / "data/pyfeat/single_face.mp4"
    import av

    with av.open(str(video)) as container:
        native = float(container.streams.video[0].average_rate or 0)
    assert read(table, video=video).tracks["aus"].rate_hz == pytest.approx(native / 10)


def test_no_face_is_absent(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "a.csv", ["0,,,,,,,,,a", "1,nan,,,,,,,,a"]), fps=1)
    assert reading.status.state == "absent" and "2 frames" in reading.status.reason


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["0,1,2,30,40,0.9,2.5,0.2,0.3,a"], r":2: AU01 is 2.5, expected 0 to 1; .*openface"),
        (["0,1,2,30,40,0.9,-1,0.2,0.3,a"], r":2: AU01 is -1"),
        (["0,1,2,30,40,0.9,x,0.2,0.3,a"], r":2: column 'AU01': 'x' is not a number"),
        (["0,1,2,30,40,0.9,1,0.2,0.3,a", "1,1"], r":3: 2 cells where the header has 10"),
        ([",1,2,30,40,0.9,1,0.2,0.3,a"], r":2: no frame number"),
        (["0,1,2,30,40,0.9,1,1,1,a", "1,1,2,30,40,0.9,1,1,1,b"], "several inputs"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, rows: list[str], says: str) -> None:
    with pytest.raises(TextualizeError, match=says) as caught:
        read(write(tmp_path / "a.csv", rows), fps=25)
    assert "\n" not in str(caught.value)


def test_frames_without_a_rate_are_refused(tmp_path: Path) -> None:
    rows = [f"{i},1,2,30,40,0.9,0.1,0.2,0.3,a" for i in (0, 1)]
    with pytest.raises(TextualizeError, match="give fex:fps=25"):
        read(write(tmp_path / "a.csv", rows))
    assert read(write(tmp_path / "b.csv", rows[:1])).status.state == "observed"  # a picture


def test_one_input_of_a_table(tmp_path: Path) -> None:
    rows = [f"0,1,2,30,40,0.9,0.{i},0.2,0.3,films/{i}.mp4" for i in range(3)]
    table = write(tmp_path / "a.csv", rows)
    assert read(f"{table}#2.mp4").tracks["aus"].column("AU01") == pytest.approx(0.2)
    with pytest.raises(TextualizeError, match="no row '9' in its column 'input'"):
        read(f"{table}#9")


def test_an_openface_table_is_not_taken_for_py_feats(assets: Path) -> None:
    with pytest.raises(TextualizeError, match="no action unit"):
        read(assets / "data/pyfeat/OpenFace_Test.csv", fps=25)
