from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.finetune.packing import check_packing, packed, packed_losses, rows_of
from textualize.finetune.recipe import Lora, TextRecipe
from textualize.labels import LabelSet
from textualize.text.causal import TextLLM
from textualize.types import Clip, Record, Span, Utterance

torch.set_num_threads(1)

LABELS = LabelSet("own", ("sad", "sadly surprised", "glad"), {})
SENTENCES = [
    "no",
    "what a lovely day to be out in the sun with all of you, is it not",
    "I miss him so much",
    "leave me alone now, all of you, I have had enough of it for one day",
    "how dare you",
    "she is gone",
]


def causal(llama: str, words: str, **changes) -> TextLLM:
    values = {"template": words, "modalities": "T", "model": llama, "max_tokens": 64}
    torch.manual_seed(3)
    recipe = TextRecipe(method="text-llm", lora=Lora(dropout=0.0), **(values | changes))
    texts = [
        Record(Clip(str(i), None, transcript=s), utterances=(Utterance(Span(0, 1), s),))
        for i, s in enumerate(SENTENCES)
    ]
    method = TextLLM.build(recipe, LABELS, texts)
    with torch.no_grad():  # B = 0 would hide the gradients of A
        for name, parameter in method.net.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    return method


def answered(method: TextLLM) -> list[dict]:
    return method.answered(method.items(SENTENCES), [0, 1, 2, 1, 0, 2])


def learned(method: TextLLM, losses: torch.Tensor) -> dict[str, torch.Tensor]:
    method.net.zero_grad()
    losses.mean().backward()
    return {n: p.grad.clone() for n, p in method.net.named_parameters() if p.requires_grad}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(40, 90))
def test_every_item_has_one_row_and_no_row_is_too_long(lengths, width):
    rows = rows_of(lengths, width)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= width for row in rows)


@pytest.mark.parametrize("width", [None, 300])
def test_packed_losses_and_gradients_are_the_padded_ones(llama, words, width):
    method = causal(llama, words)
    items = answered(method)
    batch = packed(items, width)
    assert batch["input_ids"].shape[0] < len(items)
    padded = method.losses(method.net, method.collate(items))
    together = packed_losses(method.net, method.net.get_output_embeddings(), batch)
    torch.testing.assert_close(together, padded, atol=1e-4, rtol=0)
    one, other = learned(method, together), learned(method, padded)
    assert any(bool(g.abs().max() > 1e-3) for g in one.values())
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], atol=1e-5, rtol=1e-4, msg=name)


def test_only_the_answers_tokens_are_read(llama, words):
    method = causal(llama, words)
    items = answered(method)
    batch = packed(items)
    ids = batch["input_ids"].flatten()
    assert torch.equal(ids[batch["reads"] + 1], batch["tokens"])
    for clip, item in enumerate(items):
        mine = batch["tokens"][batch["clip"] == clip].tolist()
        assert mine == method.answers[item["class"]]


def test_a_prompts_loss_does_not_depend_on_its_neighbours(llama, words):
    method = causal(llama, words)
    items, head = answered(method), method.net.get_output_embeddings()
    alone = packed_losses(method.net, head, packed(items[:1]))
    for others in (items[1:3], items[3:]):
        among = packed_losses(method.net, head, packed([*others, items[0]], 300))
        torch.testing.assert_close(among[-1:], alone, atol=1e-5, rtol=0)


def test_a_model_whose_prompts_read_each_other_is_refused(llama, words, monkeypatch):
    method = causal(llama, words)
    assert check_packing(method, answered(method), 1e-4) < 1e-4
    plain = method.net.forward

    def leaking(input_ids, **options):
        if "attention_mask" not in options:
            options["attention_mask"] = torch.ones_like(input_ids)
        return plain(input_ids=input_ids, **options)

    monkeypatch.setattr(method.net, "forward", leaking)
    with pytest.raises(TextualizeError, match="set packing to false"):
        check_packing(method, answered(method), 1e-4)
