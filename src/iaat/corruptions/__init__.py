"""Common corruptions with the published constants, and the mean corruption error (mCE)."""

from iaat.corruptions.apply import corrupt
from iaat.corruptions.constants import CORRUPTIONS, EXTRA, SEVERITIES, STANDARD, ConstantSet, constant_set
from iaat.corruptions.mce import mean_corruption_error, relative_mean_corruption_error
from iaat.corruptions.published import find_published, label_map
from iaat.corruptions.published_set import PublishedSet

__all__ = [
    "corrupt",
    "CORRUPTIONS",
    "STANDARD",
    "EXTRA",
    "SEVERITIES",
    "ConstantSet",
    "constant_set",
    "find_published",
    "label_map",
    "PublishedSet",
    "mean_corruption_error",
    "relative_mean_corruption_error",
]
