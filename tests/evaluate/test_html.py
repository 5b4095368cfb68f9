"""pytest tests/evaluate/test_html.py"""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from textualize.evaluate import html
from textualize.evaluate.report import build_report
from textualize.types import Prediction, Span, Track, Utterance, Word

VOID = {"meta", "input", "br"}
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """Collects tags and refuses tags that close in another order than they opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.text = [], [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def few(invented):
    """Sixteen clips, one of an unreadable answer: every clip's charts take their time."""
    unread = next(p.clip_id for p in invented.predictions["llm"] if p.label is None)
    kept = {unread, *[r.clip.id for r in invented.records if r.clip.id != unread][:15]}
    return replace(
        invented,
        records=[r for r in invented.records if r.clip.id in kept],
        predictions={n: [p for p in own if p.clip_id in kept]
                     for n, own in invented.predictions.items()},
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(few):
    report = few.report(draws=50)
    return html.render_report(report, few.records, few.prompts, few.predictions)


@pytest.mark.parametrize("reads", ["words", "tracks", "pictures", None])
def test_a_clear_difference_has_the_colour_of_what_the_winner_reads(few, reads):
    report = few.report(draws=50)
    found = replace(report.differences[0], value=0.3, low=0.2, high=0.4, p_holm=0.01)
    winner = replace(report.row(found.a), family="floor", reads=reads or "tracks")
    if reads is None:
        found = replace(found, low=-0.2)
    rows = tuple(winner if r.name == winner.name else r for r in report.rows)
    drawn = str(html._difference_chart(replace(report, rows=rows, differences=(found,))))
    expected = {"words": "text", "tracks": "features", "pictures": "features"}.get(reads)
    kinds = {k for k in ("text", "features", "floor") if f"var(--{k})" in drawn}
    assert kinds == ({expected} if expected else set())


def test_nothing_is_loaded_from_elsewhere(page):
    assert "//" not in page and "src=" not in page and "@import" not in page
    assert not re.search(r"https?:", page) and "url(" not in page
    assert "default-src 'none'" in page
    names = {tag for tag, _ in Page(page).tags}
    assert not names & {"img", "link", "iframe", "object", "embed", "base", "form", "video"}
    assert not re.search(r"\son[a-z]+=", page)


def test_page_is_well_formed_and_every_link_has_a_target(page, few):
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert {unquote(link[1:]) for link in read.links} <= set(read.ids)
    assert {f"clip-{r.clip.id}" for r in few.records} <= set(read.ids)


def test_page_shows_prompt_states_and_gaps(page, few):
    text = Page(page).text
    record = next(r for r in few.records if "aus" not in r.tracks)
    assert few.prompts[record.clip.id].text in text
    assert "no face in 30 frames" in text and "no words recognised" in text
    assert "uncertain" in text and "face seen in 23 of 30 rows" in text
    assert "The person seems upset." in text


def test_everything_is_escaped(invented):
    record = invented.records[0]
    utterance = Utterance(Span(0, 1), ATTACK, (Word(Span(0, 1), ATTACK),), ATTACK, 0.5, ATTACK)
    clip = replace(record.clip, id=f"odd {ATTACK}", subject=ATTACK, group=ATTACK)
    track = replace(record.tracks["aus"], source=ATTACK)
    record = replace(
        record, clip=clip, utterances=(utterance,), tracks={**record.tracks, "aus": track}
    )
    prompt = replace(invented.prompts[invented.records[0].clip.id], clip_id=clip.id, text=ATTACK)
    prompt = replace(
        prompt, template=ATTACK, cues=tuple(replace(c, text=ATTACK) for c in prompt.cues)
    )
    predictions = {"jca": [Prediction(clip.id, "jca", None, {}, ATTACK)]}
    report = build_report(
        [record], predictions, invented.labels, prompts={clip.id: prompt}, title=ATTACK, draws=20
    )
    text = html.render_report(report, [record], {clip.id: prompt}, predictions)
    assert text.count("<script") == 1 and "<img" not in text
    read = Page(text)
    assert read.text.count(ATTACK) >= 8
    assert f"clip-{clip.id}" in read.ids
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)


def test_many_clips_are_sampled_and_the_page_says_so(few, page):
    report = few.report(draws=20)
    given = (report, few.records, few.prompts, few.predictions)
    text = html.render_report(*given, limit=3)
    assert text.count('<main class="clip"') == 3
    assert "3 of 16 clips are shown" in text
    assert html.render_report(*given, limit=3) == text
    assert "clips are shown" not in page


def test_rows_carry_the_filters_of_the_headline_pair(page, few):
    report = few.report(draws=20)
    said = {n: {p.clip_id: p.label for p in own} for n, own in few.predictions.items()}
    text, features = (said[n] for n in report.headline)
    rows = {a["id"][4:]: a for tag, a in Page(page).tags if tag == "tr" and "data-href" in a}
    for record in few.records:
        row, clip = rows[record.clip.id], record.clip
        assert ("data-text" in row) == (text[clip.id] != clip.label)
        assert ("data-features" in row) == (features[clip.id] != clip.label)
        assert ("data-disagree" in row) == (text[clip.id] != features[clip.id])


