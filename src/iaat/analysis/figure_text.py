"""Text in figures that users wrote: class names, run names. Cleaned, and cut to the room there is."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from iaat.runtime.text import cut

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of one line of `text` in inches, at a font size in points."""
    font = FontProperties(family=rcParams["font.family"], size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def fit_text(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Return `text` as one line, cut at its end where it is wider than `width` inches.

    Args:
        text: Anything.
        width: The room there is, in inches.
        size: The font size in points.
        weight: The font weight.
    """
    return _cut(cut(text), width, size, weight, lambda whole, kept: f"{whole[:kept].rstrip()}{ELLIPSIS}")


def fit_name(name: str, width: float, size: float) -> str:
    """Return the name of a run or recipe, cut in its middle to `width` inches: such names differ at their ends."""
    return _cut(cut(name), width, size, "normal", _without_middle)


def _without_middle(name: str, kept: int) -> str:
    tail = kept * 3 // 5
    return f"{name[: kept - tail].rstrip()}{ELLIPSIS}{name[len(name) - tail :].lstrip()}"


def _cut(text: str, width: float, size: float, weight: str, shorten: Callable[[str, int], str]) -> str:
    """Return `text`, or else `shorten` of it to the most characters that fit."""
    if text_width(text, size, weight) <= width:
        return text
    least, most = 0, len(text)
    while least < most:
        kept = (least + most + 1) // 2
        least, most = (kept, most) if text_width(shorten(text, kept), size, weight) <= width else (least, kept - 1)
    return shorten(text, least)


def put_title(figure: Figure, title: str | None) -> None:
    """Write `title`, if there is one, above the panels of `figure`, at the left, on one line."""
    if title:
        size = float(FontProperties(size=rcParams["figure.titlesize"]).get_size_in_points())
        text = fit_text(title, figure.get_figwidth() - 0.3, size, rcParams["figure.titleweight"])
        figure.suptitle(text, x=0.01, ha="left")
