"""A run in memory takes all the calls that training makes on a run."""

import pytest
import torch

from helpers.training import same, tiny
from iaat import UserError
from iaat.data import build_data
from iaat.runs.memory_run import MemoryRun
from iaat.train.trainer import Trainer


def test_it_goes_on_from_its_last_epoch_as_if_never_interrupted():
    recipe = tiny("iaat", "--train.epochs", "2", "--method.steps", "1", "--train.device", "cpu")
    data = build_data(recipe.data, seed=recipe.seed, device="cpu")
    whole, broken = MemoryRun("whole"), MemoryRun("broken")
    Trainer(recipe, data, whole).fit()
    Trainer(recipe, data, broken).train_epoch()
    later = Trainer(recipe, data, broken, start_weights=False)
    later.resume()
    later.fit()
    assert later.state.epoch == 2
    for part in ("model", "method"):
        assert same(broken.last[part], whole.last[part])


def test_there_is_nothing_to_go_on_from_before_the_first_epoch():
    with pytest.raises(UserError, match="run has no finished epoch to go on from"):
        MemoryRun("run").newest(torch.device("cpu"))
