"""Mean accuracy over corruptions; mean corruption error (mCE) and its relative form: errors relative to a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean

from iaat.corruptions.constants import SEVERITIES, STANDARD
from iaat.errors import UserError

Errors = Mapping[str, Sequence[float]]


def mean_corruption_error(errors: Errors, baseline: Errors, *, names: Sequence[str] = STANDARD) -> float:
    """Mean over corruptions of the summed error over severities, divided by that of the baseline.

    1 means as bad as the baseline; papers print it in percent.

    Args:
        errors: Error rates in [0, 1] of each corruption at severities 1 to 5.
        baseline: The same of the baseline model (AlexNet for the published values on ImageNet-C).
        names: Corruptions to average over, the 15 standard ones by default.

    Raises:
        UserError: a corruption is missing or has not 5 errors in [0, 1], or the baseline makes no error on one.

    Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261), section 4.1.
    """
    return _mean_ratio(errors, baseline, names, 0.0, 0.0)


def relative_mean_corruption_error(
    errors: Errors, baseline: Errors, *, clean: float, baseline_clean: float, names: Sequence[str] = STANDARD
) -> float:
    """Mean corruption error of what corruptions add to the error on clean images ("Relative mCE").

    Args:
        errors: As in `mean_corruption_error`.
        baseline: As there.
        clean: Error rate in [0, 1] on clean images.
        baseline_clean: The same of the baseline.
        names: As there.

    Raises:
        UserError: as there, or some corruption costs the baseline nothing.

    Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261), section 4.1.
    """
    for value, owner in ((clean, "clean"), (baseline_clean, "baseline_clean")):
        if not 0 <= value <= 1:
            raise UserError(f"{owner} = {value:g} is not an error rate in [0, 1]")
    return _mean_ratio(errors, baseline, names, clean, baseline_clean)


def _mean_ratio(errors: Errors, baseline: Errors, names: Sequence[str], clean: float, baseline_clean: float) -> float:
    if not names:
        raise UserError("names is empty: a mean corruption error needs at least one corruption")
    for owner, rates in (("errors", errors), ("baseline", baseline)):
        _check(owner, rates, names)
    ratios = []
    for name in names:
        scale = sum(baseline[name]) - len(SEVERITIES) * baseline_clean
        if scale <= 0:
            raise UserError(f"the baseline loses nothing on {name!r}: an error relative to it is not defined")
        ratios.append((sum(errors[name]) - len(SEVERITIES) * clean) / scale)
    return math.fsum(ratios) / len(ratios)


def _check(owner: str, rates: Errors, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in rates]
    if missing:
        raise UserError(f"{owner} lacks {', '.join(missing)}: evaluate these, too, or pass the names to average over")
    for name in names:
        if len(rates[name]) != len(SEVERITIES) or not all(0 <= rate <= 1 for rate in rates[name]):
            raise UserError(
                f"{owner}[{name!r}] = {list(rates[name])}: must be 5 error rates in [0, 1], severities 1 to 5"
            )


def corruption_mean(accuracy: Mapping[str, Sequence[float]]) -> tuple[float, str]:
    """Mean accuracy over corruptions and severities, and a text that says over which corruptions.

    It is over the standard 15, as published ones are, where all of them are there; the 4 others were published for
    validation. Else it is over all there are.

    Args:
        accuracy: Of each corruption, by severity.
    """
    if all(name in accuracy for name in STANDARD):
        return mean(mean(accuracy[name]) for name in STANDARD), f"the standard {len(STANDARD)}"
    return mean(mean(row) for row in accuracy.values()), str(len(accuracy))
