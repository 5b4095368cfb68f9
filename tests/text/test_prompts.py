from textualize.finetune.recipe import load_recipe
from textualize.text.prompts import PromptReader
from textualize.types import Clip, Record, Span, Status, Utterance


def record():
    def turn(speaker, text):
        return Utterance(Span(0, 0), text, speaker=speaker)

    earlier = (turn("Ana", "one"), turn("Bo", "two"), turn("Ana", "three"))
    clip = Clip("c", None, context=earlier, label="joy")
    return Record(clip, {}, (turn("Bo", "four"),), {"speech": Status("observed", "test")})


def reader(turns, options=()):
    recipe = load_recipe("text-encoder", [f"turns={turns}", "modalities=T", "template=transcript"])
    return PromptReader.of(recipe, options)


def test_as_many_turns_are_read_as_the_recipe_says_the_last_ones():
    assert reader(0).texts([record()]) == ["four"]
    assert reader(2).texts([record()]) == ["Bo: two\nAna: three\nfour"]
    assert reader(9).texts([record()])[0].splitlines()[0] == "Ana: one"


def test_a_stored_reader_reads_the_same(tmp_path):
    made = reader(2, ("joy", "anger"))
    made.save(tmp_path)
    again = PromptReader.of_run(tmp_path, ("joy", "anger"))
    assert again.texts([record()]) == made.texts([record()])
    assert again.texts([record()])[0].endswith("Emotion (joy, anger):")
    assert again.template.digest == made.template.digest
