"""Naming sensors, building them, and showing one decode to all of them."""

import numpy as np
import pytest
import soundfile

from textualize.errors import TextualizeError
from textualize.extract.sensor import (
    PRESETS,
    SENSORS,
    Reader,
    Reading,
    make_sensor,
    parse_spec,
    read,
    read_all,
    sensor_specs,
)
from textualize.extract.video import open_media
from textualize.types import Clip, Status


class Probe:
    """A fake sensor that notes what it is shown, and may fail at a chosen step."""

    name, version, modality, weights = "probe", "1", "prosody", ""
    takes_model = True

    def __init__(self, model="", gain: float = 1.0, loud: bool = False, fails="", reads=("sound",)):
        self.options = {"model": model, "gain": gain, "loud": loud}
        self.fails, self.reads = fails, reads

    def begin(self, media):
        if self.fails == "begin":
            raise TextualizeError("not this clip")
        return Notes(self)


class Notes(Reader):
    def __init__(self, sensor):
        self.sensor, self.seen = sensor, []

    def _note(self, what):
        if self.sensor.fails == what:
            raise ValueError(f"broken at {what}")
        self.seen.append(what)

    def frame(self, frame):
        self._note("frame")

    def sound(self, stretch):
        self._note("sound")

    def words(self, utterances):
        self._note("words")

    def finish(self):
        self._note("finish")
        return Reading(Status("observed", "probe", " ".join(self.seen)))


@pytest.fixture
def probe(monkeypatch):
    monkeypatch.setitem(SENSORS, "probe", ("prosody", f"{__name__}:Probe"))


@pytest.fixture
def media(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(8000), 16000)
    return open_media(Clip("a", tmp_path / "a.wav"))


def test_every_sensor_in_the_table_exists():
    import importlib

    for modality, where in SENSORS.values():
        module, _, name = where.partition(":")
        kind = getattr(importlib.import_module(module), name)
        assert kind.modality == modality


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("embedded", PRESETS["embedded"]),
        ("mediapipe, prosody", ("mediapipe", "prosody")),
        ("embedded,face=none", ("sidecar", "pocketsphinx", "prosody")),
        ("speech=whisper=/a:b/c", ("whisper=/a:b/c",)),
        ("embedded,face=py-feat:device=cuda,speech=sidecar,speech=whisper",
         ("prosody", "py-feat:device=cuda", "sidecar", "whisper")),
        ("prosody=prosody,prosody", ("prosody",)),
    ],
)  # fmt: skip
def test_lists_of_sensors_mean_what_they_say(given, expected):
    assert sensor_specs(given) == expected


@pytest.mark.parametrize(
    ("given", "why"),
    [("", "no sensors given"), ("embedde", "did you mean embedded"), ("face=whisper", "face"),
     ("face=none", "no sensors given")],
)  # fmt: skip
def test_lists_that_mean_nothing_are_refused(given, why):
    with pytest.raises(TextualizeError, match=why):
        sensor_specs(given)


def test_a_spec_has_an_argument_and_options():
    spec = parse_spec("whisper=/models/a:b:language=en:beam=3")
    assert (spec.name, spec.argument) == ("whisper", "/models/a:b")
    assert spec.options == {"language": "en", "beam": "3"}
    assert parse_spec("whisper=org/model").argument == "org/model"


def test_options_are_given_in_the_type_of_their_default(probe):
    made = make_sensor("probe=m:gain=2.5:loud=true")
    assert made.options == {"model": "m", "gain": 2.5, "loud": True}
    for spec, why in (
        ("probe:gain=x", "number"), ("probe:loud=1", "true or false"), ("probe:size=1", "size"),
        ("prosody=x", "takes no argument"),
    ):  # fmt: skip
        with pytest.raises(TextualizeError, match=why):
            make_sensor(spec)


def test_one_that_fails_does_not_stop_the_others(media):
    shown = [Probe(fails=step) for step in ("", "begin", "sound", "finish")]
    good, *bad = read_all(shown, media)
    assert isinstance(good, Reading) and good.status.reason == "sound finish"
    assert [str(b) for b in bad] == ["not this clip", "broken at sound", "broken at finish"]
    with pytest.raises(ValueError, match="broken at sound"):
        read(Probe(fails="sound"), media)


def test_a_stream_that_breaks_fails_those_who_wanted_it(media, monkeypatch):
    def broken(self):
        yield from ()
        raise TextualizeError("cannot read it")

    monkeypatch.setattr(type(media), "sound", broken)
    wanted, not_wanted = read_all([Probe(), Probe(reads=("frames", "words"))], media)
    assert isinstance(wanted, TextualizeError)
    assert isinstance(not_wanted, Reading) and not_wanted.status.reason == "words finish"


def test_a_reader_that_never_says_is_an_error(media, monkeypatch):
    monkeypatch.setattr(Probe, "begin", lambda self, media: Reader())
    with pytest.raises(TextualizeError, match="does not say"):
        read(Probe(reads=()), media)
