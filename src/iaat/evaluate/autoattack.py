"""The attacks of the reference AutoAttack (Croce & Hein 2020, arXiv 2003.01690), one batch at a time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from typing import Any

from torch import Tensor, nn

from iaat.attacks import attack_mode
from iaat.config.choices import Arithmetic
from iaat.evaluate.arithmetic import InArithmetic
from iaat.runtime.rng import seeded

STANDARD_CLASSES = 4
"""Classes from which on the standard ensemble is defined."""

QUERIES = 5000
"""Queries of the Square attack in the standard version."""

_TARGETS = 9
_NORMS = {"linf": "Linf", "l2": "L2"}


def ensemble(classes: int, shape: tuple[int, ...] = (3, 32, 32), norm: str = "linf") -> tuple[str, ...]:
    """Attacks of AutoAttack for a number of classes and a shape of the inputs, in their order.

    The targeted DLR loss of APGD-T is not defined under 4 classes, DLR itself not under 3. With 3 classes the
    untargeted APGD-DLR takes its place; with 2 there is only one other class, so that APGD-CE is a targeted attack
    already, and nothing takes its place. Square is left out where `why_no_square` has a reason. Such an ensemble is not
    the standard one.
    """
    second = {2: (), 3: ("apgd-dlr",)}.get(classes, ("apgd-t",))
    return ("apgd-ce", *second, "fab-t", *(() if why_no_square(shape, norm) else ("square",)))


def why_no_square(shape: tuple[int, ...], norm: str) -> str:
    """Reason why the Square attack of the reference implementation cannot run on such inputs; empty where it can.

    Its start in L2 tiles the image with squares of side `s = H // 5`, from `(H - 5 s) // 2` on, as many as fit without
    that offset. Where offset and tiles together are longer than a side, it fails: for square images of 12, 14, 18, 19
    and 24 pixels, and below 5. Squares of a single pixel may stick out.
    """
    if len(shape) != 3:
        return f"Square needs images [C, H, W], the inputs have shape {list(shape)}"
    if norm != "l2":
        return ""
    _, height, width = shape
    side = height // 5
    offset = (height - 5 * side) // 2
    tiles = all(offset + length // max(side, 1) * side <= length for length in (height, width))
    if side == 1 or (side and tiles):
        return ""
    return f"Square in l2 cannot start on images of {height} x {width} pixels in the reference implementation"


def reference_attack(
    attack: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    norm: str,
    classes: int,
    seed: int,
    queries: int = QUERIES,
    shortcuts: bool = True,
    arithmetic: Arithmetic = "reference",
) -> Tensor:
    """Run one attack of the reference implementation on one batch, with the constants of its standard version.

    The model is in eval mode, and torch's global generators, which the implementation reseeds, are put back.
    By default it runs as `iaat.evaluate.lean` has it: the same draws and the same samples broken, in less time.

    Args:
        attack: One of `ensemble(classes)`.
        model: Maps inputs in [0, 1] to logits.
        x: Clean inputs `[B, C, H, W]` in [0, 1], all of them classified correctly.
        y: Labels `[B]`.
        radius: Radius on the [0, 1] scale, one for all.
        norm: `linf` or `l2`.
        classes: Number of classes, at least 2.
        seed: Seed of the attack.
        queries: Queries of the Square attack, 5000 in the standard version.
        shortcuts: False runs the code of the reference alone.
        arithmetic: How the attack calls the model; only `reference` rounds as the reference does.

    Returns:
        `[B, C, H, W]`: adversarial inputs where the attack found one, the clean input elsewhere.
    """
    import pyautoattack  # no command but an evaluation by it needs it

    from iaat.evaluate.lean import lean

    with seeded(0), attack_mode(model, "eval"):
        attacked = model if arithmetic == "reference" else InArithmetic(model, arithmetic)
        suite = pyautoattack.AutoAttack(
            attacked, device=x.device, eps=float(radius), norm=_NORMS[norm], seed=seed, version="standard"
        )
        runner = _runner(suite, attack, classes)
        runner.seed = seed
        suite.square.n_queries = queries
        runner = lean(runner) if shortcuts else runner
        adversarial: Tensor = runner.perturb(x.clone(), y.clone())
    return adversarial.detach()


def forwards(attack: str, classes: int) -> int:
    """Forwards of a batch that an attack of the reference takes at most, as counted on a model on which it fails."""
    if attack == "square":
        return QUERIES + 3
    targets = min(_TARGETS, classes - 1) if attack.endswith("-t") else 1
    return targets * (203 if attack == "fab-t" else 102) + 1


def _runner(suite: Any, attack: str, classes: int) -> Any:  # noqa: ANN401
    """The attack object, prepared as `AutoAttack.run_standard_evaluation` prepares it."""
    if attack == "square":
        return suite.square
    if attack == "fab-t":
        suite.fab.targeted = True
        suite.fab.n_target_classes = min(_TARGETS, classes - 1)
        return suite.fab
    if attack == "apgd-t":
        suite.apgd_targeted.n_target_classes = min(_TARGETS, classes - 1)
        return suite.apgd_targeted
    suite.apgd.loss = attack.removeprefix("apgd-")
    return suite.apgd


def reference_warnings(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
    """Warnings of the reference implementation's own checks of a model, on one batch of inputs in [0, 1]."""
    from pyautoattack import checks

    tracer = sys.gettrace()  # the check for dynamic models sets one of its own, and takes it away
    try:
        with seeded(0), attack_mode(model, "eval"), logged() as messages:
            logger = logging.getLogger(LOGGER)
            checks.check_randomized(model, x, y, bs=len(x), logger=logger)
            checks.check_range_output(model, x, logger=logger)
            checks.check_dynamic(model, x, False, logger=logger)
    finally:
        sys.settrace(tracer)
    return messages


LOGGER = "auto-attack"


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect the warnings that the reference implementation logs, each once, instead of printing them."""
    messages: list[str] = []
    logger, handler = logging.getLogger(LOGGER), BufferingHandler(sys.maxsize)
    propagate, level = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        yield messages
    finally:
        messages += dict.fromkeys(record.getMessage() for record in handler.buffer)
        logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)
