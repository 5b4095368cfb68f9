from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from textualize.text.forest import forest_log_probs, packs
from textualize.text.scoring import label_log_probs, label_tree

torch.set_num_threads(1)
VOCABULARY, END = 60, 2
TREE = label_tree([[5, 6, END], [5, 7, 8, END], [9, END]])
LETTERS = label_tree([[5], [6]])
PADDING = SimpleNamespace(pad_token_id=0)


def llama(**changes):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **shape, **heads, **changes)).eval()


NETS = {
    "llama": llama(),
    "gpt2": GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256)
    ).eval(),
}


def prompts(seed, count=12):
    """Prompts of three clips that share long beginnings, short ones, or all."""
    draw = torch.Generator().manual_seed(seed)

    def some(n):
        return torch.randint(10, VOCABULARY, (n,), generator=draw).tolist()

    instruction, clips = some(40), [some(n) for n in (3, 50, 20)]
    made = [[*instruction, *clips[i % 3], *some(1 + i % 7)] for i in range(count)]
    return [*made, instruction, made[0], clips[1], [*clips[1], 11], [12]]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("tree", [TREE, LETTERS], ids=["words", "letters"])
@pytest.mark.parametrize("room", [1, 60, 10_000])
def test_a_forest_says_what_each_prompt_says_by_itself(net, tree, room):
    asked = prompts(1)
    alone = torch.cat([label_log_probs(NETS[net], PADDING, [p], tree) for p in asked])
    found = forest_log_probs(NETS[net], asked, tree, room=room)
    torch.testing.assert_close(found, alone, atol=2e-4, rtol=0)


def test_a_sliding_window_keeps_no_stem_and_says_the_same():
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 200}
    net = MistralForCausalLM(MistralConfig(vocab_size=VOCABULARY, **shape, **heads)).eval()
    asked = prompts(2)
    alone = torch.cat([label_log_probs(net, PADDING, [p], TREE) for p in asked])
    torch.testing.assert_close(forest_log_probs(net, asked, TREE), alone, atol=2e-4, rtol=0)


def test_what_is_shared_is_computed_once():
    net, read = NETS["llama"], []
    hook = net.model.embed_tokens.register_forward_hook(
        lambda module, given, out: read.append(given[0].numel())
    )
    asked = prompts(3, 40)
    forest_log_probs(net, asked, LETTERS)
    hook.remove()
    distinct = {tuple(p[:n]) for p in asked for n in range(1, len(p) + 1)}
    assert sum(read) == len(distinct)
    assert sum(map(len, asked)) > 3 * len(distinct)


token_lists = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1)


@given(token_lists, st.integers(0, 3), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_packs_hold_every_prompt_once_and_keep_to_their_room(asked, answers, room):
    distinct = sorted(set(asked))
    made = list(packs(distinct, answers, room))
    assert [p for pack in made for p in pack] == distinct
    for pack in made:
        tokens = len({p[:n] for p in pack for n in range(1, len(p) + 1)}) + answers * len(pack)
        assert tokens <= room or len(pack) == 1


def test_progress_counts_different_prompts():
    told = []
    forest_log_probs(NETS["llama"], [[3, 4], [3, 4], [3]], LETTERS, seen=lambda *n: told.append(n))
    assert told[-1] == (2, 2)
