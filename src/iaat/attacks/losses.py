"""What an attack climbs: per-sample losses `[B]` of logits, larger where the network is more wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.errors import UserError, check_choice

AttackLoss = Callable[..., Tensor]
"""`(logits [B, classes], y [B]) -> [B]`, and a third argument `[B, ...]` where an attack is given data for its loss."""


def full_precision(logits: Tensor) -> Tensor:
    """Logits in at least float32: a softmax of bfloat16 logits misleads an attack."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def within(y: Tensor, logits: Tensor) -> Tensor:
    """Labels that logits `[B, classes]` can be indexed by.

    Off the CPU one that is out of range would end the process before anybody could name it; on the CPU PyTorch says so.
    """
    return y if y.device.type == "cpu" else y.clamp(0, logits.shape[1] - 1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample `[B]`."""
    return F.cross_entropy(logits, within(y, logits), reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest other logit minus the logit of `y`, `[B]`; positive where misclassified (Carlini & Wagner 2017)."""
    y = within(y, logits)
    label = logits.gather(1, y[:, None])
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(dim=1) - label[:, 0]


def soft_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Soft maximum of the other logits minus the logit of `y`, `[B]`: what the attack climbs.

    Its gradient is that of cross-entropy without the factor that vanishes where the network is sure of itself.

    Source: Ding et al. 2020 (arXiv 1812.02637), soft logit margin loss.
    """
    y = within(y, logits)
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.logsumexp(dim=1) - logits.gather(1, y[:, None])[:, 0]


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio `[B]`: the margin over the gap between first and third logit (Croce & Hein 2020).

    Raises:
        UserError: fewer than 3 classes, for which it is not defined.
    """
    if logits.shape[1] < 3:
        raise UserError(f"loss 'dlr' needs at least 3 classes, the model has {logits.shape[1]}: use 'margin'")
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def dlr_towards(logits: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR `[B]`: lead of the target over the other classes, scaled as in Croce & Hein 2020, eq. 7.

    Their numerator is the target's logit minus the true class's; the true class is not known here, and the largest
    other logit takes its place.

    Raises:
        UserError: fewer than 4 classes, for which its scale is not defined.
    """
    if logits.shape[1] < 4:
        raise UserError(f"targeted 'dlr' needs at least 4 classes, the model has {logits.shape[1]}: use 'margin'")
    top = logits.topk(4, dim=1).values
    return -margin(logits, target) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def margin_to(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Logit of `target` minus the logit of `y`, `[B]`: the way from the true class to one wrong class."""
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows, within(target, logits)] - logits[rows, within(y, logits)]


def dlr_to(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR of Croce & Hein 2020, eq. 7, `[B]`: `margin_to` over the gap of the first to third and fourth logit.

    Raises:
        UserError: fewer than 4 classes, for which its scale is not defined.
    """
    if logits.shape[1] < 4:
        raise UserError(f"targeted 'dlr' needs at least 4 classes, the model has {logits.shape[1]}: use 'margin'")
    top = logits.topk(4, dim=1).values
    return margin_to(logits, y, target) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def kl_divergence(clean_logits: Tensor, logits: Tensor) -> Tensor:
    """KL divergence `[B]` from the clean prediction to another, with gradients to both.

    Made of log-probabilities in at least float32, so that it is finite, as its gradients are, where a probability
    underflows to 0.

    Args:
        clean_logits: `[B, classes]`.
        logits: `[B, classes]` of the other prediction.

    Source: Zhang et al. 2019 (arXiv 1901.08573), eq. 5.
    """
    clean, other = (F.log_softmax(full_precision(each), dim=1) for each in (clean_logits, logits))
    return F.kl_div(other, clean, reduction="none", log_target=True).sum(dim=1)


def kl_from(clean_logits: Tensor) -> AttackLoss:
    """What the attack of TRADES climbs: `kl_divergence` `[B]` from a clean prediction that stands still."""
    clean_logits = clean_logits.detach()
    return lambda logits, _y: kl_divergence(clean_logits, logits)


LOSSES: dict[str, AttackLoss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def check_loss(loss: str | AttackLoss, targeted: bool) -> None:
    """Refuse a loss that `objective` could not turn into something to climb.

    Raises:
        UserError: an unknown name, or a targeted `kl`.
    """
    if not callable(loss):
        check_choice(loss, (*LOSSES, "kl"), "loss")
    if loss == "kl" and targeted:
        raise UserError("loss 'kl' has no target: use 'ce', 'margin' or 'dlr' with targeted=True")


def objective(
    loss: str | AttackLoss, targeted: bool, clean_logits: Tensor | None, data: Tensor | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """What an attack climbs: the loss away from `y`, or where targeted the way towards it.

    Args:
        loss: A name, checked by `check_loss`, or a callable.
        targeted: Whether `y` are the classes to be reached.
        clean_logits: `[B, classes]` for `kl`, unused otherwise.
        data: `[B, ...]`, the third argument of a callable loss that takes one.
    """
    if loss == "kl" and clean_logits is not None:
        return kl_from(clean_logits)
    if loss == "dlr" and targeted:
        return dlr_towards
    away = _with(loss, data) if callable(loss) else LOSSES[loss]
    return (lambda logits, y: -away(logits, y)) if targeted else away


def _with(loss: AttackLoss, data: Tensor | None) -> AttackLoss:
    return loss if data is None else lambda logits, y: loss(logits, y, data)
