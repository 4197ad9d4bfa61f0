"""A model that computes in an arithmetic that is faster than its own and rounds differently."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from iaat.config.choices import Arithmetic


class InArithmetic(nn.Module):
    """A model as an attack calls it; its weights are its own, and its logits float32.

    Args:
        model: Maps images `[B, C, H, W]`, or other inputs, to logits `[B, classes]`.
        arithmetic: One of `Arithmetic`; inputs that are no images stay as they are.

    Example:
        >>> import torch
        >>> from iaat.evaluate.arithmetic import InArithmetic
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> InArithmetic(model, "bfloat16")(torch.rand(2, 3, 8, 8)).dtype
        torch.float32
    """

    def __init__(self, model: nn.Module, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.model = model
        self.arithmetic = arithmetic
        self.training = model.training  # train() would set all layers alike

    def forward(self, x: Tensor) -> Tensor:
        """Logits in float32."""
        if self.arithmetic != "reference" and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        bfloat16 = self.arithmetic == "bfloat16"
        with torch.autocast(x.device.type, dtype=torch.bfloat16) if bfloat16 else nullcontext():
            logits: Tensor = self.model(x)
        return logits.float() if bfloat16 else logits
