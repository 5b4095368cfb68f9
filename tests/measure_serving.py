"""Measure a running service against local prediction: agreement, and clips a second.

python tests/measure_serving.py RUN CORPUS URL [REQUESTS]   (key in TEXTUALIZE_API_KEY)
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from textualize.methods import load
from textualize.serve.client import Client
from textualize.store import Corpus

CLIENTS = 8


def varied(records, count):
    """Return `count` records of different words: each again, with a number said before it."""
    found = []
    for i in range(count):
        record = records[i % len(records)]
        said = [replace(u, text=f"{i}, {u.text}") for u in record.utterances]
        clip = replace(record.clip, id=f"{record.clip.id}-{i}")
        found.append(replace(record, clip=clip, utterances=tuple(said)))
    return found


def generated(method, records, batch_size=8):
    """Return the seconds plain generation takes, of as many tokens as the longest label has."""
    items = method.items(method.reader.texts(records))
    tokens = max(len(answer) for answer in method.answers)
    begun = time.monotonic()
    for at in range(0, len(items), batch_size):
        ids = [item["input_ids"] for item in items[at : at + batch_size]]
        batch = method.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            method.net.generate(
                **batch.to(method.net.device), max_new_tokens=tokens, do_sample=False,
                pad_token_id=method.tokenizer.pad_token_id,
            )  # fmt: skip
    return time.monotonic() - begun


def main() -> None:
    run, corpus, url = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 500
    records = varied(Corpus(Path(corpus)).records(), count)
    begun = time.monotonic()
    remote = Client(url, concurrency=CLIENTS, timeout_s=600).predict(records)
    served_s = time.monotonic() - begun
    method = load(run)
    begun = time.monotonic()
    local = method.predict(records)
    local_s = time.monotonic() - begun
    same = sum(a.label == b.label for a, b in zip(local, remote, strict=True))
    legal = sum(p.label in method.labels for p in remote)
    gaps = [
        max(abs(a.scores[x] - b.scores[x]) for x in method.labels)
        for a, b in zip(local, remote, strict=True)
        if b.label is not None
    ]
    sample = records[: min(count, 100)]
    print(
        json.dumps(
            {
                "requests": count,
                "clients": CLIENTS,
                "legal": legal,
                "agreement": same / count,
                "largest probability difference": max(gaps),
                "labels": sorted({str(p.label) for p in remote}),
                "clips/s server": round(count / served_s, 2),
                "clips/s local scoring": round(count / local_s, 2),
                "clips/s transformers generate": round(len(sample) / generated(method, sample), 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
