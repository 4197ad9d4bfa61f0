"""The pictures of a run: each function draws one, writes it and returns the figure."""

from iaat.analysis.pictures.gallery import Thumbnail, extremes
from iaat.analysis.pictures.histogram import radius_histogram
from iaat.analysis.pictures.per_class import radius_per_class
from iaat.analysis.pictures.tradeoff import TradeoffPoint, tradeoff
from iaat.analysis.pictures.training_curves import training_curves

__all__ = [
    "Thumbnail",
    "TradeoffPoint",
    "extremes",
    "radius_histogram",
    "radius_per_class",
    "tradeoff",
    "training_curves",
]
