"""Labels softened by a teacher: the moving average (EMA) of the weights of the model that is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision
from iaat.errors import UserError
from iaat.methods.inner_config import InnerConfig
from iaat.types import Batch


@dataclass(frozen=True, kw_only=True)
class SoftLabelsConfig(InnerConfig):
    """Settings of labels that the EMA of the model softens."""

    soft_labels: float = 0.0
    """Fraction of the label's probability, in [0, 1), that goes to the prediction of the EMA of the model on the clean
    image, less where that prefers another class; 0: labels as they are. Needs `train.ema`; costs a forward."""
    soft_temperature: float = 1.0
    """Temperature of that prediction: its logits are divided by it; above 1 it is softer."""
    soft_by_radius: bool = False
    """Soften labels where radii are small: by the whole fraction at radius 0, linearly less up to `radius`, and by
    nothing from there on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.soft_labels < 1:
            raise UserError(f"method.soft_labels = {self.soft_labels:g}: a fraction in [0, 1), such as 0.7")
        if not 0 < self.soft_temperature < torch.inf:
            raise UserError(f"method.soft_temperature = {self.soft_temperature:g}: a number above 0, and finite")
        if self.soft_by_radius and not self.radius > 0:
            raise UserError(
                f"method.radius = {self.radius}: method.soft_by_radius compares radii with it; write one above 0"
            )

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        hard = {} if self.soft_labels else dict.fromkeys(("soft_temperature", "soft_by_radius"), "method.soft_labels")
        return super().without_effect() | hard

    @property
    def needs_ema(self) -> str | None:
        """The setting that asks for a teacher, with its value."""
        return f"method.soft_labels = {self.soft_labels:g}" if self.soft_labels else super().needs_ema


def softened_labels(batch: Batch, radius: Tensor, teacher: nn.Module | None, config: SoftLabelsConfig) -> Tensor:
    """Label distributions `[B, classes]`: `(1 - s) * onehot(y) + s * p`, p the teacher's on the clean inputs.

    `s = clip(soft_labels - (max(p) - p[y]), 0, 1)`, times `max(0, 1 - r / radius)` with `soft_by_radius`.

    Args:
        batch: Clean inputs and labels `[B]`.
        radius: Radii r `[B]` that the batch is attacked at.
        teacher: The EMA of the model; it is left as it is.
        config: Fraction and temperature.

    Raises:
        UserError: no teacher.

    Source: Wu, Wang, Chen 2024 (arXiv 2305.12118), eq. 3 to 5; there the fraction rises and the temperature falls in
    the course of a run, here both are constant. The radius is this project's.
    """
    if teacher is None:
        raise UserError(
            f"{config.needs_ema}: this step has no teacher to soften labels; give it one, such as a moving "
            "average of the model: StepContext(epoch, teacher=...)"
        )
    with attack_mode(teacher, "eval"), torch.no_grad():
        p = (full_precision(teacher(batch.x)) / config.soft_temperature).softmax(dim=1)
    own = p.gather(1, batch.y[:, None]).squeeze(1)
    fraction = (config.soft_labels - (p.amax(dim=1) - own)).clamp(0, 1)
    if config.soft_by_radius:
        fraction = fraction * (1 - radius / config.radius).clamp_min(0)
    fraction = fraction.to(p.dtype)[:, None]
    return (1 - fraction) * F.one_hot(batch.y, p.shape[1]) + fraction * p
