"""Methods of pictures on files, as a user runs them: what is wrong with one is said and counted."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from textualize.baselines.pictured import PictureMethod
from textualize.cli import run as cli
from textualize.extract.video import Media
from textualize.finetune.run_folder import RunFolder
from textualize.store import Corpus

SIDE, RATE = 32, 10
LEVELS = {"dark": 60, "light": 190}
SMALL = {
    "stochastic-softmax": ("width=4", "hidden=8", "warm_up=1", "exploration=1"),
    "dmsn": ("stem=16",),
}


def picture(level, rng):
    return np.clip(rng.normal(level, 20, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def video(path, frames, level, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(level, rng), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def extracted(folder, root):
    """A corpus of a folder per class; a sensor has to find something, a transcript in this case."""
    first = sorted(p for p in root.rglob("*") if p.is_file())[0]
    first.with_suffix(".txt").write_text("so this is it", "utf-8")
    assert cli(["extract", str(root), "--dataset", "tree", "-o", str(folder),
                "--sensors", "sidecar", "--json"]) == 0  # fmt: skip
    return folder


def trained(corpus, out, method, *settings):
    own = ("pictures=file", "cut=middle", "size=16", "frames=4", "epochs=2", "batch_size=4")
    options = [x for s in (*own, *SMALL[method], *settings) for x in ("--set", s)]
    return cli(["train", method, "--corpus", str(corpus), "--out", str(out), *options])


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Twelve videos to learn from and four to choose on; one has a single frame, one has two."""
    root = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("validation", 2)):
        for label, level in LEVELS.items():
            for i in range(count):
                frames = {("train", "dark", 1): 1, ("train", "light", 2): 2}
                video(root / part / label / f"{label}{i}.mp4",
                      frames.get((part, label, i), 8), level, rng)  # fmt: skip
    return root, extracted(tmp_path_factory.mktemp("corpus") / "c", root)


@pytest.mark.parametrize("method", SMALL)
def test_one_frame_and_less_than_a_piece_train_and_are_answered(videos, tmp_path, method, capsys):
    corpus = videos[1]
    assert trained(corpus, tmp_path / "run", method) == 0
    run = RunFolder(tmp_path / "run")
    assert run.environment["effective"]["pictures of a training clip"][0] == 1
    assert run.environment["effective"]["training_clips"] == 12 and not run.environment["notes"]
    records = [r for r in Corpus(corpus).records() if r.clip.split == "train"]
    assert all(p.label in LEVELS for p in PictureMethod.load(run.path).predict(records))
    capsys.readouterr()


def test_a_video_torn_in_its_middle_ends_no_training_and_is_counted(
    videos, tmp_path, monkeypatch, capsys
):
    whole = Media.frames
    monkeypatch.setattr(
        Media, "frames",
        lambda self: (f for f in whole(self) if self.path.name != "dark3.mp4" or f.time < 0.15),
    )  # fmt: skip
    assert trained(videos[1], tmp_path / "run", "stochastic-softmax", "epochs=8") == 0
    notes = RunFolder(tmp_path / "run").environment["notes"]
    found = [n for n in notes if "pictures of 1 of 12 clips could not be decoded" in n]
    assert len(found) == 1 and "(training)" in found[0]
    assert found[0].split(": ", 1)[1] in (tmp_path / "run" / "README.md").read_text("utf-8")
    capsys.readouterr()


def test_a_video_that_cannot_be_read_is_left_out_and_counted(videos, tmp_path, capsys):
    root, corpus = videos
    for name, bytes_left in (("dark3", 0), ("light4", 200)):
        path = root / "train" / name[:-1] / f"{name}.mp4"
        whole = path.read_bytes()
        path.write_bytes(whole[:bytes_left])
        try:
            assert trained(corpus, tmp_path / name, "stochastic-softmax") == 0
        finally:
            path.write_bytes(whole)
        run = RunFolder(tmp_path / name)
        assert run.environment["effective"]["training_clips"] == 11
        told = [n for n in run.environment["notes"] if "1 of 12 records left out" in n]
        assert len(told) == 1 and "(training)" in told[0]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("elsewhere", "why"),
    [("dark", "needs at least two labels"), ("light", "all training records are 'dark'")],
)
def test_videos_of_one_class_are_refused_in_one_line(tmp_path, capsys, elsewhere, why):
    rng = np.random.default_rng(1)
    for part, label in (("train", "dark"), ("validation", elsewhere)):
        for i in range(2):
            video(tmp_path / "v" / part / label / f"{i}.mp4", 3, 60, rng)
    corpus = extracted(tmp_path / "c", tmp_path / "v")
    capsys.readouterr()
    assert trained(corpus, tmp_path / "run", "stochastic-softmax") == 2
    told = capsys.readouterr().err.strip()
    assert why in told and "\n" not in told


@pytest.mark.parametrize("method", SMALL)
def test_face_crops_in_class_folders(tmp_path, method, capsys, caplog):
    """Eleven grey crops and a grey, a palette and an alpha one of each class, one file not whole.

    Batches of four leave one picture alone in the last: its maps have one point.
    """
    rng = np.random.default_rng(2)
    for part, count in (("train", 11), ("validation", 3)):
        for label, level in LEVELS.items():
            folder = tmp_path / "faces" / part / label
            folder.mkdir(parents=True)
            modes = dict(enumerate(("L", "P", "RGBA")))
            for i in range(count):
                crop = Image.fromarray(picture(level, rng)).convert(modes.get(i, "RGB"))
                crop.save(folder / f"{label}{i}.png")
    corpus = extracted(tmp_path / "c", tmp_path / "faces")
    torn = tmp_path / "faces" / "train" / "dark" / "dark10.png"
    torn.write_bytes(torn.read_bytes()[:60])
    assert trained(corpus, tmp_path / "run", method, "frames=1", "epochs=6", "lr=0.01") == 0
    run = RunFolder(tmp_path / "run")
    assert run.environment["effective"]["training_clips"] == 21
    assert any("1 of 22 records left out" in n for n in run.environment["notes"])
    assert max(line["validation_macro_f1"] for line in run.metrics()) == 1.0
    assert sum("a lone picture" in r.message for r in caplog.records) == 1
    capsys.readouterr()
