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


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> str:
    """A folder with a tiny untrained BERT."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = load_tokenizer(find_model("minilm").place)
    BertModel(BertConfig(vocab_size=len(tokenizer), **SHAPE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory, assets) -> str:
    """A folder with a tiny untrained LLaMA and a real tokenizer without padding token."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = AutoTokenizer.from_pretrained(assets / "weights" / "gpt2-tokenizer")
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
