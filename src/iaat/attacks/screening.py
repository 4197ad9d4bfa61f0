"""Two quick and strong attacks to screen a model with: Auto-PGD on cross-entropy, then towards likely wrong classes.

They are the gradient attacks of AutoAttack with fewer steps and targets. What they find is an upper bound of the robust
accuracy; they are not AutoAttack, which adds FAB and the gradient-free Square attack, and must not be reported as it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.apgd import apgd
from iaat.attacks.batching import filled_up
from iaat.attacks.context import attack_mode
from iaat.attacks.geometry import geometry, per_sample
from iaat.attacks.inputs import Classifier, Labels, check_inputs
from iaat.attacks.losses import within
from iaat.errors import UserError
from iaat.units import Norm

CE_STEPS = 20
"""Steps of `apgd_ce`."""
T_STEPS = 25
"""Steps of `apgd_t` for each target."""
T_TARGETS = 4
"""Targets of `apgd_t`."""


def apgd_ce(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None = None,
    *,
    radius: float | Tensor,
    norm: Norm = "linf",
    steps: int = CE_STEPS,
    precision: str = "auto",
) -> Tensor:
    """Auto-PGD on cross-entropy with early stop: the first stage.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` in [0, 1].
        y: True classes `[B]`.
        generator: Source of the random starts.
        radius: On the [0, 1] scale, one number or `[B]`.
        norm: `linf` or `l2`.
        steps: At least 1.
        precision: `auto`, `fp32` or `bf16`; only what fools in float32 counts.

    Returns:
        `[B, ...]`, see `apgd`.

    Raises:
        UserError: see `apgd`.

    Source: Croce & Hein 2020 (arXiv 2003.01690), section 3.
    """
    return apgd(model, x, y, radius=radius, norm=norm, steps=steps, loss="ce", precision=precision, generator=generator)


def apgd_t(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None = None,
    *,
    radius: float | Tensor,
    norm: Norm = "linf",
    steps: int = T_STEPS,
    targets: int = T_TARGETS,
    loss: str | None = None,
    precision: str = "auto",
) -> Tensor:
    """Auto-PGD towards the most likely wrong classes in turn, each for the samples still standing: the second stage.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`, at least 2 classes.
        x: Clean inputs `[B, ...]` in [0, 1].
        y: True classes `[B]`; samples of another prediction come back untouched.
        generator: Source of the random starts.
        radius: On the [0, 1] scale, one number or `[B]`.
        norm: `linf` or `l2`.
        steps: Of each target, at least 1.
        targets: How many wrong classes, at least 1; all of them where there are fewer.
        loss: `dlr`, `margin` or `ce`; by default the targeted DLR, and the margin under 4 classes, where DLR is not
            defined.
        precision: `auto`, `fp32` or `bf16`; only what fools in float32 counts.

    Returns:
        `[B, ...]`: where a sample was fooled a point that fools it, elsewhere the best point of its last target.

    Raises:
        UserError: fewer than 1 target or 2 classes; see also `apgd`.

    Source: Croce & Hein 2020 (arXiv 2003.01690), section 4.2 and eq. 7.
    """
    if targets < 1:
        raise UserError(f"targets = {targets}: an attack needs at least 1")
    labels = check_inputs(x, y, radius, steps=steps, norm=norm, bounds=(0.0, 1.0))
    if not len(x):
        return x.clone()
    logits = _logits(model, x, labels)
    classes = logits.shape[1]
    loss = loss or ("dlr" if classes >= 4 else "margin")
    others = logits.scatter(1, within(y, logits).long()[:, None], -torch.inf)
    likely = others.argsort(dim=1, descending=True, stable=True)
    standing, x_adv = logits.argmax(dim=1) == y, x.clone()
    for rank in range(min(targets, classes - 1)):
        # Drawn for all, so that a start does not depend on who else is still standing.
        start = x + geometry(norm).random(x, per_sample(radius, x), generator)
        rows = filled_up(standing)
        if not len(rows):
            break
        found = apgd(
            model,
            x[rows],
            y[rows],
            radius=radius[rows] if isinstance(radius, Tensor) and radius.ndim else radius,
            norm=norm,
            steps=steps,
            loss=loss,
            targets=likely[rows, rank],
            precision=precision,
            x_init=start[rows],
        )
        asked = standing[rows]  # the others only fill the batch up
        x_adv[rows[asked]] = found[asked]
        standing[rows] &= _logits(model, found).argmax(dim=1) == y[rows]
    return x_adv


def screen(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | Tensor,
    norm: Norm = "linf",
    precision: str = "auto",
    generator: torch.Generator | None = None,
) -> Tensor:
    """`apgd_ce`, then `apgd_t` on what it has not fooled: the worst case per sample `[B, ...]`; not AutoAttack.

    Args and errors as in the two stages.
    """
    x_adv = apgd_ce(model, x, y, generator, radius=radius, norm=norm, precision=precision)
    if not len(x):
        return x_adv
    standing = _logits(model, x_adv).argmax(dim=1) == y
    rows = filled_up(standing)
    if not len(rows):
        return x_adv
    only = radius[rows] if isinstance(radius, Tensor) and radius.ndim else radius
    again = apgd_t(model, x[rows], y[rows], generator, radius=only, norm=norm, precision=precision)
    asked = standing[rows]  # the others only fill the batch up
    x_adv[rows[asked]] = again[asked]
    return x_adv


def _logits(model: nn.Module, x: Tensor, labels: Labels | None = None) -> Tensor:
    with attack_mode(model, "eval"), torch.no_grad():
        return Classifier(model, labels or Labels())(x)
