"""What an evaluation noticed that bears on whether its numbers can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

TRUSTED = "no sign of masking"
DISTRUSTED = "do not trust PGD here"
UNCHECKED = "not checked for masking: add --suspicious"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing noticed.

    Attributes:
        name: Short name of the check in kebab case, such as `random-outputs`.
        evidence: One sentence with the figures measured.
        advice: One sentence that says what to do.
        serious: Whether it forbids trusting gradient attacks; False for what only needs to be known.
    """

    name: str
    evidence: str
    advice: str
    serious: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain values."""
        return asdict(self)


def verdict(findings: Sequence[Finding], *, checked: bool = True) -> str:
    """The one line at the top of a report.

    Args:
        findings: Everything noticed.
        checked: Whether the checks for gradient masking were run.

    Returns:
        Not to trust PGD and for what reasons; or no sign of masking; or that nobody has looked.
    """
    reasons = list(dict.fromkeys(finding.name for finding in findings if finding.serious))
    if reasons:
        return f"{DISTRUSTED}: {', '.join(reasons)}"
    return TRUSTED if checked else UNCHECKED
