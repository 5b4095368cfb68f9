"""Every route of the studio, without a browser."""

from __future__ import annotations

import json
import re
import tempfile
from html.parser import HTMLParser

import pytest

from textualize.serve.upload import Uploads
from textualize.studio.shelf import MOST_UPLOADS

from .conftest import AT, ATTACK, FILM, TOKEN

OWN = ["studio.css", "clips.js", "desk.js"]
VOID = {"meta", "input", "br", "link", "img"}


class Page(HTMLParser):
    """Collects a page's elements; refuses tags that close in another order than they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def draft(client, origin="shipped:compound", **changes):
    found = client.get(f"{AT}/template", params={"origin": origin})
    assert found.status_code == 200, found.text
    return found.json() | changes


def last(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text.splitlines()[-1])


# --- the page ---------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_loads_its_own_files_alone(client):
    page = Page(client.get(f"{AT}/").text)
    assert len(page.ids) == len(set(page.ids))
    given = [a.get("src") or a.get("href") for t, a in page.tags if t in ("script", "link", "img")]
    assert [g for g in given if g] == ["data:,", *OWN]
    for name in OWN:
        found = client.get(f"{AT}/{name}")
        assert found.status_code == 200
        assert not re.search(r"https?:|url\(|@import|import\(", found.text)
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    assert not any(t == "script" and "src" not in a for t, a in page.tags)


def test_every_field_of_the_page_has_a_label(client):
    page = client.get(f"{AT}/").text
    labelled = Page(page)
    for tag, about in labelled.tags:
        if tag in ("select", "textarea") or (tag == "input" and about.get("type") != "hidden"):
            named = "aria-label" in about
            before = page[: page.index(f'id="{about["id"]}"')] if "id" in about else ""
            assert named or "id" not in about or before.rfind("<label") > before.rfind("</label>")


def test_what_a_browser_may_do_is_told_with_every_answer(client):
    for path in (f"{AT}/", f"{AT}/desk.js", f"{AT}/none", "/"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy and "no-referrer" in headers["referrer-policy"]


# --- clips ------------------------------------------------------------------------------------


def test_clips_are_found_by_id_label_and_words(client):
    assert "s3c1" in client.get(f"{AT}/clips", params={"find": "s3c1"}).text
    happy = client.get(f"{AT}/clips", params={"find": "HAPPY validation"}).text
    assert "s3c1" in happy and "s3c0" not in happy
    assert "No clip" in client.get(f"{AT}/clips", params={"find": "zebra"}).text


def test_the_sealed_test_split_is_not_shown(client):
    assert "8 clips of its split named test are sealed" in client.get(f"{AT}/").text
    assert "s5c0" not in client.get(f"{AT}/clips").text
    for path in ("clip", "media"):
        assert client.get(f"{AT}/{path}", params={"clip": "s5c0"}).status_code == 404
    asked = {"clip": "s5c0", "run": "bag"}
    assert client.post(f"{AT}/ask", json=asked).status_code == 404
    assert (
        client.post(f"{AT}/render", json={"clip": "s5c0", "draft": draft(client)}).status_code
        == 404
    )


def test_a_clip_is_shown_with_curves_words_cues_and_its_time(client):
    found = client.get(f"{AT}/clip", params={"clip": "s3c1"}).json()
    page = Page(found["html"])
    assert found["media"] == "video" and found["start"] == 0.0 < found["end"]
    assert "AU12 lip corner puller" in found["html"] and "AU09" not in found["html"]
    every = client.get(f"{AT}/clip", params={"clip": "s3c1", "every": True}).json()
    assert "AU09" in every["html"]
    starts = [float(a["data-start"]) for t, a in page.tags if "said" in a.get("class", "").split()]
    assert starts == sorted(starts) and len(starts) == len("how lovely this is".split())
    assert "lip corner" in page.text and "label happy" in page.text


def test_what_a_corpus_says_is_never_markup(client):
    name = f"x{ATTACK}"
    for text in (
        client.get(f"{AT}/clips").text,
        client.get(f"{AT}/clip", params={"clip": name}).json()["html"],
        last(client.post(f"{AT}/ask", json={"clip": name, "run": "bag", "explain": True}))["html"],
    ):
        assert "<script" not in text
    found = client.post(
        f"{AT}/render", json={"clip": "s3c1", "draft": draft(client, text=ATTACK)}
    ).json()
    assert "<script" not in found["html"] and "&lt;script" in found["html"]


# --- media ------------------------------------------------------------------------------------


def test_a_film_is_given_by_clip_in_ranges(client):
    whole = client.get(f"{AT}/media", params={"clip": "s3c1"})
    assert whole.content == FILM.read_bytes() and whole.headers["content-type"] == "video/mp4"
    part = client.get(f"{AT}/media", params={"clip": "s3c1"}, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == FILM.read_bytes()[100:200]


@pytest.mark.parametrize("clip", ["foreign", "system", "no such", "../../etc/passwd", str(FILM)])
def test_no_other_file_can_be_read(client, clip):
    found = client.get(f"{AT}/media", params={"clip": clip})
    assert found.status_code == 404
    assert "nobody shall" not in found.text and "root:" not in found.text


@pytest.mark.parametrize(
    "path",
    ["../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "studio.py", "launch.py", "studio.html",
     "%2e%2e/app.py", "media/../../../etc/passwd"],
)  # fmt: skip
def test_no_path_leads_out(client, path):
    found = client.get(f"{AT}/{path}")
    assert found.status_code == 404 and "root:" not in found.text and "import" not in found.text


# --- the door ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/clips", f"/{TOKEN}x/", "/docs",
                                  "/openapi.json", f"//{TOKEN}/clips"])  # fmt: skip
def test_nothing_answers_without_the_token(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example",
                                  "localhost.evil:8001", "", "[::1", "0.0.0.0:8001"])  # fmt: skip
def test_another_name_for_this_machine_is_refused(client, host):
    assert client.get(f"{AT}/clips", headers={"Host": host}).status_code == 421
    assert client.get(f"{AT}/clips", headers={"Host": "localhost:9"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:8001"},
     {"Origin": "https://127.0.0.1:8001"}, {"Origin": "http://["},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
     {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}],
)  # fmt: skip
def test_another_page_cannot_ask(client, headers):
    asked = {"name": "mine", "draft": draft(client)}
    assert client.post(f"{AT}/template", json=asked, headers=headers).status_code == 403


def test_a_link_to_the_page_may_stand_anywhere(client):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get(f"{AT}/", headers=link).status_code == 200
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get(f"{AT}/media?clip=s3c1", headers=picture).status_code == 403


def test_bodies_that_are_too_long_are_refused(client):
    assert client.post(f"{AT}/render", content=b"x" * (9 << 20)).status_code == 413
    film = {"clip": ("x.mp4", b"x" * (2 << 20), "video/mp4")}
    assert client.post(f"{AT}/uploads", files=film).status_code == 413


# --- templates --------------------------------------------------------------------------------


def test_a_prompt_changes_with_its_template_and_says_its_tokens(client):
    asked = {"clip": "s3c1", "draft": draft(client, "run:llm"), "reader": "llm"}
    one = client.post(f"{AT}/render", json=asked).json()
    assert "how lovely this is" in Page(one["html"]).text and "Options: calm, happy" in one["html"]
    (tokens,) = one["tokens"]
    assert tokens["run"] == "llm" and 0 < tokens["tokens"] <= tokens["limit"]
    asked["draft"]["text"] = "SAID " + asked["draft"]["text"]
    two = client.post(f"{AT}/render", json=asked).json()
    assert Page(two["html"]).text.strip().startswith("SAID") and two["digest"] != one["digest"]
    asked["draft"]["modalities"] = "V"
    assert "how lovely" not in client.post(f"{AT}/render", json=asked).json()["html"]


def test_sentences_of_a_prompt_know_their_time(client):
    asked = {"clip": "s3c1", "draft": draft(client)}
    page = Page(client.post(f"{AT}/render", json=asked).json()["html"])
    told = [a for t, a in page.tags if t == "a"]
    assert told and all(0 <= float(a["data-left"]) <= 100 for a in told)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [("one\n{{ fac }}", 2, "undefined"), ("{% if face %}\nx", 2, "end of template"),
     ("a\n\n{{ 1 + }}", 3, "unexpected"), ('{% include "../x.jinja" %}', None, "part"),
     ("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
      None, "more than"),
     ("{{ ''.__class__ }}", 1, "__class__")],
)  # fmt: skip
def test_an_error_is_told_with_its_line_at_once(client, text, line, part):
    asked = {"clip": "s3c1", "draft": draft(client, text=text)}
    found = client.post(f"{AT}/render", json=asked).json()
    assert part in found["error"] and found["line"] == line


def test_a_prompt_that_is_too_long_says_what_it_loses(client):
    text = "{% for i in range(60) %}{{ transcript }} {% endfor %}"
    found = client.post(
        f"{AT}/render", json={"clip": "s3c1", "reader": "llm", "draft": draft(client, text=text)}
    ).json()
    assert found["tokens"][0]["lost"]


def test_templates_are_saved_into_the_users_folder_alone(client, tmp_path):
    asked = {"name": "mine", "draft": draft(client, text="Hm: {{ transcript }}", turns=0)}
    found = client.post(f"{AT}/template", json=asked).json()
    path = tmp_path / "templates" / "mine.jinja"
    assert found["origin"] == "own:mine" and path.read_text() == "Hm: {{ transcript }}"
    assert "own:mine" not in client.get(f"{AT}/templates").json()["shipped"]
    assert client.get(f"{AT}/templates").json()["own"] == ["mine"]
    assert draft(client, "own:mine")["text"] == "Hm: {{ transcript }}"
    again = client.post(f"{AT}/template", json=asked | {"draft": draft(client, text="2")}).json()
    assert "there already" in again["taken"] and path.read_text() == "Hm: {{ transcript }}"
    over = asked | {"draft": draft(client, text="2"), "replace": True}
    assert client.post(f"{AT}/template", json=over).status_code == 200
    assert path.read_text() == "2"
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["mine.jinja"]


@pytest.mark.parametrize("name", ["compound", "../x", "a/b", "", ".x", "x.jinja", "x" * 65, "a b",
                                  "-x", "x\n", "..", "C:x"])  # fmt: skip
def test_other_names_are_refused(client, name, tmp_path):
    asked = {"name": name, "draft": draft(client), "replace": True}
    assert client.post(f"{AT}/template", json=asked).status_code == 422
    assert not list(tmp_path.rglob("*.jinja"))


def test_a_link_is_not_written_through(client, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("kept")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mine.jinja").symlink_to(outside)
    asked = {"name": "mine", "draft": draft(client), "replace": True}
    assert client.post(f"{AT}/template", json=asked).status_code == 422
    assert outside.read_text() == "kept"
    found = client.get(f"{AT}/template", params={"origin": "own:mine"})
    assert found.status_code == 422 and "kept" not in found.text


def test_what_a_recipe_has_to_say_is_told(client):
    asked = {"name": "mine", "draft": draft(client, register="sentences", turns=2)}
    found = client.post(f"{AT}/template", json=asked).json()
    assert "--set wording=sentences --set turns=2" in found["train"]


@pytest.mark.parametrize(
    "origin", ["shipped:none", "own:../x", "run:other", "file:/etc/passwd", "x"]
)
def test_unknown_templates_are_refused(client, origin):
    found = client.get(f"{AT}/template", params={"origin": origin})
    assert found.status_code == 422 and "no template named" in found.json()["error"]["message"]


# --- runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["llm", "bag", "linear"])
def test_an_answer_is_that_of_predict(client, studio, run):
    found = last(client.post(f"{AT}/ask", json={"clip": "s3c1", "run": run}))["html"]
    record = studio.shelf.record("s3c1")
    (own,) = studio.runs[run].method.predict([record])
    page = Page(found)
    assert all(f"{p:.3f}" in page.text for p in own.scores.values())
    assert f"<b>{own.label}</b>" in found and "its validation part" in page.text


def test_the_edited_template_changes_the_answer_and_not_the_run(client, studio):
    record, run = studio.shelf.record("s3c1"), studio.runs["bag"]
    before = run.method.predict([record])[0].scores
    edited = draft(client, "run:bag", text="all is well with me")
    found = last(client.post(f"{AT}/ask", json={"clip": "s3c1", "run": "bag", "draft": edited}))
    assert "not trained" in found["html"] and "<b>calm</b>" in found["html"]
    assert run.method.predict([record])[0].scores == before
    same = draft(client, "run:bag")
    found = last(client.post(f"{AT}/ask", json={"clip": "s3c1", "run": "bag", "draft": same}))
    assert "its own template" in found["html"]


def test_a_clip_that_was_learned_is_marked(client):
    found = last(client.post(f"{AT}/ask", json={"clip": "s0c1", "run": "bag"}))["html"]
    assert "train part: it has learned this answer" in found


@pytest.mark.parametrize("run", ["llm", "bag", "linear"])
def test_contributions_are_those_of_explain(client, studio, run):
    from textualize.explain import explain

    found = last(client.post(f"{AT}/ask", json={"clip": "s3c1", "run": run, "explain": True}))
    effects = explain(studio.runs[run].method, studio.shelf.record("s3c1")).effects
    assert effects and all(f"{e.change:+.3f}" in found["html"] for e in effects[:12])


def test_two_templates_are_compared_on_validation(client, studio):
    asked = {"run": "bag", "a": "run:bag", "b": "edited", "sample": 50,
             "draft": draft(client, text="all is well with me")}  # fmt: skip
    answer = client.post(f"{AT}/compare", json=asked)
    page = Page(last(answer)["html"])
    assert (
        "16 of 16 validation clips" in page.text and "only A right 8, only B right 0" in page.text
    )
    assert {a["data-clip"] for t, a in page.tags if t == "button"} == {
        f"s{s}c{i}" for s in (3, 4) for i in (1, 3, 5, 7)
    }
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert max(x["of"] for x in lines[:-1]) == 32


@pytest.mark.parametrize(
    ("changes", "part"),
    [({"run": "linear"}, "reads no prompt"), ({"b": "run:bag"}, "same template")],
)
def test_what_cannot_be_compared_is_told(client, changes, part):
    asked = {"run": "bag", "a": "run:bag", "b": "edited", "draft": draft(client, text="x")}
    assert part in last(client.post(f"{AT}/compare", json=asked | changes))["error"]


def test_unknown_runs_fields_and_templates_are_refused(client):
    assert client.post(f"{AT}/ask", json={"clip": "s3c1", "run": "x"}).status_code == 404
    assert client.post(f"{AT}/ask", json={"clip": "s3c1", "run": "bag", "y": 1}).status_code == 422
    broken = {"clip": "s3c1", "run": "bag", "draft": draft(client, text="{% if")}
    found = client.post(f"{AT}/ask", json=broken)
    assert found.status_code == 422 and "edited.jinja:1" in found.json()["error"]["message"]


# --- uploads ----------------------------------------------------------------------------------


def uploaded(client, name="me & you.mp4") -> str:
    with FILM.open("rb") as stream:
        found = client.post(f"{AT}/uploads", files={"clip": (name, stream, "video/mp4")})
    assert found.status_code == 200, found.text
    return found.json()["clip"]


def test_an_upload_is_shown_asked_and_forgotten(client, studio, monkeypatch):
    async def read(self, upload):
        assert await upload.read() == FILM.read_bytes()
        return studio.shelf.record("s3c1")

    monkeypatch.setattr(Uploads, "record", read)
    clip = uploaded(client)
    assert "me &amp; you.mp4" in client.get(f"{AT}/clips").text
    shown = client.get(f"{AT}/clip", params={"clip": clip}).json()
    assert shown["media"] == ""
    assert client.get(f"{AT}/media", params={"clip": clip}).status_code == 404
    assert "html" in last(client.post(f"{AT}/ask", json={"clip": clip, "run": "bag"}))
    for _ in range(MOST_UPLOADS - 1):
        uploaded(client)
    with pytest.raises(AssertionError, match="remove one first"):
        uploaded(client)
    for name in studio.shelf.uploads:
        assert client.delete(f"{AT}/clip", params={"clip": name}).status_code == 200
    assert client.get(f"{AT}/clip", params={"clip": clip}).status_code == 404
    assert client.delete(f"{AT}/clip", params={"clip": "s3c1"}).status_code == 404


@pytest.mark.slow
def test_nothing_of_an_upload_stays_on_the_disk(client, studio, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    clip = uploaded(client)
    assert not list(tmp_path.iterdir())
    record = studio.shelf.record(clip)
    assert record.clip.video is None and "aus" in record.tracks and record.transcript
    studio.shelf.drop(clip)


@pytest.mark.parametrize("name", ["../../x.mp4", "x.py", "x.jinja"])
def test_other_uploads_are_refused(client, name):
    found = client.post(f"{AT}/uploads", files={"clip": (name, b"x", "video/mp4")})
    assert found.status_code == 422
    assert client.post(f"{AT}/uploads", data={"clip": "x"}).status_code == 422
