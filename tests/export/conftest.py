"""One trained and evaluated run for all tests of exports."""

import pytest

from helpers.training import QUIET, tiny
from iaat.evaluate.evaluate_run import evaluate_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("runs") / "digits")
    recipe = tiny("iaat", "--train.ema", "0.9", "--evaluate.n", "40", "--evaluate.steps", "2")
    data = train(recipe, run, QUIET)
    evaluate_checkpoint(run, recipe, "best", data, QUIET)
    return run
