"""Checks of samples that are given as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from iaat.errors import UserError


def check_samples(x: Tensor, y: Tensor, classes: int) -> None:
    """Refuse samples on which an evaluation would mean nothing.

    Args:
        x: Inputs `[n, ...]`.
        y: Classes `[n]`.
        classes: Number of classes.

    Raises:
        UserError: none at all, not as many labels as inputs, inputs that are not floats in [0, 1], or labels that are
            not whole numbers from 0 to classes - 1.
    """
    if x.ndim < 2 or not len(x):
        raise UserError(f"x has shape {list(x.shape)}: give at least one input, [n, ...]")
    _check_inputs(x)
    _check_labels(y, len(x), classes)


def _check_inputs(x: Tensor) -> None:
    if not x.is_floating_point():
        raise UserError(f"x is {x.dtype}: give floats in [0, 1]; for images in 0..255 pass x.float() / 255")
    if not bool(x.isfinite().all()):
        raise UserError("x holds NaN or infinite values: find the samples that have them")
    low, high = x.min().item(), x.max().item()
    if low < -1e-6:
        raise UserError(
            f"x reaches from {low:g} to {high:g}: give inputs in [0, 1], and what standardises them as the first "
            "layer of the model (iaat.models.with_normalization)"
        )
    if high > 1 + 1e-6:
        advice = "pass x / 255" if high <= 255 else "bring them to that scale"
        raise UserError(f"x reaches from {low:g} to {high:g}: inputs must lie in [0, 1]; {advice}")
    if 0 < high <= 1.01 / 255:
        raise UserError(f"x reaches from {low:g} to {high:g}: it seems to be divided by 255 twice; divide once")


def _check_labels(y: Tensor, n: int, classes: int) -> None:
    if y.shape != (n,):
        advice = "; for one-hot labels pass y.argmax(1)" if y.ndim == 2 and len(y) == n else ""
        raise UserError(f"y has shape {list(y.shape)} for {n} inputs: give one class an input, [{n}]{advice}")
    if y.is_floating_point() or y.dtype == torch.bool:
        raise UserError(f"y is {y.dtype}: give classes as whole numbers, y.long()")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        advice = "subtract 1" if low >= 1 and high == classes else "give the number of classes that the labels are from"
        raise UserError(
            f"y reaches from {low} to {high}, but {classes} classes are numbered 0 to {classes - 1}: {advice}"
        )
