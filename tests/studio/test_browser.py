"""The studio in a headless browser: open, choose, play, edit, run, compare, save, upload.

AXE_JS=…/axe.min.js pytest -m slow tests/studio/test_browser.py checks accessibility as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import CHROMIUM, Browser
from .conftest import FILM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
READY = "document.querySelector('#prompt pre') && document.querySelector('video').readyState > 1"
ANSWERED = (
    "document.querySelectorAll('#answers article table').length && "
    "!document.querySelector('progress') && document.querySelector('[data-stops=ask]').hidden"
)


@pytest.fixture(scope="module")
def place(made, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The address of a studio that runs by itself, and the folder it saves templates in."""
    folder = tmp_path_factory.mktemp("mine") / "templates"
    line = [sys.executable, "-m", "textualize", "studio", str(made.corpus), *map(str, made.runs)]
    line += ["--templates", str(folder), "--port", "8793", "--sensors", "pocketsphinx"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    try:
        yield next(x for x in process.stderr if " at http" in x).split(" at ")[1].strip(), folder
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page's script is not run")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def page(browser, place) -> Iterator[Browser]:
    browser.told.clear()
    browser.run("window.onbeforeunload = null; typeof dirty === 'undefined' || (dirty = false)")
    browser.open(place[0], 1440)
    browser.until(READY)
    yield browser
    assert browser.told == []


def text(page, query: str) -> str:
    return page.run(f"document.querySelector('{query}').textContent")


def edit(page, new: str) -> None:
    page.click("#text")
    page.run("document.querySelector('#text').select()")
    page.write(new)


def test_choose_edit_run_and_save(page, place):
    page.click(".choose[data-clip=s3c1]")
    page.until("document.querySelector('#clip-name').textContent === 's3c1'")
    page.until("document.querySelector('#prompt').textContent.includes('how lovely this is')")
    edit(page, "Heard: {{ transcrip }}")
    page.until("!document.querySelector('#problem').hidden")
    assert "edited.jinja:1" in text(page, "#problem") and "undefined" in text(page, "#problem")
    assert text(page, "#gutter b").strip() == "1"
    edit(page, "Heard: {{ transcript }}!")
    page.until(
        "document.querySelector('#prompt').textContent.trim() === 'Heard: how lovely this is!'"
    )
    assert page.run("document.querySelector('#problem').hidden")
    assert "llm" in text(page, "#count") and "tokens" in text(page, "#count")
    page.click("#explain")
    page.click("#run")
    page.until(ANSWERED)
    assert page.run("document.querySelectorAll('#answers article').length") == 2
    assert "not trained" in text(page, "#answers") and "rests on" in text(page, "#rests")
    page.click("#name")
    page.write("heard")
    page.key("Enter", text="\r")
    page.until("document.querySelector('#saved').textContent.startsWith('saved')")
    assert (place[1] / "heard.jinja").read_text() == "Heard: {{ transcript }}!"
    assert page.run("document.querySelector('#origin').value") == "own:heard"
    edit(page, "Again: {{ transcript }}")
    page.until("!document.querySelector('#stale').hidden")
    page.click("#save button")
    page.until("!document.querySelector('#replace').hidden")
    page.key("Enter", text="\r")  # the button has the focus
    page.until("document.querySelector('#saved').textContent.startsWith('saved')")
    assert (place[1] / "heard.jinja").read_text() == "Again: {{ transcript }}"


def test_everything_with_a_time_follows_the_film(page):
    page.click(".choose[data-clip=s3c1]")
    page.until(f"({READY}) && document.querySelector('#clip-name').textContent === 's3c1'")
    page.click(".at")
    page.until("document.querySelector('video').currentTime > 0.3")
    page.until("document.querySelectorAll('.said.on').length === 1")
    page.run("document.querySelector('video').pause()")
    page.run("seek(1.5, false)")
    page.until("document.querySelector('.said.on') && "
               "document.querySelector('.said.on').textContent === 'is'")  # fmt: skip
    left = float(page.run("document.querySelector('.cursor').style.left").removesuffix("%"))
    assert left == pytest.approx(page.run("atPercent(video.currentTime)"), abs=0.01)
    box = page.run("(() => { const b = document.querySelector('#over').getBoundingClientRect();"
                   "return [b.x, b.width]; })()")  # fmt: skip
    page.click("#over")
    page.until("Math.abs(video.currentTime - 1.5) > 0.01")
    assert box[1] > 200 and page.run("atPercent(video.currentTime)") == pytest.approx(50, abs=1)


def test_two_templates_are_compared(page):
    edit(page, "all is well with me")
    page.run("document.querySelector('#by').value = 'bag'; "
             "document.querySelector('#a').value = 'run:bag'")  # fmt: skip
    page.click("#compare button")
    page.until("document.querySelector('#compared table')")
    assert "of 16 validation clips" in text(page, "#compared")
    page.run("document.querySelector('#compared details').open = true")
    page.click("#compared .choose")
    page.until("document.querySelector('#clip-name').textContent === 's3c1'")


def test_a_dropped_film_is_read_and_played(page, tmp_path):
    film = tmp_path / "me & you.mp4"
    film.write_bytes(FILM.read_bytes())
    page.call("DOM.enable")
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(film)])
    page.until("document.querySelector('#clip-name').textContent === 'upload 1: me & you.mp4'", 300)
    page.until("video.src.startsWith('blob:') && video.readyState > 1")
    page.click(".remove")
    page.until("!document.querySelector('.remove')")
    page.until("document.querySelector('#clip-name').textContent === 's0c0'")


def test_a_telephone_scrolls_one_way_only(page):
    page.size(390, 844)
    page.click("#run")
    page.until(ANSWERED)
    assert page.run("document.documentElement.scrollWidth") == 390
    wide = "[...document.querySelectorAll('button, select, input, textarea, video')].filter("
    assert page.run(wide + "e => e.getBoundingClientRect().right > 391).length") == 0


def test_the_keyboard_reaches_everything(page):
    page.run("document.querySelector('#find').focus()")
    seen = []
    for _ in range(50):
        page.key("Tab")
        seen.append(page.run("document.activeElement.id || document.activeElement.className"))
    for wanted in ("drop", "choose", "video", "origin", "text", "name", "reader", "run", "sample"):
        assert wanted in seen, seen
    assert seen[seen.index("choose") + 1] == "video"  # one stop, arrows go on
    page.run("document.querySelector('.choose[aria-current]').focus()")
    page.key("ArrowDown")
    page.key("ArrowDown")
    page.key("Enter", text="\r")
    page.until("document.querySelector('#clip-name').textContent === 's0c2'")


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing(page, width):
    script = os.environ.get("AXE_JS")
    if script is None:
        pytest.skip("AXE_JS does not name axe-core's axe.min.js: accessibility is not checked")
    page.size(width)
    page.click("#explain")
    page.click("#run")
    page.until(ANSWERED)
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    edit(page, "{{ nothing }}")
    page.until("!document.querySelector('#problem').hidden")
    page.run(Path(script).read_text("utf-8") + "; 0")
    found = page.run(
        "axe.run(document).then((f) => f.violations.map((v) => v.id + ': ' + v.nodes[0].html))"
    )
    assert found == []
