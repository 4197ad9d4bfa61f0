"""Screening: APGD on cross-entropy, then targeted APGD towards the most likely other classes.

They are the gradient attacks of AutoAttack with fewer steps and targets. They give an upper bound of the robust
accuracy. They are not AutoAttack, which adds FAB and the gradient-free Square attack, and must not be reported as it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.apgd import apgd
from iaat.attacks.attack_mode import attack_mode
from iaat.attacks.attack_state import sanitize_radius
from iaat.attacks.batching import padded_rows
from iaat.attacks.geometry import geometry, per_sample
from iaat.attacks.inputs import Classifier, as_length, check_count, check_inputs
from iaat.attacks.losses import clamp_labels
from iaat.attacks.predict import predict_classes
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
    radius: float | str | Tensor,
    norm: Norm = "linf",
    steps: int = CE_STEPS,
    precision: str = "auto",
) -> Tensor:
    """Adversarial examples by APGD on cross-entropy with early stopping: the first stage of screening.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` in [0, 1].
        y: True classes `[B]`.
        generator: Source of the random starts.
        radius: Largest norm of a perturbation, in the forms of `pgd`.
        norm: `linf` or `l2`.
        steps: At least 1.
        precision: `auto`, `fp32` or `bf16`; only points that are adversarial in float32 count.

    Returns:
        `[B, ...]`, see `apgd`.

    Raises:
        UserError: see `apgd`.

    Source: Croce & Hein 2020 (arXiv 2003.01690), section 3.

    Example:
        >>> import torch
        >>> from iaat.attacks import apgd_ce
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> x_adv = apgd_ce(model, x, y, radius=0.2)
        >>> model(x_adv).argmax(dim=1)  # the second is 0.4 away from the boundary
        tensor([1, 0])
    """
    return apgd(model, x, y, radius=radius, norm=norm, steps=steps, loss="ce", precision=precision, generator=generator)


def apgd_t(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None = None,
    *,
    radius: float | str | Tensor,
    norm: Norm = "linf",
    steps: int = T_STEPS,
    targets: int = T_TARGETS,
    loss: str | None = None,
    precision: str = "auto",
) -> Tensor:
    """Adversarial examples by APGD towards the most likely other classes in turn: the second stage of screening.

    Each target is for the samples that are not adversarial yet.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`, at least 2 classes.
        x: Clean inputs `[B, ...]` in [0, 1].
        y: True classes `[B]`; misclassified samples come back unchanged.
        generator: Source of the random starts.
        radius: Largest norm of a perturbation, in the forms of `pgd`.
        norm: `linf` or `l2`.
        steps: Steps for each target, at least 1.
        targets: Number of other classes, at least 1; all of them where there are fewer.
        loss: `dlr`, `margin` or `ce`; by default the targeted DLR, and the margin under 4 classes, where DLR is not
            defined.
        precision: `auto`, `fp32` or `bf16`; only points that are adversarial in float32 count.

    Returns:
        `[B, ...]`: an adversarial point where one was found, elsewhere the best point of the last target.

    Raises:
        UserError: fewer than 1 target or 2 classes; see also `apgd`.

    Source: Croce & Hein 2020 (arXiv 2003.01690), section 4.2 and eq. 7.

    Example:
        >>> import torch
        >>> from iaat.attacks import apgd_t
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> x_adv = apgd_t(model, x, y, radius=0.2)
        >>> model(x_adv).argmax(dim=1)  # the second is 0.4 away from the boundary
        tensor([1, 0])
    """
    check_count(targets, "targets")
    radius = as_length(radius, "radius")
    labels = check_inputs(x, y, radius, steps=steps, norm=norm, bounds=(0.0, 1.0))
    x = x.detach()
    if not len(x):
        return x.clone()
    limit = per_sample(sanitize_radius(radius, x), x)
    with attack_mode(model, "eval"), torch.no_grad():
        logits = Classifier(model, labels)(x)
    classes = logits.shape[1]
    loss = loss or ("dlr" if classes >= 4 else "margin")
    others = logits.scatter(1, clamp_labels(y, logits).long()[:, None], -torch.inf)
    likely = others.argsort(dim=1, descending=True, stable=True)
    robust, x_adv = logits.argmax(dim=1) == y, x.clone()
    for rank in range(min(targets, classes - 1)):
        # Drawn for all, so that a start does not depend on which samples are left.
        start = x + geometry(norm).random(x, limit, generator)
        rows = padded_rows(robust)
        if not len(rows):
            break
        found = apgd(
            model,
            x[rows],
            y[rows],
            radius=_only(radius, rows),
            norm=norm,
            steps=steps,
            loss=loss,
            targets=likely[rows, rank],
            precision=precision,
            x_init=start[rows],
        )
        attacked = robust[rows]  # the others only pad the batch
        x_adv[rows[attacked]] = found[attacked]
        robust[rows] &= predict_classes(model, found) == y[rows]
    return x_adv


def screen(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    norm: Norm = "linf",
    precision: str = "auto",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples `[B, ...]` by `apgd_ce`, then by `apgd_t` for the remaining samples; not AutoAttack.

    Arguments and errors are those of the two stages.

    Example:
        >>> import torch
        >>> from iaat.attacks import screen
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> x_adv = screen(model, x, y, radius=0.2)
        >>> model(x_adv).argmax(dim=1)  # the second is 0.4 away from the boundary
        tensor([1, 0])
    """
    radius = as_length(radius, "radius")
    x_adv = apgd_ce(model, x, y, generator, radius=radius, norm=norm, precision=precision)
    if not len(x):
        return x_adv
    robust = predict_classes(model, x_adv) == y
    rows = padded_rows(robust)
    if not len(rows):
        return x_adv
    again = apgd_t(model, x[rows], y[rows], generator, radius=_only(radius, rows), norm=norm, precision=precision)
    attacked = robust[rows]  # the others only pad the batch
    x_adv[rows[attacked]] = again[attacked]
    return x_adv


def _only(radius: float | Tensor, rows: Tensor) -> float | Tensor:
    return radius[rows] if isinstance(radius, Tensor) and radius.ndim else radius
