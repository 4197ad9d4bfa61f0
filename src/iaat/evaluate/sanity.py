"""Whether an evaluation of a model would mean anything: scale of the inputs, classes and their order, kind of output.

Accuracies of two readings of the same samples are compared by an exact McNemar test: of the samples that only one
reading gets right, the other's share is a fair coin's if both are as good. A reading counts as better at `LEVEL`; from
`FAR` on the evaluation is refused, because what it would attack is not the network that was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import Tensor, nn

from iaat.attacks import attack_mode, predict
from iaat.errors import UserError
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking.probabilities import finding_of_probabilities
from iaat.evaluate.samples import check_samples
from iaat.models.check_logits import logits_of
from iaat.models.normalize import Normalize
from iaat.statistics import mcnemar_p_value

LEVEL = 1e-3
"""Largest probability that chance alone makes a reading better; about ten readings are tried on one model."""

FAR = 0.2
"""Gain in accuracy from which an evaluation is refused. Honest models gain from no reading but the right one."""

RIGHT = 0.5
"""Accuracy from which another order of the classes explains a model: it may also be wrong in a pattern."""

CHANCE = 0.01
"""Largest probability that guessing the commonest class does as well as a model that is above chance."""

_BATCH = 128
_SHOWN = 20

_PUBLISHED: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "-1..1": ((0.5,), (0.5,)),
    "0..255": ((0.0,), (1 / 255,)),
    "inputs standardised as for ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inputs standardised as for CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "inputs standardised as for MNIST": ((0.1307,), (0.3081,)),
}
"""Means and deviations on the [0, 1] scale in wide use: those of torchvision's models and of the two training sets."""


def check_model(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    classes: int,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    was_training: bool = False,
    scale_is_given: bool = False,
) -> list[Finding]:
    """Judge a model on a few hundred clean samples before anything is attacked.

    The model is in eval mode meanwhile and gets its modes back; about ten forwards of the samples are made.

    Args:
        model: Should map inputs in [0, 1] to logits.
        x: Clean inputs `[n, ...]` in [0, 1], on the device of the model, in no order of classes.
        y: Their classes `[n]`.
        classes: Number of classes of the data.
        mean: `[C]` of the data, on the [0, 1] scale, to be tried as a normalisation.
        std: The same for the standard deviation.
        was_training: Whether the model was handed over in train mode.
        scale_is_given: Whether the user has said how its inputs are scaled: other scales are not tried then.

    Returns:
        What only needs to be known, and outputs that blunt attacks.

    Raises:
        UserError: the samples are not fit (`check_samples`), the model does not return finite logits of the data's
            classes, it expects inputs on another scale, or its classes are in another order.
    """
    check_samples(x, y, classes)
    with attack_mode(model, "eval"), torch.no_grad():
        logits = torch.cat([logits_of(model, part, classes=classes).float() for part in torch.split(x, _BATCH)])
        _refuse_nonfinite(logits)
        right = logits.argmax(dim=1) == y
        scale = None if scale_is_given else _of_scale(model, x, y, right, mean, std)
        channels = _of_channels(model, x, y, right)
        found = [
            scale,
            channels,
            # Of inputs that are read wrongly the predictions mean nothing, whatever their order.
            None if scale or channels else _of_classes(logits.argmax(dim=1), y, classes),
            _of_chance(right, y),
            finding_of_probabilities(logits),
            _of_mode(was_training),
        ]
    return [finding for finding in found if finding is not None]


def _refuse_nonfinite(logits: Tensor) -> None:
    broken = (~logits.isfinite().all(dim=1)).nonzero()[:, 0]
    if len(broken):
        raise UserError(
            f"the model returns NaN or infinite logits for {len(broken)} of {len(logits)} clean samples, first for "
            f"number {int(broken[0])} of those checked: look for a layer that overflows (float16?) or for NaN in the "
            "weights"
        )


def _chance_of(better: Tensor, right: Tensor) -> float:
    """Probability that a reading no better gains as many samples: exact McNemar test, one-sided."""
    gained, lost = int((better & ~right).sum()), int((right & ~better).sum())
    return 1.0 if gained <= lost else mcnemar_p_value(gained, lost)


def _is_better(better: Tensor, right: Tensor, y: Tensor) -> bool:
    """Whether one reading is better than another, and more than a guess."""
    return _chance_of(better, right) <= LEVEL and _guessed(better, y) <= LEVEL


def _guessed(right: Tensor, y: Tensor) -> float:
    """Probability that guessing the commonest class does as well."""
    return float(binomtest(int(right.sum()), len(right), _commonest(y), alternative="greater").pvalue)


def _commonest(y: Tensor) -> float:
    """Share of the commonest class."""
    return float(torch.bincount(y).max()) / len(y)


def _predicted_right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([predict(model, part) for part in torch.split(x, _BATCH)]) == y


def _gain(better: Tensor, right: Tensor) -> float:
    return (better.sum() - right.sum()).item() / len(right)


def _against(better: Tensor, right: Tensor) -> str:
    """The evidence of a comparison."""
    chance = _chance_of(better, right)
    accuracies = f"{100 * better.float().mean():.1f} % instead of {100 * right.float().mean():.1f} %"
    return f"{accuracies} of {len(right)} clean samples are right (chance of that: {max(chance, 1e-99):.0e})"


