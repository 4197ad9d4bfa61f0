"""Choices by name: a finished run's checkpoints and weights, export formats, and how AutoAttack computes."""

import warnings
from typing import Literal

Arithmetic = Literal["reference", "channels_last", "bfloat16"]
"""How AutoAttack calls the model: as it is; on images in channels-last format; so, with layers in bfloat16."""

CHECKPOINTS = ("best", "last")
"""Checkpoints of a run that are evaluated."""

WEIGHTS = ("ema", "raw", "both")
"""Weights that are evaluated of a run with `train.ema`: the moving average, those of the optimiser, or both."""

OLD_WEIGHTS = {"averaged": "ema", "trained": "raw"}
"""Names that earlier versions had for weights, and today's."""

EXPORT_FORMATS = ("onnx", "pt2", "torchscript", "safetensors", "hf")
"""Formats that a trained model is exported in."""


def weights_by_any_name(name: str) -> str:
    """Today's name of a choice of weights; an old one is read with a line of advice, any other stays as it is."""
    if name in OLD_WEIGHTS:
        warnings.warn(f"weights {name} is read as {OLD_WEIGHTS[name]}: write that", stacklevel=2)
    return OLD_WEIGHTS.get(name, name)
