"""A run is evaluated by RobustBench, with the accuracy that this package has for it."""

import sys

import pyautoattack
import pyautoattack.state
import pytest

import iaat
from helpers.external_models import digits
from helpers.training import QUIET, tiny
from iaat.evaluate import evaluate_model
from iaat.runs.run_folder import RunFolder
from iaat.train import train

N, RADIUS = 16, 40 / 255


class AutoAttack(pyautoattack.AutoAttack):
    """AutoAttack of the index under the arguments of its repository, which RobustBench gives."""

    def __init__(self, *args, log_path, **more):
        super().__init__(*args, **more)

    def run_standard_evaluation(self, x, y, *, bs, state_path):
        return super().run_standard_evaluation(x, y, batch_size=bs)[0]


@pytest.fixture
def robustbench(monkeypatch):
    # RobustBench 1.1.1 imports AutoAttack by the name of its repository, which no index has; the code is the same.
    monkeypatch.setitem(sys.modules, "autoattack", pyautoattack)
    monkeypatch.setitem(sys.modules, "autoattack.state", pyautoattack.state)
    try:
        import robustbench.eval
    except ImportError as error:
        pytest.skip(f"RobustBench cannot be imported: {error}")
    monkeypatch.setattr(robustbench.eval, "AutoAttack", AutoAttack)
    return robustbench


def test_benchmark_takes_a_run(robustbench, tmp_path, monkeypatch):
    train(tiny("natural", "--train.epochs", "8"), RunFolder(tmp_path / "run"), QUIET)
    model, (x, y) = iaat.load(tmp_path / "run"), (part[:N] for part in digits()[1])
    accuracy = float((model(x).argmax(1) == y).float().mean())
    assert robustbench.utils.clean_accuracy(model, x, y) == pytest.approx(accuracy)
    # Its own data sets would be downloaded.
    monkeypatch.setattr(robustbench.eval, "load_clean_dataset", lambda *_: (x, y))
    clean, robust = robustbench.benchmark(model, n_examples=N, dataset="cifar10", threat_model="Linf", eps=RADIUS)
    assert clean == pytest.approx(accuracy)
    ours = evaluate_model(model, x, y, classes=10, suite="autoattack", radius=RADIUS, n=N)
    # AutoAttack seeds itself by the clock there.
    assert robust == pytest.approx(ours.accuracy["worst"], abs=1.1 / N)
    assert robust < clean
