"""Largest radius that a run can reach, compared with the radius it is evaluated at."""

from __future__ import annotations

import math
import warnings

from iaat.config.recipe import Recipe
from iaat.methods import AttackConfig, MethodConfig, PGDATConfig
from iaat.units import Norm, format_norm

_FAR = 4
_CLOSE = 1 - 1e-6


def radius_span(recipe: Recipe) -> str | None:
    """The largest radius of training attacks and that of the evaluation, for a message; None without attacks."""
    largest, method = _largest(recipe), recipe.method
    if _is_unstated(recipe):
        trained = "not known in training, as the method's Config has no largest_radius"
    elif largest is None or largest == math.inf:
        return None
    else:
        learned = "each image its own, " if getattr(method, "learns_radii", False) else ""
        trained = f"{learned}at most {_length(largest, getattr(method, 'norm', recipe.evaluate.norm))} in training"
    return f"{trained}; {_length(recipe.evaluate.radius, recipe.evaluate.norm)} in evaluation"


def warn_of_radii(recipe: Recipe) -> None:
    """Warn where radii cannot reach the radius of the attack or the evaluation, and where these two are far apart."""
    largest, method, evaluate = _largest(recipe), recipe.method, recipe.evaluate
    radius = getattr(method, "radius", None)
    if largest is None or radius is None or getattr(method, "norm", evaluate.norm) != evaluate.norm:
        return
    reached = _length(largest, evaluate.norm)
    key, wanted = ("method.radius", radius) if radius <= evaluate.radius else ("evaluate.radius", evaluate.radius)
    if method.learns_radii and largest < wanted * _CLOSE:
        warnings.warn(
            f"radii can reach {reached} at most in this run, less than {key} = {_length(wanted, evaluate.norm)}: "
            f"{method.how_to_reach}",
            stacklevel=2,
        )
    low, high = sorted((float(radius), float(evaluate.radius)))
    if method.radius_is_attack and high > _FAR * low:
        warnings.warn(
            f"trained at {_length(radius, evaluate.norm)} (method.radius) and evaluated at "
            f"{_length(evaluate.radius, evaluate.norm)} (evaluate.radius), more than {_FAR} times apart",
            stacklevel=2,
        )


def _largest(recipe: Recipe) -> float | None:
    method = recipe.method
    if not isinstance(method, MethodConfig) or _is_unstated(recipe):
        return None
    return method.largest_radius(recipe.method_epochs)


def _is_unstated(recipe: Recipe) -> bool:
    """Whether a method of the user's may move its radii without saying how far."""
    stated = getattr(type(recipe.method), "largest_radius", None)
    return ":" in recipe.method_name and stated in (AttackConfig.largest_radius, PGDATConfig.largest_radius)


def _length(value: float, norm: Norm) -> str:
    return format_norm(value, norm) + ("" if norm == "linf" else f" ({norm})")
