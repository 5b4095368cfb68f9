import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from textualize.text.models import load_tokenizer
from textualize.weights.models import find_model

SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": 0.1,
}
# fifty thousand pieces would be most of what a test computes
PIECES = 600
SENTENCES = [
    "what a lovely day", "this is great fun", "I love it", "get out of here",
    "how dare you say that", "leave me alone now", "she is gone", "I miss him so much",
    "nothing matters any more, does it", "again and again", "neither glad nor mad nor sad",
]  # fmt: skip


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> str:
    """A folder with a tiny untrained BERT; a real tokenizer's rules, pieces of its own."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    real = load_tokenizer(find_model("minilm").place)
    tokenizer = real.train_new_from_iterator(SENTENCES, PIECES)
    BertModel(BertConfig(vocab_size=len(tokenizer), **SHAPE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory, assets) -> str:
    """A folder with a tiny untrained LLaMA; a real tokenizer's rules, pieces of its own."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    real = AutoTokenizer.from_pretrained(assets / "weights" / "gpt2-tokenizer")
    tokenizer = real.train_new_from_iterator(SENTENCES, PIECES)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        **SHAPE,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def words(tmp_path) -> str:
    """A template that is the transcript alone."""
    template = tmp_path / "words.jinja"
    template.write_text("{{ transcript }}")
    return str(template)
