"""Radius statistics of an epoch, and the line that shows an epoch, with its heading."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.evaluate.naming import attack_title, pgd_name
from iaat.runs.epoch_record import EpochRecord
from iaat.runtime.text import format_duration
from iaat.statistics import QUANTILES
from iaat.train.validation import ValidationAccuracy, validation_attack
from iaat.units import PX_PER_UNIT, Norm, format_radius

_WIDEST = 80

_WIDTHS = {"loss": 8, "train": 6, "clean": 6, "robust": 6, "radius": 8, "time": 8}
"""Columns of the terminal that each figure of an epoch gets: below 80 in all, with five digits of epochs, too."""


def radius_statistics(radius: Tensor) -> tuple[float, dict[str, float]]:
    """Mean and quantiles of radii `[N]`, in px."""
    px = radius.double() * PX_PER_UNIT
    # torch.quantile refuses more than 16 million values.
    values = np.quantile(px.cpu().numpy(), np.array(QUANTILES) / 100)
    return float(px.mean()), {str(level): float(value) for level, value in zip(QUANTILES, values, strict=True)}


def with_outcome(record: EpochRecord, accuracy: ValidationAccuracy, radii: Tensor | None) -> EpochRecord:
    """The record with what is known at the end of the epoch.

    Args:
        record: The record of its training steps.
        accuracy: Accuracies on the validation samples.
        radii: Radii `[N]` of the samples trained on; None for a method without.
    """
    record = replace(record, validation_clean=accuracy.clean, validation_robust=accuracy.robust)
    if radii is None:
        return record
    mean, quantiles = radius_statistics(radii)
    return replace(record, radius_mean_px=mean, radius_quantiles_px=quantiles)


def epoch_legend(recipe: Recipe, samples: int, *, radii: bool) -> list[str]:
    """What the columns of `epoch_line` mean, in lines that narrow terminals show whole.

    Args:
        recipe: What is trained.
        samples: Number of validation samples.
        radii: Whether the method has radii.
    """
    train = recipe.train
    attack = attack_title(pgd_name(validation_attack(train, recipe.evaluate)))
    best = "mean of the two" if train.select == "mean" else train.select
    validation = (
        f"clean: on {samples:,} validation samples; robust: {attack} (train.validation_steps) on "
        f"{min(train.validation_n, samples):,} of them (train.validation_n); best: {best} (train.select {train.select})"
    )
    lines = ["train: accuracy under the training attack, if there is one", *textwrap.wrap(validation, _WIDEST - 2)]
    lines += ["radius: mean over the training samples"] if radii else []
    return [f"# {line}" for line in lines]


def epoch_heading(epochs: int, *, radii: bool) -> str:
    """The names of the columns of `epoch_line`.

    Args:
        epochs: Epochs of the run.
        radii: Whether the method has radii.
    """
    return _in_columns("epoch", epochs, {name: name for name in _WIDTHS if radii or name != "radius"})


def epoch_line(record: EpochRecord, epochs: int, norm: Norm, seconds: float, *, best: bool) -> str:
    """An epoch in one line, below the names of `epoch_heading`.

    Args:
        record: The epoch, finished.
        epochs: Epochs of the run.
        norm: Norm that radii are shown in.
        seconds: Time that the epoch took.
        best: Whether it is the best epoch so far.
    """
    mean = record.radius_mean_px
    figures = {
        "loss": f"{record.loss:.3f}",
        "train": f"{record.train_accuracy:.1%}",
        "clean": f"{record.validation_clean:.1%}",
        "robust": f"{record.validation_robust:.1%}",
        **({} if mean is None else {"radius": format_radius(mean / PX_PER_UNIT, norm)}),
        "time": format_duration(round(seconds, 1)),
    }
    line = _in_columns(f"{record.epoch}/{epochs}", epochs, figures)
    return f"{line}  best" if best else line


def _in_columns(first: str, epochs: int, texts: Mapping[str, str]) -> str:
    """Texts by the names of their columns, right-aligned behind the number of the epoch."""
    width = max(len("epoch"), 2 * len(str(epochs)) + 1)
    return "  ".join([first.rjust(width), *(text.rjust(_WIDTHS[name]) for name, text in texts.items())])
