"""Pictures and tables of a run, made from plain arrays and records; nothing here trains or attacks."""

from iaat.analysis.pictures import (
    Thumbnail,
    TradeoffPoint,
    extremes,
    radius_histogram,
    radius_per_class,
    tradeoff,
    training_curves,
)
from iaat.analysis.tables import class_summary, radii_table, write_table

__all__ = [
    "Thumbnail",
    "TradeoffPoint",
    "class_summary",
    "extremes",
    "radii_table",
    "radius_histogram",
    "radius_per_class",
    "tradeoff",
    "training_curves",
    "write_table",
]
