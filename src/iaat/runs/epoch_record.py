"""`EpochRecord`: one line of `metrics.jsonl`, the log of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from iaat.errors import UserError, shown
from iaat.runtime.json_files import Between, UnfitError, from_json, to_json

EPOCH_RECORD_VERSION = 2
"""Version of the format; lines of version 1 carry no number and have `holdout_` for `validation_`."""

_OLD_NAMES = {"holdout_clean": "validation_clean", "holdout_robust": "validation_robust"}
_NOT_SINGLE = ("version", "epoch", "radius_quantiles_px")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """Results of one epoch of training. Means are over the samples of the epoch; accuracies are fractions.

    Attributes:
        epoch: Number of the epoch, from 1.
        loss: Mean loss.
        train_accuracy: Accuracy on the inputs that the method trained on.
        trained_radius_px: Mean radius of the training attacks, in px.
        lr: Learning rate of the first step.
        forwards, backwards: Passes per sample through the whole model, without those of the guard's checks.
        guard_gap: Largest gap that the guard has seen.
        guard_backed_off: Fraction of the steps that were trained with the guard's stronger attack.
        guard_forwards, guard_backwards: Passes of the guard's checks per sample.
        skipped_steps: Steps that were not taken because a number was not finite.
        loss_scale: Scale of the loss in fp16.
        validation_clean: Accuracy on all validation samples.
        validation_robust: Accuracy on the attacked validation samples, under PGD.
        radius_mean_px: Mean of all radii after the epoch, in px.
        radius_quantiles_px: Quantiles of these radii in px, by their level in per cent.
        metrics: Means of the method's own metrics. In JSON they stand beside the other keys.
    """

    epoch: Annotated[int, Between(1)]
    loss: float | None = None
    train_accuracy: float | None = None
    trained_radius_px: float | None = None
    lr: float | None = None
    forwards: float
    backwards: float
    guard_gap: float | None = None
    guard_backed_off: float | None = None
    guard_forwards: float | None = None
    guard_backwards: float | None = None
    skipped_steps: int | None = None
    loss_scale: float | None = None
    validation_clean: float | None = None
    validation_robust: float | None = None
    radius_mean_px: float | None = None
    radius_quantiles_px: dict[str, float] | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON has it: its version, and all values that are there."""
        values = to_json(self)
        metrics = values.pop("metrics")
        return {"version": EPOCH_RECORD_VERSION, **values, **metrics}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EpochRecord:
        """The record of `to_json`, of this version or an older one.

        Raises:
            ValueError: a value is missing or of another type.
        """
        return from_json(upgrade(values), cls)

    def numbers(self) -> dict[str, float]:
        """Every single number by its name in the file, without the epoch."""
        return {key: value for key, value in self.to_json().items() if key not in _NOT_SINGLE}


def upgrade(values: Any) -> Any:  # noqa: ANN401
    """A line of `metrics.jsonl` of any version, its unknown numbers as the method's metrics.

    Raises:
        UserError: it is of a newer version.
        UnfitError: its version is no number.
    """
    if not isinstance(values, Mapping):
        return values
    version = values.get("version", 1)
    if not isinstance(version, int) or version < 1:
        raise UnfitError(f"version is {shown(version)}, not a number of a format")
    if version > EPOCH_RECORD_VERSION:
        raise UserError(f"version {version} of metrics.jsonl was written by a newer iaat: update this one")
    named = {_OLD_NAMES.get(key, key): value for key, value in values.items() if key != "version"}
    known = {each.name for each in fields(EpochRecord)} - {"metrics"}
    metrics = {key: value for key, value in named.items() if key not in known and _is_number(value)}
    return {key: value for key, value in named.items() if key in known} | {"metrics": metrics}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
