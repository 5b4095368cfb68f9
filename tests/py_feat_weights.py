"""Writes weights for py-feat's networks, of the right shapes and without meaning.

    python tests/py_feat_weights.py FOLDER

Everything is random but the detector's last layers: they find a few faces of 256 pixels somewhere
in most pictures, so that what comes after has something to read.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

CONFIG = {
    "n_au": 20, "n_emotion": 7, "n_blendshape": 52, "mesh_normalized": True, "use_head_v3": True,
    "drop_mefl": True, "emotion_use_au_prob": True, "pretrained": False,
}  # fmt: skip


def write_weights(folder: Path) -> None:
    """Write the three files in `folder` the way `py-feat=FOLDER` finds them."""
    import feat  # noqa: F401
    import torch
    from feat.face_detectors.Retinaface.Retinaface_model import RetinaFace
    from feat.face_detectors.Retinaface.Retinaface_test import RETINAFACE_R34_CFG
    from feat.identity_detectors.arcface.arcface_model import ArcFace
    from feat.multitask import MEGraphAUv2, ModelV2Config
    from feat.multitask.inference import HF_WEIGHTS_FILE

    torch.manual_seed(0)
    config = ModelV2Config(**CONFIG)
    detector = RetinaFace(RETINAFACE_R34_CFG)
    _find_few(detector)
    _save(detector, folder / "retinaface_r34/model.safetensors")
    meta = {"config": json.dumps(asdict(config))}
    _save(MEGraphAUv2(config), folder / "face_multitask_v2" / HF_WEIGHTS_FILE, meta)
    _save(ArcFace().net, folder / "arcface_r50/arcface_r50.safetensors")


def _find_few(detector) -> None:
    """Let the smaller anchor of the coarsest level find faces in its likeliest 4 % of places."""
    import torch

    pictures = torch.nn.functional.interpolate(torch.rand(4, 3, 12, 16) * 255 - 117, (480, 640))
    classes = detector.ClassHead._convs
    with torch.no_grad():
        for head in (detector.ClassHead, detector.BboxHead, detector.LandmarkHead):
            for layer in head._convs:
                layer.weight.zero_()
                layer.bias.zero_()
        for layer in classes:
            layer.bias.copy_(torch.tensor([9.0, -9.0, 9.0, -9.0]))  # (no, yes) by anchor
        classes[-1].weight[1].normal_()
        classes[-1].bias[:2] = 0.0
        for module in detector.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # one pass in training sets what it normalises by
        margins = detector.train()(pictures)[1][..., 1]
        margins = margins[margins > -8.9].sort().values
        classes[-1].weight[1] /= margins.std()
        classes[-1].bias[1] = -margins[int(0.96 * len(margins))] / margins.std()


def _save(model, path: Path, metadata: dict[str, str] | None = None) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, path, metadata)


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]))
