"""The line that training prints of an epoch."""

import pytest

from iaat.runs.epoch_record import EpochRecord
from iaat.train.epoch_summary import epoch_line

RECORD = EpochRecord(
    epoch=3,
    forwards=1,
    backwards=1,
    loss=1.0,
    train_accuracy=0.5,
    validation_clean=0.5,
    validation_robust=0.5,
    radius_mean_px=179.17,
)


@pytest.mark.parametrize(("norm", "radius"), [("linf", "radius 179.17px  "), ("l2", "radius 0.703  ")])
def test_radii_are_in_px_in_linf_alone(norm, radius):
    line = epoch_line(RECORD, 5, norm, 1.0, best=False)
    assert radius in line
