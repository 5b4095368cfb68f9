"""What must hold on a CUDA device: `make test-gpu`."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from textualize.text.scoring import label_log_probs, label_tree

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class Padding:
    pad_token_id = 0


def test_label_scores_are_the_same_on_the_gpu():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    tree = label_tree([[13, 2], [13, 14, 2], [15, 2]])
    expected = label_log_probs(model, Padding(), prompts, tree)
    found = label_log_probs(model.cuda(), Padding(), prompts, tree)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
