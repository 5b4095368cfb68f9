import json

from textualize.extract.timings import TIMINGS, remember_time, time_told


def test_runs_add_up_and_what_read_nothing_is_no_run(tmp_path):
    assert time_told(tmp_path) == ""
    remember_time(tmp_path, 0, 9.0, ["mediapipe"])
    assert not (tmp_path / TIMINGS).exists()
    remember_time(tmp_path, 3, 4.5, ["mediapipe", "prosody"])
    remember_time(tmp_path, 1, 1.5, ["prosody", "sidecar"])
    expected = "1.50 s a clip by the clock (4 clips read in 6 s by mediapipe, prosody, sidecar)"
    assert time_told(tmp_path) == f"extraction: {expected}"


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    remember_time(tmp_path, 2, 3.0, ["prosody"])
    with (tmp_path / TIMINGS).open("a") as stream:
        stream.write(json.dumps({"clips": 5})[:-3] + "\n" + json.dumps({"clips": "x"}) + "\n")
    assert time_told(tmp_path).startswith("extraction: 1.50 s a clip")
