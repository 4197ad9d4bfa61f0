"""Predicted classes of a model, and whether they are correct."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode, attack_mode
from iaat.runtime.distributed import unwrap_ddp


def predict_classes(model: nn.Module, x: Tensor, mode: Mode = "eval") -> Tensor:
    """Predicted classes `[B]`, int64, of inputs `x` `[B, ...]`, with the model in `mode` and without gradients."""
    with attack_mode(model, mode), torch.no_grad():
        predicted: Tensor = unwrap_ddp(model)(x).argmax(dim=1)
    return predicted


def is_correct(model: nn.Module, x: Tensor, y: Tensor, mode: Mode = "eval") -> Tensor:
    """Bool `[B]`: whether the model in `mode` classifies `x` `[B, ...]` as `y` `[B]`.

    Example:
        >>> import torch
        >>> from iaat.attacks import is_correct
        >>> x, y = torch.tensor([[0.6, 0.4], [0.6, 0.4]]), torch.tensor([0, 1])
        >>> is_correct(torch.nn.Identity(), x, y)
        tensor([ True, False])
    """
    return predict_classes(model, x, mode) == y
