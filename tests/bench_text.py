"""Speed of the text methods, as ratios in CPU time: `python tests/bench_text.py`.

The model is a random LLaMA of 15M parameters with GPT-2's vocabulary, built from a config.
Training is compared with TRL's SFTTrainer where `trl` can be imported; every training runs in a
process of its own, so that its peak memory is its own.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import importlib.util
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # also when it is not run as a script
from bench import ratio  # noqa: E402

VOCABULARY = 50257
PROMPT, SHARED, END = 400, 300, 50256  # tokens; behind a label stands END
LABELS = {"one token": (1,) * 7, "3 to 5 tokens": (3, 4, 4, 5, 3, 4, 5)}
PADDING = SimpleNamespace(pad_token_id=END)
CLIPS, HELD, BATCH, LR, ROUNDS = 160, 64, 8, 1e-2, 3


def model(seed: int = 0) -> Any:
    """Return a random LLaMA, 15.8M parameters of which 12.9M are its embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    shape = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 1024}
    ends = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **shape, **heads, **ends)
    ).eval()


def scoring() -> None:
    """Scoring seven labels behind prompts of 400 tokens, against ways that need no tree."""
    net, rng = model(), np.random.default_rng(0)
    for what, lengths in LABELS.items():
        answers = [[*rng.integers(0, END, n).tolist(), END] for n in lengths]
        _one_prompt(net, rng.integers(0, END, PROMPT).tolist(), answers, what)
    _batches(net, [rng.integers(0, END, PROMPT).tolist() for _ in range(BATCH)], answers)


def _one_prompt(net: Any, prompt: list[int], answers: list[list[int]], what: str) -> None:
    import torch

    from textualize.text.scoring import label_log_probs, label_tree, sequence_log_probs

    tree, ids = label_tree(answers), torch.tensor([prompt])

    def ours() -> Any:
        return label_log_probs(net, PADDING, [prompt], tree)

    def generated() -> Any:
        longest = max(len(answer) for answer in answers)
        return net.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=longest,
            min_new_tokens=longest,
            do_sample=False,
        )

    @torch.inference_mode()
    def naive() -> Any:
        found = []
        for answer in answers:
            whole = torch.tensor([[*prompt, *answer]])
            log_p = net(input_ids=whole).logits.float().log_softmax(-1)[0, :-1]
            found.append(log_p.gather(1, whole[0, 1:, None])[-len(answer) :].sum())
        return torch.stack(found)

    def kept() -> Any:
        return sequence_log_probs(net, PADDING, [prompt], answers)

    torch.testing.assert_close(ours()[0].float(), naive(), atol=1e-3, rtol=0)
    ratio(f"labels of {what}, one tree against greedy generate", ours, generated)
    ratio(f"labels of {what}, one tree against 7 passes keeping the labels' logits", ours, kept)
    ratio(f"labels of {what}, one tree against 7 plain passes", ours, naive)


def _batches(net: Any, prompts: list[list[int]], answers: list[list[int]]) -> None:
    from textualize.text.scoring import label_log_probs, label_tree, sequence_log_probs

    tree = label_tree(answers)
    alike = [[*prompts[0][:SHARED], *prompt[SHARED:]] for prompt in prompts]
    for what, chosen in (("", prompts), (f" that share {SHARED} tokens", alike)):
        ratio(
            f"labels of {BATCH} prompts{what}, one batch against one by one",
            lambda chosen=chosen: label_log_probs(net, PADDING, chosen, tree),
            lambda chosen=chosen: [label_log_probs(net, PADDING, [p], tree) for p in chosen],
        )
        ratio(
            f"labels of {BATCH} prompts{what}, one batch against 7 passes keeping the logits",
            lambda chosen=chosen: label_log_probs(net, PADDING, chosen, tree),
            lambda chosen=chosen: sequence_log_probs(net, PADDING, chosen, answers),
        )


# --- training -------------------------------------------------------------------------------------


def training() -> None:
    """One epoch of LoRA on MELD's utterances: ours, ours packed, and TRL's SFTTrainer as it is."""
    meld = Path(os.environ.get("TEXTUALIZE_ASSETS", "../shared")) / "data" / "meld_text"
    if not meld.is_dir():
        print("training: skipped, MELD's texts are not there")
        return
    import textualize.finetune.text  # noqa: F401  once, before the processes are forked

    against = importlib.util.find_spec("trl") is not None
    if against:
        import datasets  # noqa: F401
        import trl  # noqa: F401
    else:
        print("training against TRL: skipped, `trl` cannot be imported")
    with tempfile.TemporaryDirectory() as folder:
        base = _saved(Path(folder), meld.parent.parent / "weights" / "gpt2-tokenizer")
        ways: dict[str, Callable[..., dict[str, float]]] = {
            "ours": lambda *a: _ours(*a, packing=False),
            "ours packed": lambda *a: _ours(*a, packing=True),
        }
        if against:
            ways["TRL"] = _trl
            ways["TRL without gradient checkpointing"] = lambda *a: _trl(*a, recompute=False)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for seed in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(_apart(way, base, meld, seed))
    for name, runs in found.items():
        _told(name, runs, found.get("TRL", []))


