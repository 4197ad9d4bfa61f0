"""Charts, for screen and print: each function draws one by a style and returns its figure; `Style.save` writes it."""

from iaat.analysis.charts.images import ImageBlock, Thumbnail, draw_extremes, draw_image_blocks, labelled_thumbnail
from iaat.analysis.charts.lines import (
    Line,
    TrainingRun,
    draw_accuracy_by_radius,
    draw_radius_bands,
    draw_training,
)
from iaat.analysis.charts.loss_planes import LossPlane, draw_loss_planes
from iaat.analysis.charts.matrices import CorruptionGrid, draw_corruptions, draw_rank_correlations
from iaat.analysis.charts.radius_pictures import (
    MeasuredNorms,
    draw_class_radii,
    draw_radius_against_norm,
    draw_radius_histograms,
)
from iaat.analysis.charts.tradeoff import TradeoffPoint, draw_tradeoff

__all__ = [
    "ImageBlock",
    "CorruptionGrid",
    "Line",
    "LossPlane",
    "MeasuredNorms",
    "Thumbnail",
    "TradeoffPoint",
    "TrainingRun",
    "draw_accuracy_by_radius",
    "draw_class_radii",
    "draw_corruptions",
    "draw_extremes",
    "draw_image_blocks",
    "draw_loss_planes",
    "draw_radius_against_norm",
    "draw_radius_bands",
    "draw_radius_histograms",
    "draw_rank_correlations",
    "draw_tradeoff",
    "draw_training",
    "labelled_thumbnail",
]
