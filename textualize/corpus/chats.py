"""Questions and answers for language models: TRL's rows, and LLaMA-Factory's two formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from textualize.corpus.examples import Example, Plan
from textualize.corpus.writing import Options, Writer
from textualize.errors import TextualizeError
from textualize.files import write_json_atomic
from textualize.text.answers import framed


class _Lines:
    """One JSON Lines file a split."""

    def __init__(self, folder: Path, row: Callable[[Example], Mapping[str, Any]]) -> None:
        self.notes: list[str] = []
        self.splits: list[str] = []
        self._folder, self._row = folder, row
        self._files: dict[str, IO[str]] = {}
        self._open = ExitStack()

    def write(self, example: Example) -> None:
        if example.split not in self._files:
            path = self._folder / f"{example.split}.jsonl"
            stream = path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
            self._files[example.split] = self._open.enter_context(stream)
            self.splits.append(example.split)
        line = json.dumps(self._row(example), ensure_ascii=False, allow_nan=False)
        self._files[example.split].write(line + "\n")

    def close(self) -> None:
        self._open.close()


def _answer(example: Example) -> str:
    if not isinstance(example.label, str):
        raise TextualizeError(
            f"clip '{example.id}' has the number {example.label} as its label: an answer is a "
            "word; export hf or csv"
        )
    return example.label


def messages_row(example: Example, system: str = "") -> dict[str, Any]:
    """Return a chat of a question and its answer, the system text before them where given."""
    turns = [("system", system)] if system else []
    turns += [("user", example.text), ("assistant", _answer(example))]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


_NO_CHAT = SimpleNamespace(chat_template=None)


def completion_row(example: Example) -> dict[str, Any]:
    """Return prompt and completion in plain text, framed as for a model without a chat template."""
    return {"prompt": framed(_NO_CHAT, example.text), "completion": f" {_answer(example)}"}


def trl(folder: Path, what: Plan, options: Options) -> Writer:
    """Return the writer of TRL's rows; raises TextualizeError for a system text in plain rows."""
    if options.style == "prompt-completion":
        if options.system:
            raise TextualizeError("a plain prompt has no system turn: use --style messages")
        return _Lines(folder, completion_row)
    return _Lines(folder, lambda example: messages_row(example, options.system))


def sharegpt_row(example: Example, system: str = "") -> dict[str, Any]:
    """Return a conversation as LLaMA-Factory's data format `sharegpt` has it."""
    turns = [("human", example.text), ("gpt", _answer(example))]
    row: dict[str, Any] = {"conversations": [{"from": who, "value": text} for who, text in turns]}
    return row | ({"system": system} if system else {})


def alpaca_row(example: Example, system: str = "") -> dict[str, Any]:
    """Return an instruction as LLaMA-Factory's data format `alpaca` has it."""
    row = {"instruction": example.text, "input": "", "output": _answer(example)}
    return row | ({"system": system} if system else {})


class _Factory(_Lines):
    """JSON Lines and the description LLaMA-Factory finds them by, `textualize_<split>`."""

    def __init__(
        self,
        folder: Path,
        row: Callable[[Example], Mapping[str, Any]],
        columns: Mapping[str, str],
        formatting: str,
    ) -> None:
        super().__init__(folder, row)
        self._described = {"formatting": formatting, "columns": dict(columns)}

    def close(self) -> None:
        super().close()
        described = {
            f"textualize_{split}": {"file_name": f"{split}.jsonl", **self._described}
            for split in sorted(self.splits)
        }
        write_json_atomic(self._folder / "dataset_info.json", described)
        names = ", ".join(described)
        self.notes.append(f"LLaMA-Factory: dataset_dir is this folder, datasets are {names}")


def sharegpt(folder: Path, what: Plan, options: Options) -> Writer:
    """Return the writer of conversations for LLaMA-Factory."""
    columns = {"messages": "conversations"} | ({"system": "system"} if options.system else {})
    return _Factory(folder, lambda e: sharegpt_row(e, options.system), columns, "sharegpt")


def alpaca(folder: Path, what: Plan, options: Options) -> Writer:
    """Return the writer of instructions for LLaMA-Factory."""
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    columns |= {"system": "system"} if options.system else {}
    return _Factory(folder, lambda e: alpaca_row(e, options.system), columns, "alpaca")
