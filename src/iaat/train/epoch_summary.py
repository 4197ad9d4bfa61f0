"""Radius statistics of an epoch, and the line that shows an epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from iaat.runs.epoch_record import RADIUS_QUANTILES, EpochRecord
from iaat.train.validation import ValidationAccuracy
from iaat.units import Norm, format_radius


def radius_statistics(radius: Tensor) -> tuple[float, dict[str, float]]:
    """Mean and quantiles of radii `[N]`, in px."""
    px = radius.double() * 255
    # torch.quantile refuses more than 16 million values.
    values = np.quantile(px.cpu().numpy(), np.array(RADIUS_QUANTILES) / 100)
    return float(px.mean()), {str(level): float(value) for level, value in zip(RADIUS_QUANTILES, values, strict=True)}


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


def epoch_line(record: EpochRecord, epochs: int, norm: Norm, seconds: float, *, best: bool) -> str:
    """An epoch in one line.

    Args:
        record: The epoch, finished.
        epochs: Epochs of the run.
        norm: Norm that radii are shown in.
        seconds: Time that the epoch took.
        best: Whether it is the best epoch so far.
    """
    mean = record.radius_mean_px
    radius = "" if mean is None else f"  radius {format_radius(mean / 255, norm)}"
    return (
        f"epoch {record.epoch:3d}/{epochs}  loss {record.loss:.3f}  train {record.train_accuracy:6.1%}  "
        f"validation clean {record.validation_clean:6.1%} robust {record.validation_robust:6.1%}{radius}  "
        f"{seconds:.1f} s{'  best' if best else ''}"
    )
