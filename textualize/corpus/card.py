"""The README.md of an export; for the hf format it is the card `datasets` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from textualize.corpus.examples import Plan
from textualize.corpus.export_formats import EXPORT_FORMATS
from textualize.corpus.share import Share, holds
from textualize.corpus.tables import features
from textualize.corpus.writing import Options

if TYPE_CHECKING:
    from textualize.corpus.export import Exported


def card(made: Exported, what: Plan, options: Options, share: Share | None) -> str:
    """Return the text of README.md: what is in the folder, what is not, how it is opened."""
    lines = [_header(made, what, options)] if made.format == "hf" else []
    lines += [
        "# Clips in words",
        "",
        f"Format {made.format}: {EXPORT_FORMATS[made.format].about}.",
        "",
    ]
    lines += [f"    {EXPORT_FORMATS[made.format].opened}", ""]
    lines += [f"- {split or 'without a split'}: {n} rows" for split, n in made.written.items()]
    lines += [f"- left out: {n} clips {reason}" for reason, n in made.left_out.items()]
    if made.about["fold"]:
        lines.append(f"- fold {made.about['fold']}")
    template, digest = made.about["template"], made.about["template_digest"]
    lines += [f"- prompt: template {template}, modalities {made.about['modalities']}, "
              f"digest {digest[:16]}"]  # fmt: skip
    lines += [f"- {note}" for note in made.notes]
    if share is not None:
        lines += ["", "## What can be told from it", "", *(f"- {line}" for line in holds(share))]
    lines += [
        "",
        "Labels are the emotion expressed as it was annotated, not what a person felt. Face and "
        "voice were measured by sensors that err. The licence is that of the corpus this was made "
        "from; sha256 of the files are in export.json.",
    ]
    return "\n".join(lines) + "\n"


def _header(made: Exported, what: Plan, options: Options) -> str:
    files = [{"split": split, "path": f"data/{split}.parquet"} for split in _ordered(made.written)]
    value: dict[str, Any] = {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": features(what, options)},
        "task_categories": ["text-classification"],
    }
    # escaped beyond ASCII: written as they are, U+0085 and U+2028 are read back as spaces
    text = yaml.safe_dump(value, sort_keys=False, width=100)
    return f"---\n{text}---\n"


def _ordered(written: Any) -> list[str]:
    known = ("train", "validation", "test")
    return [s for s in known if s in written] + sorted(set(written) - set(known))
