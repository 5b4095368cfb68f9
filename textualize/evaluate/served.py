"""A served model as it is asked in the cells of a matrix; the same interface as a local one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate.endpoint import Endpoint, Reply, ask_all
from textualize.evaluate.prompted import Asked, Worded, WordedReader
from textualize.evaluate.settings import CellAnswers, Setting, template_of
from textualize.files import digest_of
from textualize.finetune.recipe import Shots
from textualize.labels import LabelSet
from textualize.text.answers import Kind, Messages, answer_texts, messages, options
from textualize.text.demonstrations import Demonstrations, solved_of
from textualize.types import Prediction, Record


class ServedModel:
    """A model behind an endpoint. Nothing is cut: the server's own limit holds."""

    def __init__(self, endpoint: Endpoint, labels: LabelSet, train: Sequence[Record], seed: int):
        """Take where the server is; `train` are the records demonstrations are drawn from."""
        self.name = f"{endpoint.model} at {endpoint.url}"
        self.notes = [f"prompts, transcripts included, were sent to {endpoint.url}"]
        self._endpoint = endpoint
        self._labels = labels
        self._train = list(train)
        self._seed = seed
        self._worded = Worded()
        self._replies: dict[str, Reply] = {}

    def ask(self, setting: Setting, records: Sequence[Record], shots: Shots | None) -> Asked:
        """Return what a cell asks about records.

        Raises:
            TextualizeError: the template does not list the options.
        """
        template, labels = template_of(setting), self._labels
        listed = options(labels.labels, setting.answers)
        reader = WordedReader(template=template, options=listed, worded=self._worded)
        if not reader.lists_options:
            raise TextualizeError(
                f"template '{setting.template}' does not list the options, so a server cannot know "
                "what to answer"
            )
        texts = reader.texts(records)
        prompts = [messages(text) for text in texts]
        if shots is not None:
            told = answer_texts(labels.labels, setting.answers)
            writes = dict(zip(labels.labels, told, strict=True))
            solved = solved_of(self._train, reader.texts(self._train), labels)
            picked = Demonstrations(solved, shots, writes, self._seed).of(records, texts)
            prompts = [messages(t, s) for t, s in zip(texts, picked, strict=True)]
        server = {"url": self._endpoint.url, "model": self._endpoint.model}
        how = {**asdict(setting), "template": template.digest, **server}
        clips = tuple(r.clip.id for r in records)
        return Asked(
            setting,
            template.digest,
            clips,
            tuple(prompts),
            tuple({} for _ in prompts),
            digest_of([how, self._endpoint.constrain, labels.labels, clips, prompts]),
        )

    def answer(
        self, asked: Sequence[Asked], seen: Callable[[int, int], None] = lambda done, total: None
    ) -> list[CellAnswers]:
        """Return the answers of cells; what two cells ask alike is asked once."""
        found = []
        for number, cell in enumerate(asked, 1):
            kind = cell.setting.answers
            replies = self._ask(kind, cell.prompts)
            made = [self._prediction(c, r) for c, r in zip(cell.clips, replies, strict=True)]
            found.append(CellAnswers(tuple(made), tuple(r.tokens for r in replies)))
            seen(number, len(asked))
        return found

    def _ask(self, kind: Kind, prompts: Sequence[Messages]) -> list[Reply]:
        keys = [digest_of([kind, p]) for p in prompts]
        new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in self._replies}
        replies = ask_all(self._endpoint, list(new.values()), self._labels.labels, kind)
        self._replies.update(zip(new, replies, strict=True))
        return [self._replies[k] for k in keys]

    def _prediction(self, clip: str, reply: Reply) -> Prediction:
        labels = self._labels.labels
        if reply.place is None:
            return Prediction(clip, "endpoint", None, {}, reply.text)
        scores: Mapping[str, float] = {}
        if reply.scores:
            logs = np.array([reply.scores.get(i, -np.inf) for i in range(len(labels))])
            shares = np.exp(logs - np.logaddexp.reduce(logs))
            scores = dict(zip(labels, shares.tolist(), strict=True))
        return Prediction(clip, "endpoint", labels[reply.place], scores, reply.text)