def _of_scale(
    model: nn.Module, x: Tensor, y: Tensor, right: Tensor, mean: Tensor | None, std: Tensor | None
) -> Finding | None:
    """Whether the model was trained on inputs of another scale."""
    tried = [(words, layer, _predicted_right(model, layer(x), y)) for words, layer in _scales(x, mean, std)]
    words, layer, better = max(tried, key=lambda each: int(each[2].sum()))
    if not _is_better(better, right, y):
        return None
    means, stds = ([float(f"{value:.4g}") for value in values.tolist()] for values in (layer.mean, layer.std))
    advice = (
        f"--model.mean '{means}' --model.std '{stds}' (in Python: iaat.models.with_normalization), or the figures it "
        "was trained with"
    )
    if _gain(better, right) >= FAR:
        raise UserError(
            f"the model expects {words}, not inputs in [0, 1]: with them {_against(better, right)}; give {advice}; "
            "if it does take [0, 1], say so: --model.mean '[0]' --model.std '[1]'"
        )
    return Finding(
        name="input-scale",
        evidence=f"with {words} in place of [0, 1] {_against(better, right)}",
        advice=f"Find out how its inputs were scaled in training; that reading is {advice}.",
        serious=False,
    )


def _scales(x: Tensor, mean: Tensor | None, std: Tensor | None) -> Iterator[tuple[str, Normalize]]:
    """Readings of the inputs by name, those of the data first."""
    channels = x.shape[1]
    if mean is not None and std is not None:
        yield "inputs standardised by the data's mean and deviation", Normalize(mean, std).to(x.device)
    for words, (means, stds) in _PUBLISHED.items():
        if len(means) in (1, channels) and (words.endswith("MNIST") <= (channels == 1)):
            values = (torch.tensor(each, device=x.device).expand(channels) for each in (means, stds))
            yield words if words.startswith("inputs") else f"inputs in {words}", Normalize(*values)


def _of_channels(model: nn.Module, x: Tensor, y: Tensor, right: Tensor) -> Finding | None:
    """Whether the model was trained on blue, green, red: worth a few points on natural images, so not refused."""
    if x.ndim != 4 or x.shape[1] != 3:
        return None
    better = _predicted_right(model, x.flip(1), y)
    if not _is_better(better, right, y):
        return None
    return Finding(
        name="channel-order",
        evidence=f"with blue, green, red in place of red, green, blue {_against(better, right)}",
        advice="Let its forward start with x = x.flip(1) if it was trained on images read by OpenCV.",
        serious=False,
    )


def _of_classes(predicted: Tensor, y: Tensor, classes: int) -> Finding | None:
    """Whether another assignment of outputs to classes is right more often, judged on samples it was not made from."""
    right, better = predicted == y, torch.zeros_like(y, dtype=torch.bool)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - (half.start or 0), None, 2)
        better[half] = _assignment(predicted[other], y[other], classes)[predicted[half]] == y[half]
    if not _is_better(better, right, y):
        return None
    # Which output is class 0, class 1, and so on.
    outputs = _assignment(predicted, y, classes).argsort()
    changed = [label for label in range(classes) if outputs[label] != label]
    examples = ", ".join(f"class {label} is output {int(outputs[label])}" for label in changed[:5])
    listed = outputs.tolist() if classes <= _SHOWN else "..."
    evidence = (
        f"with the outputs assigned anew ({examples}{', ...' if len(changed) > 5 else ''}) {_against(better, right)}"
    )
    advice = f"put them in the data's order in a factory of yours, logits[:, {listed}]"
    if _gain(better, right) >= FAR and better.float().mean() >= RIGHT:
        raise UserError(f"the model's classes are in another order than the data's: {evidence}; {advice}")
    return Finding(name="class-order", evidence=evidence, advice=f"If classes were swapped, {advice}.", serious=False)


def _assignment(predicted: Tensor, y: Tensor, classes: int) -> Tensor:
    """Class `[classes]` of each output that makes most samples right; its own where nothing speaks against it."""
    counts = torch.bincount(predicted * classes + y, minlength=classes * classes).reshape(classes, classes)
    counts = counts.double() + 0.5 * torch.eye(classes, dtype=torch.float64, device=y.device)
    _, assigned = linear_sum_assignment(counts.cpu().numpy(), maximize=True)
    return torch.as_tensor(assigned, device=y.device)


def _of_chance(right: Tensor, y: Tensor) -> Finding | None:
    commonest = _commonest(y)
    if commonest == 1 or _guessed(right, y) <= CHANCE:
        return None
    return Finding(
        name="chance-accuracy",
        evidence=f"{100 * right.float().mean():.1f} % of {len(right)} clean samples are right, and always guessing the "
        f"commonest class is right for {100 * commonest:.1f} %",
        advice="Check that these are the trained weights and that the data is what they were trained on.",
        serious=False,
    )


def _of_mode(was_training: bool) -> Finding | None:
    if not was_training:
        return None
    return Finding(
        name="train-mode",
        evidence="the model was handed over in train mode and is judged in eval mode",
        advice="Call model.eval() after training, before a model is handed on.",
        serious=False,
    )
