"""The name that the first PGD of an evaluation has in results and records."""

from __future__ import annotations

from iaat.units import format_norm


def name_of_pgd(target: str, steps: int, restarts: int, step_size: float | None = None, norm: str = "linf") -> str:
    """`pgd-20`, `pgd-20x5` with restarts, `targeted-pgd-20`, or `pgd-20 step 1px` with a step size of its own."""
    # The prefix also keeps the weaker attack out of the findings, which compare accuracies after `pgd` with others.
    prefix = "" if target == "none" else "targeted-"
    step = "" if step_size is None else f" step {format_norm(step_size, norm)}"
    return f"{prefix}pgd-{steps}" + (f"x{restarts}" if restarts > 1 else "") + step
