"""The reference's attacks with fewer samples and copies: the same draws, the same verdicts.

`lean_apgd` and `lean_square` have subclasses of the reference's classes; `lean` puts an attack that the reference has
set up into its subclass. FAB is left as it is: beside its passes it sorts, and any other sort orders equal values
differently, which is another rounding. tests/evaluate/test_lean_autoattack.py compares sample by sample.
"""

from __future__ import annotations

from typing import Any

from iaat.evaluate.lean.lean_apgd import LeanAPGD, LeanAPGDT
from iaat.evaluate.lean.lean_square import LeanSquare

__all__ = ["lean"]

_CLASSES = {each.__bases__[-1]: each for each in (LeanAPGD, LeanAPGDT, LeanSquare)}


def lean(attack: Any) -> Any:  # noqa: ANN401
    """The same attack with all its constants, by our subclass; the one given is left as it is."""
    own = _CLASSES.get(type(attack))
    if own is None:
        return attack
    faster = object.__new__(own)
    vars(faster).update(vars(attack))
    return faster