def _told(name: str, runs: list[dict[str, float]], peers: list[dict[str, float]]) -> None:
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    faster = [t["seconds"] / r["seconds"] for t, r in zip(peers, runs, strict=False)]
    against = (
        f", {statistics.median(faster):.1f}x TRL ({min(faster):.1f}-{max(faster):.1f})"
        if faster
        else ""
    )
    print(
        f"training, {name}: {middle['tokens'] / middle['seconds']:.0f} tokens/s{against}, peak "
        f"{middle['peak']:.0f} MB above the start, held-out loss "
        + ", ".join(f"{run['loss']:.3f}" for run in runs)
    )


def _saved(folder: Path, tokenizer: Path) -> Path:
    from transformers import AutoTokenizer

    base = folder / "base"
    model().save_pretrained(base)
    read = AutoTokenizer.from_pretrained(tokenizer)
    read.chat_template = None
    read.save_pretrained(base)
    (folder / "words.jinja").write_text("{{ transcript }}")
    return base


def _apart(way: Callable[..., dict[str, float]], *given: Any) -> dict[str, float]:
    """Return what a training measures in a forked process."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)

    def work() -> None:
        import torch

        torch.set_num_threads(1)
        for stream in (1, 2):  # both libraries talk
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        there.send(json.dumps(way(*given)))

    process = fork.Process(target=work)
    process.start()
    there.close()
    found: dict[str, float] = json.loads(here.recv())
    process.join()
    return found


def _prepared(base: Path, meld: Path, seed: int, packing: bool) -> Any:
    """Return an untrained method with a fresh adapter, training items, their classes, held ones."""
    from transformers import set_seed

    from textualize.datasets import meld as reader
    from textualize.finetune.recipe import Lora, TextRecipe
    from textualize.text.causal import TextLLM
    from textualize.types import Record, Span, Utterance

    listing = reader.load(meld)
    clips = [c for c in listing.clips if c.split == "train"][: CLIPS + HELD]
    records = [Record(c, utterances=(Utterance(Span(0, 1), c.transcript or ""),)) for c in clips]
    recipe = TextRecipe(
        method="text-llm", model=str(base), template=str(base.parent / "words.jinja"),
        modalities="T", lora=Lora(), epochs=1, batch_size=BATCH, lr=LR, warmup=0.0, seed=seed,
        weight_decay=0.0, packing=packing,
    )  # fmt: skip
    set_seed(seed)
    method = TextLLM.build(recipe, listing.labels, records)
    classes = [listing.labels.index(c.label) for c in clips]
    items = method.answered(method.items(method.reader.texts(records)), classes)
    return method, items, classes


def _measured(method: Any, train: Callable[[], object], items: list[Any]) -> dict[str, float]:
    """Return CPU seconds and peak memory of a training, then the loss on held-out items."""
    import torch

    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    train()
    seconds = time.process_time() - begun
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
    method.net.eval()
    with torch.no_grad():
        loss = float(method.losses(method.net, method.collate(items[CLIPS:])).mean())
    tokens = sum(len(item["input_ids"]) for item in items[:CLIPS])
    return {"seconds": seconds, "tokens": tokens, "peak": peak, "loss": loss}


def _ours(base: Path, meld: Path, seed: int, *, packing: bool) -> dict[str, float]:
    from textualize.finetune.run_folder import RunFolder
    from textualize.finetune.trainer import TextTrainer

    method, items, classes = _prepared(base, meld, seed, packing)
    with tempfile.TemporaryDirectory() as folder:
        held = [{"input_ids": i["input_ids"][: -i["answer"]]} for i in items[CLIPS : CLIPS + BATCH]]
        trainer = TextTrainer(
            method, method.recipe, items[:CLIPS], classes[:CLIPS], held,
            classes[CLIPS : CLIPS + BATCH], RunFolder(folder),
        )  # fmt: skip
        return _measured(method, trainer.train, items)


def _trl(base: Path, meld: Path, seed: int, *, recompute: bool = True) -> dict[str, float]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    method, items, _ = _prepared(base, meld, seed, False)
    rows = [
        {
            "input_ids": i["input_ids"],
            "completion_mask": [0] * (len(i["input_ids"]) - i["answer"]) + [1] * i["answer"],
        }
        for i in items[:CLIPS]
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=method.net,
            processing_class=method.tokenizer,
            train_dataset=Dataset.from_list(rows),
            args=SFTConfig(
                output_dir=folder, num_train_epochs=1, per_device_train_batch_size=BATCH,
                learning_rate=LR, completion_only_loss=True, gradient_checkpointing=recompute,
                seed=seed, use_cpu=True, bf16=False, report_to=[], save_strategy="no",
                disable_tqdm=True,
            ),
        )  # fmt: skip
        return _measured(method, trainer.train, items)


if __name__ == "__main__":
    scoring()
    training()
