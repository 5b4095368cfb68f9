import json

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.prompt import (
    load_template,
    load_template_from,
    render,
    render_with,
    save_template,
)
from textualize.types import Clip, Record, Track


def smiling():
    values = np.full((30, 1), 0.95, np.float32)
    return Record(Clip("c", None), {"aus": Track(values, 10.0, 0.0, ("AU12",), "probability", "s")})


@pytest.mark.parametrize("template", ["compound", "basic"])
def test_shipped_templates_render_either_register(template):
    terse = render(smiling(), template, modalities="V").text
    sentences = render(smiling(), template, modalities="V", register="sentences").text
    assert "lip corner puller (AU12) strong, throughout" in terse
    assert "the lip corners are pulled up strongly throughout" in sentences.lower()


def test_the_default_template_writes_whole_sentences():
    text = render(smiling(), modalities="VA", register="sentences").text
    assert text.splitlines() == [
        "Voice: Voice was not measured.",
        "Face: The lip corners are pulled up strongly throughout.",
    ]


def test_a_run_keeps_its_register(tmp_path):
    template = load_template("compound", "V", register="sentences")
    save_template(template, tmp_path)
    again = load_template_from(tmp_path)
    assert again.register == "sentences"
    assert render_with(again, smiling()).text == render_with(template, smiling()).text


def test_a_run_from_before_registers_is_terse(tmp_path):
    save_template(load_template("compound", "V", register="sentences"), tmp_path)
    about = tmp_path / "prompt" / "prompt.json"
    described = json.loads(about.read_text())
    del described["register"]
    about.write_text(json.dumps(described))
    assert load_template_from(tmp_path).register == "terse"


def test_an_unknown_register_is_refused_before_anything_is_rendered():
    with pytest.raises(TextualizeError, match="register named 'verse'"):
        load_template("compound", register="verse")
