"""How every picture looks: palette, figure defaults, saving.

Nothing here or in `pictures` touches pyplot: figures are plain `matplotlib.figure.Figure` objects, so drawing needs no
display, leaves no open figures behind and does not disturb a notebook's own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from cycler import cycler
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from iaat.analysis.checks import suffix_of
from iaat.runtime.files import replacing

PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
"""Okabe and Ito's eight colours, told apart under every common colour blindness; yellow last, weak on white."""

INK = "#333333"
MUTED = "#767676"
GRID = "#E4E4E4"
WIDTH = 8.0
"""Inches. At 150 dpi this is 1,200 px: a README shows it at about 0.7 of that, where 10 pt stays readable."""

DPI = 150
FORMATS = ("png", "svg", "pdf")

# DejaVu, which comes with matplotlib, has no ideographs: class names in them need a font of the machine.
_FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "WenQuanYi Micro Hei")


def _defaults() -> dict[str, Any]:
    installed = set(font_manager.fontManager.get_font_names())
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": MUTED,
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.prop_cycle": cycler(color=list(PALETTE.values())[:-1]),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "figure.dpi": DPI,
        "figure.titlesize": 12,
        "figure.titleweight": "bold",
        "font.family": ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)],
        "font.size": 10,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "lines.linewidth": 1.8,
        "savefig.dpi": DPI,
        "text.color": INK,
        # A class may be called "$x_1$". No picture needs formulas; note that log axes would (their ticks are mathtext).
        "text.parse_math": False,
        "xtick.color": MUTED,
        "xtick.labelcolor": INK,
        "xtick.labelsize": 9,
        "ytick.color": MUTED,
        "ytick.labelcolor": INK,
        "ytick.labelsize": 9,
    }


def darker(color: str) -> tuple[float, float, float]:
    """Return a palette colour as red, green, blue in [0, 1], dark enough for text on white; yellow is not."""
    red, green, blue = to_rgb(color)
    return 0.66 * red, 0.66 * green, 0.66 * blue


@contextmanager
def context() -> Iterator[None]:
    """Apply the house style inside the block, whatever the user's own matplotlibrc says; restore theirs after it."""
    with matplotlib.style.context(["default", _defaults()]):
        yield


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write `figure` at 150 dpi; `path` appears whole or not at all.

    Args:
        figure: The figure to write.
        path: Ends in .png, .svg or .pdf. Missing parent folders are made.

    Raises:
        UserError: Another suffix, or the folder cannot be written.
    """
    suffix = suffix_of(path, FORMATS)
    with context(), replacing(Path(path)) as temporary:
        figure.savefig(temporary, format=suffix, dpi=DPI)
