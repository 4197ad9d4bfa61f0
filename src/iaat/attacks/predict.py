"""Predicted classes of a model, and whether they are correct."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode, attack_mode
from iaat.attacks.inputs import Classifier, check_batch, checked_logits
from iaat.runtime.distributed import unwrap_ddp


def predict_classes(model: nn.Module, x: Tensor, mode: Mode = "eval") -> Tensor:
    """Predicted classes `[B]`, int64, of inputs `x` `[B, ...]`, with the model in `mode` and without gradients.

    Raises:
        UserError: the model does not return logits `[B, classes]`.
    """
    with attack_mode(model, mode), torch.no_grad():
        return checked_logits(unwrap_ddp(model)(x), len(x)).argmax(dim=1)


def is_correct(model: nn.Module, x: Tensor, y: Tensor, mode: Mode = "eval") -> Tensor:
    """Bool `[B]`: whether the model in `mode` classifies `x` `[B, ...]` as `y` `[B]`.

    Raises:
        UserError: labels that are not one class number a sample, inputs that are no floats or infinite, or a model that
            does not return logits with a class for every label.

    Example:
        >>> import torch
        >>> from iaat.attacks import is_correct
        >>> x, y = torch.tensor([[0.6, 0.4], [0.6, 0.4]]), torch.tensor([0, 1])
        >>> is_correct(torch.nn.Identity(), x, y)
        tensor([ True, False])
    """
    labels = check_batch(x, y, bounds=None)
    with attack_mode(model, mode), torch.no_grad():
        return Classifier(model, labels)(x).argmax(dim=1) == y
