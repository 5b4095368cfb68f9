"""Runs on the desk: what each reads of a clip, answers, and rests on; two templates compared.

A run of words can be asked by another template than its own: its weights are shared, nothing is
written. Such an answer is an experiment, since the model was trained on other prompts.
"""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Answers, answers
from textualize.evaluate.clip_page import label_text
from textualize.evaluate.compare import Difference, Interval, interval, paired_difference
from textualize.explain import Explanation, explain
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import Method, load
from textualize.prompt import Template, render_with
from textualize.studio.jobs import Progress
from textualize.types import Prediction, Prompt, Record
from textualize.windows import ByWindow

TOGETHER = 16  # clips between two looks at whether the answer is still wanted
SAMPLE_SEED = 0


@dataclass(frozen=True, slots=True)
class Read:
    """A prompt as a run would read it: its tokens of how many, and what was cut.

    `tokens` and `limit` are None for a run that counts none.
    """

    prompt: Prompt
    tokens: int | None = None
    limit: int | None = None
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """One run's answer on one clip; `part` is where the clip was in the run's own split.

    `words` says whether it reads words at all, `own` that it read by its own template, and
    `unexplained` why there is no explanation where one was asked for.
    """

    run: str
    prediction: Prediction
    words: bool
    own: bool
    part: str
    explanation: Explanation | None = None
    unexplained: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """Two templates asked of one run on the same clips.

    `scores` are (template's name, score, accuracy) of both, `differing` the clips they disagree on.
    """

    run: str
    sample: int
    of: int
    statistic: str
    scores: tuple[tuple[str, Interval, Interval | None], ...]
    difference: Difference
    differing: tuple[tuple[str, str, Prediction, Prediction], ...]


@dataclass(frozen=True, slots=True)
class TriedRun:
    """One run under its name; `template` is its own, None if it reads no words."""

    name: str
    folder: Path
    method: Method
    template: Template | None
    counter: Any  # the method with a tokenizer of its own: counting waits for no scoring
    parts: Mapping[str, frozenset[str]]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def opened(cls, name: str, folder: Path) -> TriedRun:
        """Return a run folder's run; raises TextualizeError where it cannot be loaded."""
        method = load(folder)
        inner = _inner(method)
        template = getattr(getattr(inner, "reader", inner), "template", None)
        counter = None
        if hasattr(inner, "tokenizer") and inner is method:
            counter = copy.copy(cast(Any, inner))
            counter.tokenizer = copy.deepcopy(counter.tokenizer)
        parts = {part: frozenset(ids) for part, ids in RunFolder(folder).parts.items()}
        return cls(name, folder, method, template, counter, parts)

    @property
    def options(self) -> tuple[str, ...]:
        """The labels its prompts list."""
        return tuple(getattr(getattr(_inner(self.method), "reader", None), "options", ()))

    def part_of(self, clip: str) -> str:
        """Return the part of the run's own split a clip is in; "" for none."""
        return next((part for part, ids in self.parts.items() if clip in ids), "")

    def reads(self, record: Record, template: Template) -> Read:
        """Return the prompt this run would be given, within its budget of tokens."""
        prompt = render_with(template, record, labels=self.options)
        if self.counter is None:
            return Read(prompt)
        from textualize.text import budget
        from textualize.text.predict import fitted_texts

        with self._lock:
            reading = with_template(self.counter, template)
            (text,), (shots,), (lost,) = fitted_texts(reading, [record])
            tokens = reading.length(text, shots)
        limit = int(reading.limit)
        return Read(replace(prompt, text=text), min(tokens, limit), limit, budget.told(lost))

    def asked(
        self, record: Record, template: Template | None, *, explained: bool, progress: Progress
    ) -> Told:
        """Return the answer on a clip, by this template or the run's own where None is given."""
        read, own = self.method, True
        if template is not None and self.template is not None:
            own = alike(template, self.template)
            read = read if own else with_template(read, template)
        method = _Watched(read, progress)
        (prediction,) = method.predict([record])
        words = self.template is not None
        told = Told(self.name, prediction, words, own, self.part_of(record.clip.id))
        if not explained:
            return told
        try:
            return replace(told, explanation=explain(method, record))
        except TextualizeError as error:
            return replace(told, unexplained=str(error))


