"""Checks of a model before its evaluation: scale of the inputs, classes and their order, kind of output.

Accuracies of two readings of the same samples are compared by an exact McNemar test: if both are as good, each is the
only correct one on half of the samples where just one is. A reading counts as better at `BETTER_LEVEL`; from `FAR` on
the evaluation is refused, because it would not attack the model that was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import scipy
import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, predict_classes
from iaat.errors import UserError
from iaat.evaluate.findings import Finding, note
from iaat.evaluate.masking.probabilities import probability_finding
from iaat.models.check_logits import logits_of
from iaat.models.normalize import Normalize
from iaat.statistics import mcnemar_p_value

BETTER_LEVEL = 1e-3
"""Largest probability that chance alone makes a reading better; about ten readings are tried on one model."""

FAR = 0.2
"""Gain in accuracy from which an evaluation is refused. Honest models gain from no other reading than their own."""

EXPLAINED = 0.5
"""Accuracy from which another order of the classes explains a model: errors may have a pattern, too."""

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
    """Check a model on a few hundred clean samples before anything is attacked.

    The model is in eval mode meanwhile and gets its modes back; about ten forwards of the samples are made.

    Args:
        model: Should map inputs in [0, 1] to logits.
        x: Clean inputs `[n, ...]` in [0, 1], on the device of the model, in no order of classes.
        y: Their classes `[n]`.
        classes: Number of classes of the data.
        mean: `[C]` of the data, on the [0, 1] scale, to be tried as a normalisation.
        std: The same for the standard deviation.
        was_training: Whether the model was handed over in train mode.
        scale_is_given: Whether the user has given the scale of its inputs: others are not tried then.

    Returns:
        Findings that only need to be known, and those on outputs that weaken attacks.

    Raises:
        UserError: the samples seem to be divided by 255 twice, the model does not return finite logits of the data's
            classes, it expects inputs on another scale, or its classes are in another order.
    """
    if 0 < (high := float(x.max())) <= 1.01 / 255:
        raise UserError(f"inputs reach up to {high:g}: they seem to be divided by 255 twice; divide once")
    with attack_mode(model, "eval"), torch.no_grad():
        logits = torch.cat([logits_of(model, part, classes=classes).float() for part in torch.split(x, _BATCH)])
        _check_finite(logits)
        correct = logits.argmax(dim=1) == y
        scale = None if scale_is_given else _check_scale(model, x, y, correct, mean, std)
        channels = _check_channels(model, x, y, correct)
        found = [
            scale,
            channels,
            # Of misread inputs the predictions mean nothing, whatever their order.
            None if scale or channels else _check_class_order(logits.argmax(dim=1), y, classes),
            _check_chance(correct, y),
            probability_finding(logits),
            _check_mode(was_training),
        ]
    return [finding for finding in found if finding is not None]


def _check_finite(logits: Tensor) -> None:
    nonfinite = (~logits.isfinite().all(dim=1)).nonzero()[:, 0]
    if len(nonfinite):
        raise UserError(
            f"the model returns NaN or infinite logits for {len(nonfinite)} of {len(logits)} clean samples, first for "
            f"number {int(nonfinite[0])} of those checked: look for a layer that overflows (float16?) or for NaN in "
            "the weights"
        )


def _chance_of(better: Tensor, correct: Tensor) -> float:
    """Probability that a reading no better gains as many samples: exact McNemar test, one-sided."""
    gained, lost = int((better & ~correct).sum()), int((correct & ~better).sum())
    return 1.0 if gained <= lost else mcnemar_p_value(gained, lost)


def _is_better(better: Tensor, correct: Tensor, y: Tensor) -> bool:
    """Whether one reading is better than another, and more than a guess."""
    return _chance_of(better, correct) <= BETTER_LEVEL and _guessed(better, y) <= BETTER_LEVEL


def _guessed(correct: Tensor, y: Tensor) -> float:
    """Probability that guessing the commonest class does as well."""
    return float(scipy.stats.binomtest(int(correct.sum()), len(correct), _commonest(y), alternative="greater").pvalue)


def _commonest(y: Tensor) -> float:
    """Fraction of the commonest class."""
    return float(torch.bincount(y).max()) / len(y)


def _correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([predict_classes(model, part) for part in torch.split(x, _BATCH)]) == y


def _gain(better: Tensor, correct: Tensor) -> float:
    return (better.sum() - correct.sum()).item() / len(correct)


def _against(better: Tensor, correct: Tensor) -> str:
    """The evidence of a comparison."""
    chance = _chance_of(better, correct)
    accuracies = f"{100 * better.float().mean():.1f} % instead of {100 * correct.float().mean():.1f} %"
    return f"{accuracies} of {len(correct)} clean samples are correct (chance of that: {max(chance, 1e-99):.0e})"


def _check_scale(
    model: nn.Module, x: Tensor, y: Tensor, correct: Tensor, mean: Tensor | None, std: Tensor | None
) -> Finding | None:
    """Whether the model was trained on inputs of another scale."""
    tried = [(reading, layer, _correct(model, layer(x), y)) for reading, layer in _scales(x, mean, std)]
    reading, layer, better = max(tried, key=lambda each: int(each[2].sum()))
    if not _is_better(better, correct, y):
        return None
    means, stds = ([float(f"{value:.4g}") for value in values.tolist()] for values in (layer.mean, layer.std))
    advice = (
        f"--model.mean '{means}' --model.std '{stds}' (in Python: iaat.models.with_normalization), or the figures it "
        "was trained with"
    )
    if _gain(better, correct) >= FAR:
        raise UserError(
            f"the model expects {reading}, not inputs in [0, 1]: with them {_against(better, correct)}; give {advice}; "
            "if it does take [0, 1], say so: --model.mean '[0]' --model.std '[1]'"
        )
    return note(
        name="input-scale",
        evidence=f"with {reading} in place of [0, 1] {_against(better, correct)}",
        advice=f"Find out how its inputs were scaled in training; that reading is {advice}.",
    )


def _scales(x: Tensor, mean: Tensor | None, std: Tensor | None) -> Iterator[tuple[str, Normalize]]:
    """Readings of the inputs by name, those of the data first."""
    channels = x.shape[1]
    if mean is not None and std is not None:
        yield "inputs standardised by the data's mean and deviation", Normalize(mean, std).to(x.device)
    for reading, (means, stds) in _PUBLISHED.items():
        if len(means) in (1, channels) and (reading.endswith("MNIST") <= (channels == 1)):
            values = (torch.tensor(each, device=x.device).expand(channels) for each in (means, stds))
            yield reading if reading.startswith("inputs") else f"inputs in {reading}", Normalize(*values)


def _check_channels(model: nn.Module, x: Tensor, y: Tensor, correct: Tensor) -> Finding | None:
    """Whether the model was trained on blue, green, red: worth a few points on natural images, so not refused."""
    if x.ndim != 4 or x.shape[1] != 3:
        return None
    better = _correct(model, x.flip(1), y)
    if not _is_better(better, correct, y):
        return None
    return note(
        name="channel-order",
        evidence=f"with blue, green, red in place of red, green, blue {_against(better, correct)}",
        advice="Let its forward start with x = x.flip(1) if it was trained on images read by OpenCV.",
    )


def _check_class_order(predicted: Tensor, y: Tensor, classes: int) -> Finding | None:
    """Whether another assignment of outputs to classes is more accurate, on samples it was not made from."""
    correct, better = predicted == y, torch.zeros_like(y, dtype=torch.bool)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - (half.start or 0), None, 2)
        better[half] = _assignment(predicted[other], y[other], classes)[predicted[half]] == y[half]
    if not _is_better(better, correct, y):
        return None
    # Which output is class 0, class 1, and so on.
    outputs = _assignment(predicted, y, classes).argsort()
    changed = [label for label in range(classes) if outputs[label] != label]
    examples = ", ".join(f"class {label} is output {int(outputs[label])}" for label in changed[:5])
    listed = outputs.tolist() if classes <= _SHOWN else "..."
    evidence = (
        f"with the outputs assigned anew ({examples}{', ...' if len(changed) > 5 else ''}) {_against(better, correct)}"
    )
    advice = f"put them in the data's order in a factory of yours, logits[:, {listed}]"
    if _gain(better, correct) >= FAR and better.float().mean() >= EXPLAINED:
        raise UserError(f"the model's classes are in another order than the data's: {evidence}; {advice}")
    return Finding(name="class-order", evidence=evidence, advice=f"If classes were swapped, {advice}.", serious=False)


def _assignment(predicted: Tensor, y: Tensor, classes: int) -> Tensor:
    """Class `[classes]` of each output with which most samples are correct; its own where nothing speaks against it."""
    counts = torch.bincount(predicted * classes + y, minlength=classes * classes).reshape(classes, classes)
    counts = counts.double() + 0.5 * torch.eye(classes, dtype=torch.float64, device=y.device)
    _, assigned = scipy.optimize.linear_sum_assignment(counts.cpu().numpy(), maximize=True)
    return torch.as_tensor(assigned, device=y.device)


def _check_chance(correct: Tensor, y: Tensor) -> Finding | None:
    commonest = _commonest(y)
    if commonest == 1 or _guessed(correct, y) <= CHANCE:
        return None
    return note(
        name="chance-accuracy",
        evidence=f"{100 * correct.float().mean():.1f} % of {len(correct)} clean samples are correct, and always "
        f"guessing the commonest class is correct for {100 * commonest:.1f} %",
        advice="Check that these are the trained weights and that the data is what they were trained on.",
    )


def _check_mode(was_training: bool) -> Finding | None:
    if not was_training:
        return None
    return note(
        name="train-mode",
        evidence="the model was handed over in train mode and is evaluated in eval mode",
        advice="Call model.eval() after training, before a model is handed on.",
    )
