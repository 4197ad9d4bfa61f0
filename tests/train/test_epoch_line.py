"""The line that training prints of an epoch."""

import pytest

from iaat.config.load_recipe import load_recipe
from iaat.train.record import epoch_line

L2 = ("--method.norm", "l2", "--method.radius", "0.5", "--evaluate.norm", "l2", "--evaluate.radius", "0.5")
RECORD = {"epoch": 3, "loss": 1.0, "train_accuracy": 0.5, "holdout_clean": 0.5, "holdout_robust": 0.5}


@pytest.mark.parametrize(("words", "radius"), [((), "radius 179.17px  "), (L2, "radius 0.703  ")])
def test_radii_are_in_px_in_linf_alone(words, radius):
    line = epoch_line(load_recipe("quickstart", words), {**RECORD, "radius_mean_px": 179.17}, 1.0, improved=False)
    assert radius in line