def alike(a: Template, b: Template) -> bool:
    """Return whether two templates give the same prompts, whatever they are called."""
    return replace(a, name="", source="") == replace(b, name="", source="")


def with_template(method: Any, template: Template) -> Any:
    """Return a method that reads by another template, with the same weights."""
    if isinstance(method, ByWindow):
        return ByWindow(with_template(method.method, template), method.window)
    made = copy.copy(method)
    if hasattr(made, "reader"):
        made.reader = replace(made.reader, template=template)
    elif hasattr(made, "template"):
        made.template = template
    return made


def _inner(method: Any) -> Any:
    return method.method if isinstance(method, ByWindow) else method


class _Watched:
    """A method that tells after every batch how far it is, as a step of several alike."""

    def __init__(self, method: Method, progress: Progress, step: int = 0, of: int = 1) -> None:
        self._method, self._progress, self._step, self._of = method, progress, step, of
        self.labels = method.labels
        for name in ("reader", "template"):  # what `explain` looks for
            if hasattr(method, name):
                setattr(self, name, getattr(method, name))

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        found: list[Prediction] = []
        whole = len(records)
        for at in range(0, whole, TOGETHER):
            self._progress(self._step * whole + at, self._of * whole)
            found += self._method.predict(records[at : at + TOGETHER])
        return found


# --- two templates ------------------------------------------------------------------------------


def sample_of(run: TriedRun, records: Sequence[Record], most: int) -> list[Record]:
    """Return at most `most` of a run's validation records, drawn with one seed.

    Raises:
        TextualizeError: none of them is its validation.
    """
    seen = run.parts.get("train", frozenset())
    fresh = [r for r in records if r.clip.id not in seen]
    if not fresh:
        raise TextualizeError(
            f"the corpus holds no validation clips of '{run.name}': give the corpus it was trained "
            "on, or one with a split named validation"
        )
    drawn = random.Random(SAMPLE_SEED).sample(range(len(fresh)), min(most, len(fresh)))
    return [fresh[i] for i in sorted(drawn)]


def compared(
    run: TriedRun,
    templates: Mapping[str, Template],
    records: Sequence[Record],
    most: int,
    labels: LabelSet,
    progress: Progress,
) -> Compared:
    """Return how a run answers by two templates on a sample of `records`, which it did not learn.

    Raises:
        TextualizeError: the run reads no words, or the templates are one.
    """
    if run.template is None:
        raise TextualizeError(f"'{run.name}' reads no prompt, so no template changes its answers")
    (a, first), (b, second) = templates.items()
    if alike(first, second):
        raise TextualizeError(f"{a} and {b} are the same template")
    sample = sample_of(run, records, most)
    given: list[list[Prediction]] = []
    for i, template in enumerate((first, second)):
        method = _Watched(with_template(run.method, template), progress, i, 2)
        given.append(method.predict(sample))
    read = [answers(name, p, sample, labels) for name, p in zip((a, b), given, strict=True)]
    statistic = "mae" if labels.numeric else "macro_f1"
    differing = tuple(
        (r.clip.id, label_text(r.clip.label), x, y)
        for r, x, y in zip(sample, *given, strict=True)
        if x.label != y.label
    )
    return Compared(
        run.name,
        len(sample),
        len(records),
        statistic,
        tuple(_scored(own, statistic) for own in read),
        paired_difference(read[0], read[1], statistic),
        differing,
    )


def _scored(own: Answers, statistic: str) -> tuple[str, Interval, Interval | None]:
    accuracy = interval(own, "accuracy") if own.n_classes else None
    return own.method, interval(own, statistic), accuracy
