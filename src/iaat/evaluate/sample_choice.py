"""Choose the test samples of an evaluation: the same ones for every model and method."""

from __future__ import annotations

from torch import Tensor

from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataSplits
from iaat.errors import UserError
from iaat.runtime import rng


def test_sample(data: DataSplits, config: EvaluateConfig) -> Tensor:
    """Indices of the test samples an evaluation uses: the same ones for every model and method.

    Raises:
        UserError: there are none.
    """
    if not len(data.test_index):
        raise UserError("the test set has no samples: there is nothing to evaluate; give other data")
    if config.order == "published":
        return _first_published(data, config)
    return data.test_index[rng.fixed_sample(len(data.test_index), config.samples)].sort().values


def _first_published(data: DataSplits, config: EvaluateConfig) -> Tensor:
    """The first test samples in the order of the data set."""
    labels = data.test.labels
    if bool((labels[1:] >= labels[:-1]).all()):
        raise UserError(
            "evaluate.order published: the test samples are sorted by class, as image folders are, so the first ones "
            "are all of one class: give the data set as it was published, or leave evaluate.order out"
        )
    if len(data.test_index) < len(data.test):
        raise UserError("evaluate.order published: data.test_limit leaves test samples out: leave one of the two out")
    return data.test_index[: config.samples]
