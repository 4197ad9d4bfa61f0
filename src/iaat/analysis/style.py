"""House style of figures: palette, the sizes of screen and print, writing files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
from cycler import cycler
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from iaat.analysis.array_checks import suffix_of
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
"""Okabe and Ito's eight colours, distinct under every common colour blindness; yellow last, weak on white."""

INK = "#333333"
MUTED = "#767676"
GRID = "#E4E4E4"
SHADES = LinearSegmentedColormap.from_list("shades", ["#F4F9FD", "#8FC3E6", PALETTE["blue"], "#00263F"])
"""From little to much, for maps: it darkens all the way, so grey print shows it, too."""

FIGURE_FORMATS = ("png", "svg", "pdf")

_COLORS = list(PALETTE.values())[:-1]
_MARKERS = "osD^vPX<"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (9, 2)))
# Luminance on which black and white have the same contrast, 4.6, by the formula of WCAG.
_EVEN_CONTRAST = 0.179
# DejaVu, which comes with matplotlib, has no ideographs: class names in them need a font of the machine.
_FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "WenQuanYi Micro Hei")
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "iaat"},
    "svg": {"Date": None, "Creator": "iaat"},
    "pdf": {"CreationDate": None, "Creator": "iaat", "Producer": "iaat"},
}


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes of a figure, its text and its thumbnails.

    No pyplot: figures are plain `matplotlib.figure.Figure` objects. Drawing needs no display, leaves no figure open and
    does not disturb a notebook's own.

    Attributes:
        column: Width of a figure of one panel, in inches.
        page: Width of a figure of several panels, in inches.
        font: Font size in points.
        small: The smallest font size in points.
        dpi: Pixels per inch of PNG files.
        thumbnail: Side of the square that a thumbnail is drawn in, in pixels: a multiple of 8, 16, 32 and 64, so that
            every pixel of a small image comes out the same size.
    """

    column: float
    page: float
    font: float
    small: float
    dpi: int
    thumbnail: int

    @property
    def scale(self) -> float:
        """Font size in units of 7 points; lines and heights in charts are multiples of it."""
        return self.font / 7

    @contextmanager
    def context(self) -> Iterator[None]:
        """Apply the style inside the block, whatever the user's own matplotlibrc says; restore theirs after it."""
        with matplotlib.style.context(["default", self._settings()]), warnings.catch_warnings():
            # It shows as a box; one warning for every letter, chart and format would bury the others.
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
            yield

    def save(self, figure: Figure, path: str | os.PathLike[str]) -> None:
        """Write a figure; `path` appears whole or not at all, and equal figures give equal bytes.

        Args:
            figure: Drawn within `context`.
            path: Ends in .png, .svg or .pdf. Missing parent folders are made.

        Raises:
            UserError: Another suffix, or the folder cannot be written.
        """
        suffix = suffix_of(path, FIGURE_FORMATS)
        with self.context(), replacing(Path(path)) as temporary:
            figure.savefig(temporary, format=suffix, dpi=self.dpi, metadata=_METADATA[suffix])

    def _settings(self) -> dict[str, Any]:
        installed = set(font_manager.fontManager.get_font_names())
        scale = self.scale
        return {
            "axes.axisbelow": True,
            "axes.edgecolor": MUTED,
            "axes.grid": True,
            "axes.labelcolor": INK,
            "axes.labelsize": self.font,
            "axes.linewidth": 0.6 * scale,
            "axes.prop_cycle": cycler(color=_COLORS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titlepad": 4 * scale,
            "axes.titlesize": self.font,
            "figure.constrained_layout.h_pad": 0.04 * scale,
            "figure.constrained_layout.w_pad": 0.04 * scale,
            "figure.dpi": self.dpi,
            "figure.titlesize": 1.2 * self.font,
            "figure.titleweight": "bold",
            "font.family": ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)],
            "font.size": self.font,
            "grid.color": GRID,
            "grid.linewidth": 0.5 * scale,
            "legend.borderpad": 0.1,
            "legend.columnspacing": 1.4,
            "legend.fontsize": self.font,
            "legend.frameon": False,
            "legend.handlelength": 2.4,
            "legend.title_fontsize": self.font,
            "lines.linewidth": 1.1 * scale,
            "lines.markersize": 3.5 * scale,
            "savefig.dpi": self.dpi,
            "text.color": INK,
            # A class may be called "$x_1$". No chart needs formulas; log axes would: their ticks are mathtext.
            "text.parse_math": False,
            "xtick.color": MUTED,
            "xtick.labelcolor": INK,
            "xtick.labelsize": self.font,
            "xtick.major.size": 2.5 * scale,
            "xtick.major.width": 0.6 * scale,
            "ytick.color": MUTED,
            "ytick.labelcolor": INK,
            "ytick.labelsize": self.font,
            "ytick.major.size": 2.5 * scale,
            "ytick.major.width": 0.6 * scale,
            # Text stays text: searched, edited and read aloud.
            "pdf.fonttype": 42,
            "svg.fonttype": "none",
            "svg.hashsalt": "iaat",
        }


SCREEN = Style(column=5.5, page=8.0, font=10.0, small=9.0, dpi=150, thumbnail=128)
"""For run folders and a README: 1,200 px wide, shown at about 0.7 of that, where 10 pt stays readable."""

PRINT = Style(column=3.3, page=6.9, font=7.0, small=6.0, dpi=300, thumbnail=192)
"""For papers: one column and two."""


class SeriesStyle(NamedTuple):
    """Colour, marker and dashes of a series, distinct without colours, too."""

    color: str
    marker: str
    dash: Any


def series_style(number: int) -> SeriesStyle:
    """Return the style of series number `number`."""
    return SeriesStyle(_COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)], _DASHES[number % len(_DASHES)])


_METHOD_SERIES = {
    **{"iaat": 0, "pgd_at": 1, "natural": 2, "trades": 3, "iaat_trades": 4, "iaat_paper": 5, "mart": 6, "fat": 7},
    **{"cat": 8, "mma": 9, "nfgsm": 10, "vpb": 11, "gradnorm": 12},
}


def series_numbers(methods: Sequence[str]) -> list[int]:
    """Return the number of the series style of each recipe by its method, no number twice.

    The first recipe of a method has the number that this method has in every picture; the others have free ones.

    Args:
        methods: Method of each recipe.
    """
    first = {method: _METHOD_SERIES[method] for method in dict.fromkeys(methods) if method in _METHOD_SERIES}
    free = (number for number in count() if number not in first.values())
    numbers = []
    for place, method in enumerate(methods):
        own = method in first and methods.index(method) == place
        numbers.append(first[method] if own else next(free))
    return numbers


def darker(color: str) -> tuple[float, float, float]:
    """Return a palette colour as red, green, blue in [0, 1], dark enough for text on white; yellow is not."""
    red, green, blue = to_rgb(color)
    return 0.66 * red, 0.66 * green, 0.66 * blue


def ink_on(shade: float) -> str:
    """Return black or white, whichever has more contrast on a shade of `SHADES` in [0, 1]."""
    channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in SHADES(shade)[:3]]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "white" if luminance < _EVEN_CONTRAST else "black"
