"""Why the radius of an image is what it is: one sentence from its history and the trained model's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iaat.errors import UserError
from iaat.report.suspects import WAVERING
from iaat.report.suspicion_scores import wavering
from iaat.runtime.text import counted

STEADY = 0.9
"""Fraction of epochs from which on a radius counts as growing steadily."""

LEAST = 3
"""Epochs from which on a trend is called one."""

_KINDS = ("zero", "fell", "top", "grows", "wavers", "falls", "mixed", "once")
"""Kinds of histories, see `radius_reasons`; of several that fit the first."""

_SENTENCES = {
    "zero": "Its radius is 0 since epoch {epoch}.",
    "fell": "Its radius fell to 0 in epoch {epoch}.",
    "top": "At the largest radius allowed since epoch {epoch}: easy.",
    "grows": "Grew in {count} of {of}: easy.",
    "wavers": "Goes up and down, {count} turns in {of}: "
    "the trained model gives {label} ({mine}) and {other} ({theirs}).",
    "falls": "Fell in {count} of {of}, to {last}.",
    "mixed": "Grew in {count} of {of}, to {last}.",
    "once": "Radii are kept of one epoch alone: {last} after epoch {epoch}.",
}
_OF_ATTACKS = {
    "zero": "Misclassified without attack since epoch {epoch}: its radius is 0.",
    "fell": "The attack of epoch {epoch} succeeded: its radius fell to 0.",
    "falls": "Fell in {count} of {of}, to {last}: attacks on it succeed more often than not.",
}
"""Where each step of a radius is the outcome of one attack at it."""
_REFUSED = " The trained model predicts {other} ({theirs}; {label}: {mine})."
"""Follows where that is so, and has not been said."""
_BY_OUTCOME = ("iaat", "iaat_trades")
"""Methods with radii that the outcome of the training attack moves; one at 0 stays there if the sample is misclassified
without attack."""


@dataclass(frozen=True, slots=True, eq=False)
class RadiusReasons:
    """The sentences of n samples as templates and the values in them.

    Attributes:
        templates: Sentences with names in braces: `label`, `other` (classes), `mine`, `theirs` (their probabilities),
            `epoch`, `count`, `last` (the last radius).
        template: `[n]` int64, place of each sample's sentence in `templates`.
        epoch: `[n]` int64, the epoch in it.
        count: `[n]` int64, the number in it.
        other: `[n]` int64, the likeliest class but the label.
        mine: `[n]` int64, probability of the label in per mille.
        theirs: `[n]` int64, probability of `other` in per mille.
    """

    templates: tuple[str, ...]
    template: NDArray[np.int64]
    epoch: NDArray[np.int64]
    count: NDArray[np.int64]
    other: NDArray[np.int64]
    mine: NDArray[np.int64]
    theirs: NDArray[np.int64]

    def in_order(self, order: NDArray[np.int64]) -> RadiusReasons:
        """Return the sentences of the samples at some places, in their order."""
        columns = ("template", "epoch", "count", "other", "mine", "theirs")
        return replace(self, **{name: getattr(self, name)[order] for name in columns})

    def sentence(self, place: int, label: str, other: str, last: str) -> str:
        """Return the sentence of one sample.

        Args:
            place: Of the sample.
            label: Name of its class.
            other: Name of the class `other`.
            last: Its last radius, with its unit.
        """
        values = (self.epoch[place], self.count[place], self.mine[place], self.theirs[place])
        return fill(self.templates[self.template[place]], label, other, last, *map(int, values))


def fill(template: str, label: str, other: str, last: str, epoch: int, count: int, mine: int, theirs: int) -> str:
    """Return a template of `RadiusReasons` with its values; static/about.js does the same."""
    return template.format(
        label=label,
        other=other,
        last=last,
        epoch=epoch,
        count=count,
        mine=f"{mine / 10:.1f} %",
        theirs=f"{theirs / 10:.1f} %",
    )


def radius_reasons(
    history: ArrayLike,
    epochs: Sequence[int],
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    method: str = "",
    largest: float | None = None,
) -> RadiusReasons:
    """Say why radii are what they are, by what the history shows and nothing else.

    The kind of a history is the first that fits:

    - `zero`: 0 in the last epoch and the one before it;
    - `fell`: 0 in the last epoch alone;
    - `top`: at `largest` in the last epoch;
    - `grows`: grew in at least `STEADY` of the epochs, `LEAST` or more;
    - `wavers`: `wavering` is at least `WAVERING`;
    - `falls`: fell in more than half of the epochs, `LEAST` or more;
    - `mixed`: all else; `once` where there is one epoch.

    "Misclassified" and "attacks succeed" are said for methods alone with radii that move by the outcome of one attack:
    a radius of 0 that does not grow there was misclassified without attack, in training and with its augmentation. They
    are said only where the radii of every epoch are kept.

    Args:
        history: Radii `[E, n]` after each kept epoch, on the [0, 1] scale.
        epochs: `E` epochs, ascending.
        labels: Class numbers `[n]`.
        probabilities: Class probabilities `[n, C]` of the trained model on clean samples, C at least 2.
        method: Name of the method that moved the radii.
        largest: Largest radius that it allows; None for none.

    Raises:
        UserError: another number of epochs than radii, or of labels or probabilities than samples.

    Example:
        >>> import numpy as np
        >>> radii = np.array([[1.0], [0.0], [0.0]]) / 255
        >>> reasons = radius_reasons(radii, [5, 6, 7], [0], [[0.25, 0.75]], method="iaat")
        >>> reasons.sentence(0, "cat", "dog", "0.00 px").split(". ")[0]
        'Misclassified without attack since epoch 7: its radius is 0'
    """
    radii, label, chance = np.asarray(history), np.asarray(labels), np.array(probabilities, dtype=np.float64)
    if radii.ndim != 2 or not len(radii) or len(radii) != len(epochs):
        raise UserError(f"history of shape {list(radii.shape)} for {len(epochs)} epochs: pass radii [epochs, samples]")
    count = radii.shape[1]
    if label.shape != (count,) or chance.ndim != 2 or chance.shape[0] != count or chance.shape[1] < 2:
        raise UserError(
            f"labels {list(label.shape)} and probabilities {list(chance.shape)} for {count} samples: pass [{count}] "
            f"and [{count}, classes], 2 classes or more"
        )
    kind, epoch, number = _kinds(radii, np.asarray(epochs), largest)
    rows = np.arange(count)
    mine = chance[rows, label]
    chance[rows, label] = -1
    other = chance.argmax(axis=1)
    theirs = chance[rows, other]
    refused = (theirs > mine) & (kind != _KINDS.index("wavers"))
    sentences = _templates(method, epochs)
    return RadiusReasons(
        templates=(*sentences, *(sentence + _REFUSED for sentence in sentences)),
        template=kind + len(_KINDS) * refused,
        epoch=epoch,
        count=number,
        other=other,
        mine=np.rint(1000 * mine).astype(np.int64),
        theirs=np.rint(1000 * theirs).astype(np.int64),
    )


def _templates(method: str, epochs: Sequence[int]) -> list[str]:
    steps = len(epochs) - 1
    consecutive = steps == epochs[-1] - epochs[0]
    of = counted(steps, "epoch" if consecutive else "kept epoch")
    # Between kept epochs a radius may have risen and fallen.
    said = _SENTENCES | (_OF_ATTACKS if method in _BY_OUTCOME and consecutive else {})
    return [said[kind].replace("{of}", of) for kind in _KINDS]


def _kinds(
    radii: NDArray[np.floating], epochs: NDArray[np.int64], largest: float | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return place in `_KINDS`, epoch and count of each history."""
    steps, last, count = len(radii) - 1, len(radii) - 1, radii.shape[1]
    grew, fell = (radii[1:] > radii[:-1]).sum(axis=0), (radii[1:] < radii[:-1]).sum(axis=0)
    turns = np.rint(wavering(radii) * max(0, steps - 1)).astype(np.int64)
    at_zero = _since(radii == 0)
    at_top = _since(radii >= (np.inf if largest is None else largest * (1 - 1e-6)))
    # The first 0 is that of an attack at the radius before it; from the next on the image itself was misclassified.
    known_from = np.minimum(at_zero + 1, last)
    found: dict[str, tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]] = {
        "zero": (at_zero < last, epochs[known_from], grew),
        "fell": (at_zero == last, epochs[known_from], grew),
        "top": (at_top <= last, epochs[np.minimum(at_top, last)], grew),
        "grows": ((grew >= STEADY * steps) & (steps >= LEAST), np.full_like(grew, epochs[-1]), grew),
        "wavers": (wavering(radii) >= WAVERING, np.full_like(grew, epochs[-1]), turns),
        "falls": ((2 * fell > steps) & (steps >= LEAST), np.full_like(grew, epochs[-1]), fell),
        "mixed": (np.full(count, True), np.full_like(grew, epochs[-1]), grew),
    }
    if not steps:
        return np.full_like(grew, _KINDS.index("once")), np.full_like(grew, epochs[-1]), grew
    masks, since, numbers = (list(part) for part in zip(*found.values(), strict=True))
    places = [np.full_like(grew, _KINDS.index(name)) for name in found]
    return np.select(masks, places), np.select(masks, since), np.select(masks, numbers)


def _since(reached: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the row from which on a column `[E, n]` is true to its end; E where the last is not."""
    trailing: NDArray[np.int64] = np.cumprod(reached[::-1], axis=0, dtype=np.int64).sum(axis=0)
    return len(reached) - trailing
