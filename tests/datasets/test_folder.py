from textualize.datasets.folder import load_paths


def test_what_only_looks_like_a_medium_is_listed_so_that_reading_can_say_why(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert sorted(c.id for c in load_paths([tmp_path]).clips) == ["a", "gone"]
