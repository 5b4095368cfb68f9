"""Pictures of a clip stand on its page when they are asked for, and never else."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from textualize.evaluate import html
from textualize.evaluate.faces import MOST, Strip, strip_of
from textualize.evaluate.report import build_report
from textualize.types import Clip, Span


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds of a picture that grows lighter: its frame's brightness tells its time."""
    path = tmp_path_factory.mktemp("video") / "lighter.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(20):
            picture = np.full((240, 320, 3), 10 * i + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def picture(uri):
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("span", [None, Span(0.5, 1.5), Span(1.9, 2.0)])
def test_few_small_pictures_in_time_order_within_the_clip(video, span):
    found = strip_of(Clip("c", video, span)).pictures
    low, high = (span.start, span.end) if span else (0.0, 2.0)
    assert 0 < len(found) <= MOST and (len(found) == MOST or span)
    assert [p.time for p in found] == sorted(p.time for p in found)
    for p in found:
        assert low - 0.1 <= p.time <= high
        seen = picture(p.uri)
        assert seen.shape[0] <= 96 and seen.shape[1] <= 150
        assert seen.mean() == pytest.approx(20 + 100 * p.time, abs=8)


def test_what_has_no_pictures_says_why_and_names_no_place(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert strip_of(Clip("a", None)) == Strip((), "the clip has no file")
    for name in ("bad.mp4", "gone.mp4"):
        assert strip_of(Clip("a", tmp_path / name)) == Strip((), "its file could not be read")


def test_a_page_has_pictures_only_where_they_are_asked_for(invented, video):
    first, second = invented.records[:2]
    seen = replace(first, clip=replace(first.clip, video=Path(video)))
    kept = [seen, second]
    ids = {r.clip.id for r in kept}
    own = {n: [p for p in ps if p.clip_id in ids] for n, ps in invented.predictions.items()}
    report = build_report(kept, own, invented.labels, runs=invented.runs, draws=20)
    bare = html.render_report(report, kept, invented.prompts, own)
    assert "<img" not in bare and "data:image" not in bare and "show no pictures" in bare
    shown = html.render_report(report, kept, invented.prompts, own, faces=True)
    assert shown.count("<img") == MOST and 'alt="the clip at 0.' in shown
    assert "show the people recorded" in shown and "No pictures: the clip has no file." in shown
    assert "img-src data:" in shown and "http" not in shown.replace("http-equiv", "")
