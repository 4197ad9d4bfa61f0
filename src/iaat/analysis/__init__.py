"""Figures and tables of runs, made from plain arrays; nothing here trains or attacks."""

from iaat.analysis.radius_summary import RadiusHistograms, quantiles_by_class, radius_histograms
from iaat.analysis.style import PRINT, SCREEN, Style
from iaat.analysis.tables import class_summary, radii_table, write_table

__all__ = [
    "PRINT",
    "SCREEN",
    "RadiusHistograms",
    "Style",
    "class_summary",
    "quantiles_by_class",
    "radii_table",
    "radius_histograms",
    "write_table",
]
