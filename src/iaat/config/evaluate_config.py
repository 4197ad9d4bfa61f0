"""The `evaluate` section of a recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from iaat.config.choices import Arithmetic
from iaat.config.suites import QUICK_N, SUITES, parse_suite
from iaat.config.train_config import AtLeastOne, FromZero
from iaat.errors import UserError, shown
from iaat.runtime.json_files import check_fields
from iaat.runtime.number_limits import MOST, check_numbers
from iaat.units import Norm, Radius, check_radius

_LONGEST_SUITE = 1000


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The attacks a trained model is evaluated by; the same for every method."""

    suite: str = "quick"
    """quick, standard, paper, full, or attacks and sections joined by "+", such as pgd+autoattack or quick+curve."""
    radius: Radius = Radius("8px")
    """Radius of the test attack: 8px, 8/255 or a number on the [0, 1] scale."""
    norm: Norm = "linf"
    """Norm of the test attack."""
    steps: AtLeastOne = 20
    """Steps of the PGD that every suite begins with."""
    step_size: Radius | None = None
    """Step size of that PGD; 2.5 * radius / steps by default."""
    restarts: AtLeastOne = 1
    """Random starts of that PGD; the worst counts, per sample."""
    target: Literal["none", "random"] = "none"
    """Target of that PGD: none, for any other class; or random, for one other class drawn for each sample. Random is
    weaker; papers report it for ImageNet. The other attacks of a suite stay untargeted."""
    batch_size: AtLeastOne = 128
    """Samples attacked at once; more is faster on a GPU. An interrupted evaluation repeats one such batch."""
    n: AtLeastOne | None = None
    """Test samples used: the first n of a fixed random order; by default 1,000 in suite quick, all in others."""
    order: Literal["random", "published"] = "random"
    """Which n: the first of a fixed random order, or (published) the first of the test set, as RobustBench takes them;
    published is refused for data that is sorted by class, as image folders are."""
    seed: FromZero = 0
    """Seed of the attacks."""
    autoattack_arithmetic: Arithmetic = "reference"
    """How AutoAttack computes: reference, as the reference does; or faster and with other rounding, on images in
    channels-last format (channels_last), or also in bfloat16. Its examples are evaluated in float32 all the same, and
    those of another class there are counted. Numbers of these two are not to be quoted as AutoAttack's."""

    def __post_init__(self) -> None:
        _check_suite(self.suite)
        check_numbers(vars(self), "evaluate")
        check_fields(self, "evaluate")
        for key in ("radius", "step_size"):
            if (value := getattr(self, key)) is not None:
                check_radius(value, self.norm, name=f"evaluate.{key}")
        if self.target != "none" and self.restarts > 1:
            raise UserError(
                f"evaluate.restarts = {self.restarts}: PGD with evaluate.target {self.target} has one start; for the "
                f"worst of several add pgd-{self.steps}x{self.restarts} to evaluate.suite"
            )

    @property
    def samples(self) -> int | None:
        """How many test samples are used; None for all."""
        quick = SUITES.keys() & {part.strip() for part in self.suite.split("+")} == {"quick"}
        return QUICK_N if self.n is None and quick else self.n


def _check_suite(suite: str) -> None:
    """Refuse what is no suite, and numbers of steps in one that would not end."""
    if not isinstance(suite, str):
        raise UserError(f"evaluate.suite {shown(suite)}: give a text, such as {' or '.join(SUITES)}")
    large = [digits for digits in re.findall(r"[0-9]+", suite) if len(digits) > len(str(MOST)) or int(digits) > MOST]
    if large or len(suite) > _LONGEST_SUITE:
        what = f"{shown(large[0])} is above {MOST:,}" if large else f"longer than {_LONGEST_SUITE} characters"
        raise UserError(f"evaluate.suite {shown(suite)}: {what}")
    parse_suite(suite)