def test_one_row_tracks_and_missing_tracks_are_shown(invented):
    record = invented.records[0]
    means = Track(np.array([[0.5, np.nan]], np.float32), 0.4, 0.0, ("AU12_r", "AU45_r"),
                  "intensity", "openface")  # fmt: skip
    first = replace(record, tracks={"aus": means}, utterances=())
    second = replace(record, tracks={}, status={}, clip=replace(record.clip, id="bare"))
    predictions = {"majority": [Prediction(r.clip.id, "m", "sadly angry") for r in (first, second)]}
    report = build_report([first, second], predictions, invented.labels, draws=20)
    text = Page(html.render_report(report, [first, second], {}, predictions)).text
    assert "AU12_r lip corner puller" in text and "unseen" in text
    assert "one mean over the clip" in text and "no action units were measured" in text
    assert "No prompt was rendered" in text and "No voice was measured" in text


def test_every_cue_in_the_prompt_is_linked_to_its_time(page, few):
    links = [a for tag, a in Page(page).tags if tag == "a" and a.get("class") == "told"]
    assert links and all(a["href"].startswith("#time-") for a in links)
    faces = [a for a in links if a["title"] == "0.80 to 2.10 s"]
    assert len(faces) == sum("aus" in r.tracks for r in few.records)
    left, width = (float(faces[0][k]) for k in ("data-left", "data-width"))
    assert left == pytest.approx(2 + 96 * 0.8 / 3, abs=0.5) and width == pytest.approx(
        41.6, abs=0.5
    )
    assert any(a["title"] == "whole clip" and a["data-width"] == "96.0" for a in links)


def test_two_hundred_clips_stay_under_15_megabytes(invented):
    long = np.abs(np.sin(np.arange(3000)[:, None] / np.arange(5, 25))).astype(np.float32)
    names = tuple(f"AU{i:02d}" for i in range(20))
    aus = Track(long, 10.0, 0.0, names, "probability", "py-feat")
    records = [replace(r, tracks={**r.tracks, "aus": aus}) for r in invented.records[:4]]
    ids = {r.clip.id for r in records}
    own = {n: [p for p in ps if p.clip_id in ids] for n, ps in invented.predictions.items()}
    report = build_report(records, own, invented.labels, runs=invented.runs, draws=20)
    whole, none = (
        len(html.render_report(report, records, invented.prompts, own, limit=k)) for k in (4, 0)
    )
    assert none + (whole - none) / 4 * 200 < 15e6


DRIVE = """<script>
var out = [];
function clip() { return document.querySelector(".clip:target"); }
function key(name) {
  clip().dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
}
var steps = [
  function () { document.querySelector("[data-filter=disagree]").click(); },
  function () { document.querySelector(".cliplist tbody tr:not([hidden]) a").click(); },
  function () { out.push(clip().id); key("ArrowRight"); },
  function () { out.push(clip().id); key("ArrowLeft"); },
  function () { out.push(clip().id); key("Escape"); },
  function () { out.push(clip() === null, document.getElementById("count").textContent); },
  function () { document.body.innerHTML = "<pre>FOUND " + out.join("|") + "</pre>"; }];
(function go(i) {
  if (i < steps.length) { steps[i](); setTimeout(function () { go(i + 1); }, 50); }
}(0));
</script></body>"""


def in_browser(path, tmp_path, *options):
    """Return what a browser makes of a page, and what it says of it."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine: the page's script is not run")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", *quiet,
         f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0",
         *options, "--dump-dom", path],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_filters_and_keys_work_in_a_browser(page, few, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", DRIVE), "utf-8")
    found = in_browser(path.as_uri(), tmp_path, "--virtual-time-budget=3000")
    report = few.report(draws=20)
    a, b = ({p.clip_id: p.label for p in few.predictions[n]} for n in report.headline)
    disagree = sorted(c for c in a if a[c] != b[c])
    first, second = (f"clip-{c}" for c in disagree[:2])
    count = f"{len(disagree)} of {len(a)} clips"
    assert f"FOUND {first}|{second}|{first}|true|{count}<" in found


AXE = """<script>window.addEventListener("load", function () {
  axe.run(document).then(function (found) {
    var said = found.violations.map(function (v) { return v.id; });
    document.body.innerHTML = "<pre>FOUND " + said.join("|") + ".</pre>";
  });
});</script></body>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("clip", [False, True])
def test_axe_finds_nothing(page, few, tmp_path, width, clip):
    script = os.environ.get("AXE_JS")
    if script is None:
        pytest.skip("AXE_JS does not name axe-core's axe.min.js: accessibility is not checked")
    axe = Path(script).read_text("utf-8").replace("</script", "<\\/script")
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"<script>{axe}</script>{AXE}"), "utf-8")
    place = path.as_uri() + (f"#clip-{few.records[0].clip.id}" if clip else "")
    options = ("--virtual-time-budget=60000", f"--window-size={width},1000")
    assert "FOUND ." in in_browser(place, tmp_path, *options)
