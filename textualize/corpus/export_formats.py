"""The one table of export formats: a name, who writes it, what it takes.

hf         data/<split>.parquet, opened by `datasets.load_dataset(folder)`
trl        <split>.jsonl of messages, or of prompt and completion, for TRL's SFTTrainer
sharegpt   <split>.jsonl of conversations and dataset_info.json, for LLaMA-Factory
alpaca     <split>.jsonl of instruction and output and dataset_info.json, for LLaMA-Factory
csv        clips.csv, one row a clip
rttm       speech.rttm, who speaks when
srt        srt/<id>.srt, what is said when
vtt        vtt/<id>.vtt, what is said, seen, heard and answered when
elan       elan/<id>.txt, the same as ELAN's tab-delimited text
eaf        eaf/<id>.eaf, the same as ELAN's own file
frames     frames/<id>.<track>.csv, every row of every track
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from textualize.corpus import captions, chats, tables, timed
from textualize.corpus.examples import Plan
from textualize.corpus.writing import Options, Writer


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One row of the table.

    `asks`: the prompt lists the labels, as causal models read it, and the label is the answer.
    `every_clip`: clips without a label or split are kept. `words`: it is what was said, only.
    `tracks`: it is the numbers of the sensors.
    """

    writer: Callable[[Path, Plan, Options], Writer]
    about: str
    opened: str
    asks: bool = False
    every_clip: bool = False
    predictions: bool = False
    words: bool = False
    tracks: bool = False


EXPORT_FORMATS: Mapping[str, ExportFormat] = {
    "hf": ExportFormat(
        tables.Parquet,
        "a folder for `datasets`",
        'datasets.load_dataset("this folder")',
        predictions=True,
    ),
    "trl": ExportFormat(
        chats.trl,
        "messages, or prompt and completion, for TRL",
        'datasets.load_dataset("json", data_files="train.jsonl"), then trl.SFTTrainer',
        asks=True,
    ),
    "sharegpt": ExportFormat(
        chats.sharegpt, "conversations for LLaMA-Factory", "dataset_dir: this folder", asks=True
    ),
    "alpaca": ExportFormat(
        chats.alpaca, "instructions for LLaMA-Factory", "dataset_dir: this folder", asks=True
    ),
    "csv": ExportFormat(
        tables.Table,
        "one table of clips",
        'pandas.read_csv("clips.csv")',
        every_clip=True,
        predictions=True,
    ),
    "rttm": ExportFormat(
        captions.Turns,
        "who speaks when",
        "speech.rttm; a recording is a clip, a blank is %20",
        every_clip=True,
        words=True,
    ),
    "srt": ExportFormat(
        captions.Captions,
        "what is said when",
        "srt/, a file a clip, named like it; a blank is %20",
        every_clip=True,
        words=True,
    ),
    "vtt": ExportFormat(
        timed.Vtt,
        "what is said, seen and answered when",
        "vtt/, a file a clip, named like it; players and browsers show it over the video",
        every_clip=True,
        predictions=True,
    ),
    "elan": ExportFormat(
        timed.ElanText,
        "tiers as ELAN's tab-delimited text",
        "elan/, a file a clip: File, Import, CSV / Tab-delimited Text File",
        every_clip=True,
        predictions=True,
    ),
    "eaf": ExportFormat(
        timed.Eaf,
        "tiers as ELAN's own files",
        "eaf/, a file a clip: open it and link the video",
        every_clip=True,
        predictions=True,
    ),
    "frames": ExportFormat(
        timed.Frames,
        "every row of every track",
        'pandas.read_csv("frames/<id>.<track>.csv")',
        every_clip=True,
        tracks=True,
    ),
}
