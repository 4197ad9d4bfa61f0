"""Mode of a model during an attack, with frozen weights; restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from iaat.errors import UserError, check_choice

Mode = Literal["eval", "train", "batch"]
"""Name of one of `MODES`."""

MODES: tuple[Mode, ...] = get_args(Mode)
"""Modes of the layers during an attack.

`eval`: running statistics, no dropout. `train`: as in the training step, so every forward updates running statistics.
`batch`: normalisation by the statistics of the batch, without dropout and without updates of the running ones.
"""


@contextmanager
def attack_mode(model: nn.Module, mode: Mode) -> Iterator[None]:
    """Context with `model` in `mode` and frozen weights; on exit all flags of modules and weights are restored.

    In `train` and `batch` a model that is in training keeps the layers its owner has frozen (set to eval) frozen.

    Args:
        model: Any module; it is changed while the context is open.
        mode: `eval`, `train` or `batch`; see `iaat.attacks.attack_mode.Mode`.

    Raises:
        UserError: an unknown mode, or a model that is no module.

    Source: this project; docs/design.md has the reasons for the modes.

    Example:
        >>> import torch
        >>> from iaat import attack_mode
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout()).train()
        >>> with attack_mode(model, "eval"):
        ...     model.training, model[0].weight.requires_grad
        (False, False)
        >>> model.training, model[0].weight.requires_grad
        (True, True)
    """
    check_choice(mode, MODES, "mode")
    if not isinstance(model, nn.Module):
        raise UserError(
            f"the model is a {type(model).__name__}, not a torch.nn.Module: call it in the forward of a module of yours"
        )
    training = [(module, module.training) for module in model.modules()]
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        _enter(model, mode)
        for parameter in frozen:
            parameter.requires_grad_(False)
        with frozen_running_stats(model) if mode == "batch" else nullcontext():
            yield
    finally:
        for module, flag in training:
            module.training = flag
        for parameter in frozen:
            parameter.requires_grad_(True)


def _enter(model: nn.Module, mode: Mode) -> None:
    if mode == "eval":
        model.eval()
        return
    if not model.training:
        model.train()
    if mode == "batch":
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
        model.eval()
        for norm in norms:
            norm.training = True


@contextmanager
def frozen_running_stats(model: nn.Module) -> Iterator[None]:
    """Context in which forwards do not update the running statistics of BatchNorm."""
    tracking = [(module, module.track_running_stats) for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm, _ in tracking:
        # In training, BatchNorm without tracking normalises by the batch and leaves its buffers alone.
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, flag in tracking:
            norm.track_running_stats = flag


def mixes_samples(model: nn.Module, mode: Mode) -> bool:
    """Whether the logits of a sample in `mode` depend on the other samples of its batch, or on chance.

    Then an attack changes when samples leave the batch: BatchNorm normalises by the batch unless it is frozen or in
    `eval`, and dropout is active in `train`.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return mode == "train" or (mode == "batch" and any(norm.training or not model.training for norm in norms))
