from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig
from transformers import LlamaForCausalLM as Llama

from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS
from textualize.text.answers import answer_ids, prompt_ids
from textualize.text.models import load_tokenizer
from textualize.text.scoring import (
    WORTHWHILE,
    label_log_probs,
    label_tree,
    left_pad,
    positions,
    sequence_log_probs,
    shared_tokens,
)

torch.set_num_threads(1)

answers_lists = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=5).map(lambda a: (*a, 2)),
    min_size=1,
    max_size=6,
    unique=True,
)


class Padding:
    pad_token_id = 0


@given(answers_lists)
@settings(max_examples=200, deadline=None)
def test_every_answer_is_a_walk_down_the_tree(answers):
    tree = label_tree(answers)
    for answer, walk in zip(answers, tree.steps, strict=True):
        assert tuple(token for _, token in walk) == answer
        assert walk[0][0] == -1
        for (_, token), (node, _) in zip(walk, walk[1:], strict=False):
            assert tree.tokens[node] == token
    distinct = {answer[:n] for answer in answers for n in range(1, len(answer))}
    assert len(tree.tokens) == len(distinct)  # shared beginnings once, end tokens never


@given(answers_lists)
@settings(max_examples=50, deadline=None)
def test_a_node_sees_its_ancestors_and_itself(answers):
    tree = label_tree(answers)
    seen = tree.visible()
    for k, depth in enumerate(tree.depths):
        assert seen[k, k]
        assert int(seen[k].sum()) == depth + 1


def test_labels_that_read_the_same_are_refused():
    with pytest.raises(TextualizeError, match="same tokens"):
        label_tree([[3, 2], [3, 2]])


def test_left_padding_keeps_positions():
    ids, mask = left_pad([[5, 6], [7, 8, 9]], 0)
    assert ids.tolist() == [[0, 5, 6], [7, 8, 9]]
    assert positions(mask).tolist() == [[0, 0, 1], [0, 1, 2]]


def _random_model(kind: str, attention: str):
    torch.manual_seed(0)
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=40,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.3,
        )
        model = Llama._from_config(config, attn_implementation=attention)
    else:  # learned absolute positions: wrong position ids would show
        config = GPT2Config(
            vocab_size=40, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3
        )
        model = GPT2LMHeadModel._from_config(config, attn_implementation=attention)
    return model.eval()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@given(
    answers_lists,
    st.lists(st.lists(st.integers(3, 39), min_size=1, max_size=9), min_size=1, max_size=4),
)
@settings(max_examples=15, deadline=None)
def test_one_forward_equals_whole_sequences(kind, attention, answers, prompts):
    model = _random_model(kind, attention)
    tree = label_log_probs(model, Padding(), prompts, label_tree(answers))
    whole = sequence_log_probs(model, Padding(), prompts, answers)
    assert tree.shape == (len(prompts), len(answers))
    torch.testing.assert_close(tree, whole, atol=1e-4, rtol=0)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5))
def test_what_is_shared_is_the_longest_beginning_that_leaves_each_a_token(prompts):
    n = shared_tokens(prompts)
    least = min(len(p) for p in prompts)
    assert 0 <= n < least
    assert len({tuple(p[:n]) for p in prompts}) == 1
    assert n == least - 1 or len({tuple(p[: n + 1]) for p in prompts}) > 1


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("answers", [[(3, 2), (3, 4, 2), (5, 2)], [(3,), (4,)]])
def test_a_beginning_all_prompts_share_is_read_once(kind, attention, answers):
    model = _random_model(kind, attention)
    torch.manual_seed(1)
    beginning = torch.randint(3, 40, (WORTHWHILE,)).tolist()
    prompts = [[*beginning, *range(10, 10 + n)] for n in (9, 1, 4)] + [[*beginning, 30, 31]]
    read = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    tree = label_tree(answers)
    together = label_log_probs(model, Padding(), prompts, tree)
    hook.remove()
    assert read == [(1, WORTHWHILE), (4, 9 + len(tree.tokens))]
    whole = sequence_log_probs(model, Padding(), prompts, answers)
    torch.testing.assert_close(together, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["stories260K", "babyllama-tok105"])
def test_trained_checkpoints_score_as_whole_sequences(assets: Path, name, attention):
    folder = str(assets / "weights" / name)
    tokenizer = load_tokenizer(folder, side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention).eval()
    texts = ["One day a girl was very happy. Emotion:", "Tom was sad", "A dog ran to the big park"]
    prompts = [prompt_ids(tokenizer, t) for t in texts]
    answers = [answer_ids(tokenizer, label) for label in LABEL_SETS["compound7"].labels]
    tree = label_tree(answers)
    together = label_log_probs(model, tokenizer, prompts, tree)
    whole = sequence_log_probs(model, tokenizer, prompts, answers)
    alone = torch.cat([label_log_probs(model, tokenizer, [p], tree) for p in prompts])
    torch.testing.assert_close(together, whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    by_hand = _by_hand(model, prompts[0], answers[0])
    assert abs(float(together[0, 0]) - by_hand) < 1e-4


def _by_hand(model, prompt, answer) -> float:
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(answer))
