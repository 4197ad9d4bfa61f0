"""Evaluation suites, such as `standard` or `pgd+autoattack`: their attacks and further sections."""

from __future__ import annotations

import re
from dataclasses import dataclass

from iaat.errors import UserError, check_choice

SUITES = {
    "quick": ("pgd", "screening"),
    "standard": ("pgd", "pgd-50x5", "autoattack", "masking"),
    "paper": ("pgd", "mi-fgsm", "deepfool", "cw", "pgd-10x5", "pgd-100x5", "pgd-1000x2", "transfer-1000", "curve",
              "corruptions", "radii"),
    "full": ("pgd", "mi-fgsm", "deepfool", "cw", "pgd-50x5", "pgd-1000x2", "autoattack", "transfer-1000", "masking",
             "curve", "corruptions", "radii"),
}  # fmt: skip
"""What each suite is made of. The attacks are ordered from weak to strong, because each meets survivors only."""

QUICK_N = 1000
"""Samples of suite `quick` where the recipe does not say: its purpose is an answer in a minute."""

ATTACKS = ("pgd", "screening", "autoattack", "mi-fgsm", "deepfool", "cw")
SUITE_SECTIONS = ("masking", "curve", "corruptions", "radii")
_PGD = re.compile(r"pgd-(?P<steps>[1-9]\d*)(?:x(?P<restarts>[1-9]\d*))?")
_TRANSFER = re.compile(r"transfer(?:-(?P<steps>[1-9]\d*))?")


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of an evaluation.

    Attributes:
        attacks: Names of the attacks, in order: `pgd`, `pgd-50x5`, `screening`, `autoattack`, ...
        sections: Names of the further sections: `masking`, `curve`, `corruptions`, `radii`.
        transfer_steps: PGD steps of the examples made on other models; None for no transfer.
    """

    attacks: tuple[str, ...]
    sections: tuple[str, ...]
    transfer_steps: int | None = None


def parse_suite(suite: str) -> Plan:
    """Read a suite: the name of one, or names, attacks and sections joined by `+`, such as `quick+curve`.

    Raises:
        UserError: an unknown part, with the nearest known one.
    """
    parts = suite_parts(suite)
    attacks: list[str] = []
    sections: list[str] = []
    steps = None
    for part in dict.fromkeys(parts):
        if match := _TRANSFER.fullmatch(part):
            if steps is not None:
                raise UserError(f"suite {suite!r} asks for transfer twice: give one number of steps")
            steps = int(match["steps"] or 100)
        elif part in SUITE_SECTIONS:
            sections.append(part)
        elif part in ATTACKS or _PGD.fullmatch(part):
            attacks.append(part)
        else:
            check_choice(
                part, (*SUITES, *ATTACKS, "pgd-STEPS", "pgd-STEPSxRESTARTS", "transfer", *SUITE_SECTIONS), "suite"
            )
    if not attacks:
        raise UserError(f"suite {suite!r} has no attack: write such as pgd+{suite} or quick+{suite}")
    return Plan(tuple(attacks), tuple(sections), steps)


def suite_parts(suite: str) -> list[str]:
    """The parts of a suite, unchecked."""
    return [part for given in suite.split("+") for part in SUITES.get(given.strip(), (given.strip(),))]


def parse_pgd(part: str) -> tuple[int, int] | None:
    """Steps and restarts of a part such as `pgd-50x5`; None for any other part."""
    match = _PGD.fullmatch(part)
    return None if match is None else (int(match["steps"]), int(match["restarts"] or 1))
