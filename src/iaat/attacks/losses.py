"""What an attack climbs: per-sample losses `[B]` of logits, larger where the network is more wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.errors import UserError

AttackLoss = Callable[[Tensor, Tensor], Tensor]
"""`(logits [B, classes], y [B]) -> [B]`."""


def full_precision(logits: Tensor) -> Tensor:
    """Logits in at least float32: a softmax of bfloat16 logits misleads an attack."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample `[B]`."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest other logit minus the logit of `y`, `[B]`; positive where misclassified (Carlini & Wagner 2017)."""
    label = logits.gather(1, y[:, None])
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(dim=1) - label[:, 0]


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio `[B]`: the margin over the gap between first and third logit (Croce & Hein 2020).

    Raises:
        UserError: fewer than 3 classes, for which it is not defined.
    """
    if logits.shape[1] < 3:
        raise UserError(f"loss 'dlr' needs at least 3 classes, the model has {logits.shape[1]}: use 'margin'")
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def kl_from(clean_logits: Tensor) -> AttackLoss:
    """KL divergence `[B]` from the clean prediction to the attacked one, the attack of TRADES (1901.08573, eq. 5)."""
    clean = F.log_softmax(full_precision(clean_logits.detach()), dim=1)

    def kl(logits: Tensor, _y: Tensor) -> Tensor:
        return F.kl_div(F.log_softmax(logits, dim=1), clean, reduction="none", log_target=True).sum(dim=1)

    return kl


LOSSES: dict[str, AttackLoss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def attack_loss(loss: str | AttackLoss, clean_logits: Tensor | None = None) -> AttackLoss:
    """A loss by name (`kl` needs the clean logits), or the callable itself.

    Raises:
        UserError: an unknown name, or `kl` without clean logits.
    """
    if callable(loss):
        return loss
    if loss == "kl":
        if clean_logits is None:
            raise UserError("loss 'kl' compares with clean logits: pass clean_logits")
        return kl_from(clean_logits)
    if loss not in LOSSES:
        raise UserError(f"loss {loss!r} is not known: choose one of {', '.join(LOSSES)}, kl, or pass a callable")
    return LOSSES[loss]
