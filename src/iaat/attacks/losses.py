"""Losses that attacks maximise: `[B]` of logits and labels, larger where the model is closer to an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.errors import UserError, check_choice

AttackLoss = Callable[[Tensor, Tensor], Tensor]
"""`(logits [B, classes], y [B]) -> [B]`."""


@dataclass(frozen=True, slots=True)
class PerSampleLoss:
    """Loss with data of its own for each sample, which leave the batch with their samples.

    Attributes:
        function: `(logits, y, data) -> [B]`, to maximise.
        data: `[B, ...]`, such as soft labels.

    Example:
        >>> import torch
        >>> from iaat.attacks import PerSampleLoss, pgd
        >>> model = torch.nn.Linear(4, 3)
        >>> x, y, weights = torch.rand(2, 4), torch.tensor([0, 1]), torch.tensor([1.0, 0.0])
        >>> loss = PerSampleLoss(lambda logits, y, weights: -weights * logits[:, 0], weights)
        >>> x_adv = pgd(model, x, y, radius=0.1, loss=loss, x_init=x)
        >>> torch.equal(x_adv[1], x[1])  # no gradient
        True
    """

    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    data: Tensor

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Loss `[B]`."""
        return self.function(logits, y, self.data)

    def only(self, rows: Tensor | slice) -> PerSampleLoss:
        """Loss of the samples at positions `rows`."""
        return replace(self, data=self.data[rows])


@dataclass(frozen=True, slots=True)
class Targeted:
    """Objective of a targeted attack: minimises a loss at the classes `y`, which are to be reached.

    Attributes:
        loss: `ce`, `margin`, `dlr` or a callable.

    Example:
        >>> import torch
        >>> from iaat.attacks import Targeted, pgd
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, target = torch.tensor([[0.6, 0.4]]), torch.tensor([1])
        >>> x_adv = pgd(model, x, target, radius=0.2, loss=Targeted("margin"))
        >>> model(x_adv).argmax(dim=1)
        tensor([1])
    """

    loss: str | AttackLoss = "ce"

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Objective `[B]`, larger where the model is closer to `y`."""
        return dlr_towards(logits, y) if self.loss == "dlr" else -resolve_loss(self.loss)(logits, y)

    def only(self, rows: Tensor | slice) -> Targeted:
        """Objective of the samples at positions `rows`."""
        return Targeted(self.loss.only(rows)) if isinstance(self.loss, PerSampleLoss) else self


def full_precision(logits: Tensor) -> Tensor:
    """Logits in at least float32: a softmax of bfloat16 logits misleads an attack."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def clamp_labels(y: Tensor, logits: Tensor) -> Tensor:
    """Labels that logits `[B, classes]` can be indexed by.

    On a GPU a label out of range would end the process before an error could name it; on the CPU PyTorch raises.
    """
    return y if y.device.type == "cpu" else y.clamp(0, logits.shape[1] - 1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample `[B]`."""
    return F.cross_entropy(logits, clamp_labels(y, logits), reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Largest other logit minus the logit of `y`, `[B]`; positive where misclassified (Carlini & Wagner 2017)."""
    y = clamp_labels(y, logits)
    label = logits.gather(1, y[:, None])
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.amax(dim=1) - label[:, 0]


def soft_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Soft maximum of the other logits minus the logit of `y`, `[B]`.

    Its gradient is that of cross-entropy without the factor that vanishes where the model is confident.

    Source: Ding et al. 2020 (arXiv 1812.02637), soft logit margin loss.
    """
    y = clamp_labels(y, logits)
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
    return -margin(logits, target) / _targeted_scale(logits)


def _targeted_scale(logits: Tensor) -> Tensor:
    if logits.shape[1] < 4:
        raise UserError(f"targeted 'dlr' needs at least 4 classes, the model has {logits.shape[1]}: use 'margin'")
    top = logits.topk(4, dim=1).values
    return top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12


def targeted_margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Logit of `target` minus the logit of `y`, `[B]`."""
    rows = torch.arange(len(logits), device=logits.device)
    return logits[rows, clamp_labels(target, logits)] - logits[rows, clamp_labels(y, logits)]


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR of Croce & Hein 2020, eq. 7, `[B]`: `targeted_margin`, scaled.

    Raises:
        UserError: fewer than 4 classes, for which its scale is not defined.
    """
    return targeted_margin(logits, y, target) / _targeted_scale(logits)


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


def kl_from(clean_logits: Tensor) -> PerSampleLoss:
    """Loss of the attack of TRADES: `kl_divergence` from the constant prediction `clean_logits` `[B, classes]`."""
    return PerSampleLoss(lambda logits, _y, clean: kl_divergence(clean, logits), clean_logits.detach())


LOSSES: dict[str, AttackLoss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}
"""Losses by the name that attacks take."""


def check_loss(loss: str | AttackLoss, batch: int) -> None:
    """Refuse a loss that an attack on a batch of this size cannot maximise.

    Raises:
        UserError: an unknown name, a targeted `kl`, or data that are not one entry a sample.
    """
    inner = loss.loss if isinstance(loss, Targeted) else loss
    if not callable(inner):
        check_choice(inner, (*LOSSES, "kl"), "loss")
    if inner == "kl" and isinstance(loss, Targeted):
        raise UserError("loss 'kl' has no target: use 'ce', 'margin' or 'dlr' in Targeted")
    if isinstance(inner, PerSampleLoss):
        data = inner.data
        if not isinstance(data, Tensor) or not data.ndim or len(data) != batch:
            shape = list(data.shape) if isinstance(data, Tensor) else type(data).__name__
            raise UserError(f"the loss has data {shape} for a batch of {batch}: pass a tensor [B, ...]")


def resolve_loss(loss: str | AttackLoss) -> AttackLoss:
    """Loss by its name in `LOSSES`, or the callable itself."""
    return loss if callable(loss) else LOSSES[loss]
