"""From the words of a suite, such as `standard` or `pgd+autoattack`, to attacks and further sections."""

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
SECTIONS = ("masking", "curve", "corruptions", "radii")
_PGD = re.compile(r"pgd-(?P<steps>[1-9]\d*)(?:x(?P<restarts>[1-9]\d*))?")
_TRANSFER = re.compile(r"transfer(?:-(?P<steps>[1-9]\d*))?")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an evaluation is made of.

    Attributes:
        attacks: Words of the attacks, in order: `pgd`, `pgd-50x5`, `screening`, `autoattack`, ...
        sections: Words of what is measured beside them: `masking`, `curve`, `corruptions`, `radii`.
        transfer_steps: PGD steps of the examples made on other models; None for no transfer.
    """

    attacks: tuple[str, ...]
    sections: tuple[str, ...]
    transfer_steps: int | None = None


def plan_of(suite: str) -> Plan:
    """Read a suite: the name of one, or names, attacks and sections joined by `+`, such as `quick+curve`.

    Raises:
        UserError: an unknown word, with the nearest known one.
    """
    words = plan_words(suite)
    attacks: list[str] = []
    sections: list[str] = []
    steps = None
    for word in dict.fromkeys(words):
        if match := _TRANSFER.fullmatch(word):
            if steps is not None:
                raise UserError(f"suite {suite!r} asks for transfer twice: give one number of steps")
            steps = int(match["steps"] or 100)
        elif word in SECTIONS:
            sections.append(word)
        elif word in ATTACKS or _PGD.fullmatch(word):
            attacks.append(word)
        else:
            check_choice(word, (*SUITES, *ATTACKS, "pgd-STEPS", "pgd-STEPSxRESTARTS", "transfer", *SECTIONS), "suite")
    if not attacks:
        raise UserError(f"suite {suite!r} has no attack: write such as pgd+{suite} or quick+{suite}")
    return Plan(tuple(attacks), tuple(sections), steps)


def plan_words(suite: str) -> list[str]:
    """The words a suite is made of, unchecked."""
    return [word for given in suite.split("+") for word in SUITES.get(given.strip(), (given.strip(),))]


def pgd_word(word: str) -> tuple[int, int] | None:
    """Steps and restarts of a word such as `pgd-50x5`; None for any other word."""
    match = _PGD.fullmatch(word)
    return None if match is None else (int(match["steps"]), int(match["restarts"] or 1))
