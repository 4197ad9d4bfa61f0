"""Charts of one or two columns of a paper: each function draws one and returns its figure; `save` writes it."""

from iaat.analysis.pictures.paper.images import Block, Picture, Plane, image_blocks, loss_planes
from iaat.analysis.pictures.paper.lines import Band, Line, Panel, accuracy_curves, line_panels, quantile_bands
from iaat.analysis.pictures.paper.look import FORMATS, save
from iaat.analysis.pictures.paper.matrices import Grid, pair_matrix, severity_maps
from iaat.analysis.pictures.paper.points import Cloud, Pairs, intervals_tradeoff, radius_against_norm
from iaat.analysis.pictures.paper.radii import ByClass, Ridge, class_quantiles, ridges

__all__ = [
    "FORMATS",
    "save",
    "Cloud",
    "intervals_tradeoff",
    "Line",
    "accuracy_curves",
    "Panel",
    "line_panels",
    "Band",
    "quantile_bands",
    "Ridge",
    "ridges",
    "ByClass",
    "class_quantiles",
    "Pairs",
    "radius_against_norm",
    "pair_matrix",
    "Grid",
    "severity_maps",
    "Picture",
    "Block",
    "image_blocks",
    "Plane",
    "loss_planes",
]
