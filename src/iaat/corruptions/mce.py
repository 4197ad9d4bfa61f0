"""Mean corruption error (mCE): errors under corruption relative to a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
    if not names:
        raise UserError("names is empty: a mean corruption error needs at least one corruption")
    for owner, rates in (("errors", errors), ("baseline", baseline)):
        _check(owner, rates, names)
    for name in names:
        if not sum(baseline[name]):
            raise UserError(f"the baseline loses nothing on {name!r}: an error relative to it is not defined")
    return math.fsum(sum(errors[name]) / sum(baseline[name]) for name in names) / len(names)


def _check(owner: str, rates: Errors, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in rates]
    if missing:
        raise UserError(f"{owner} lacks {', '.join(missing)}: evaluate these, too, or pass the names to average over")
    for name in names:
        if len(rates[name]) != len(SEVERITIES) or not all(0 <= rate <= 1 for rate in rates[name]):
            raise UserError(
                f"{owner}[{name!r}] = {list(rates[name])}: must be 5 error rates in [0, 1], severities 1 to 5"
            )
