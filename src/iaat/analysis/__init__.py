"""Figures and tables of runs, made from plain arrays and records; nothing here trains or attacks."""

from iaat.analysis.radius_summary import RadiusHistory, quantiles_by_class, radius_history
from iaat.analysis.style import PRINT, SCREEN, Style
from iaat.analysis.tables import class_summary, radii_table, write_table

__all__ = [
    "PRINT",
    "SCREEN",
    "RadiusHistory",
    "Style",
    "class_summary",
    "quantiles_by_class",
    "radii_table",
    "radius_history",
    "write_table",
]
