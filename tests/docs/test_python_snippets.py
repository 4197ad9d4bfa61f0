"""Python of README, docs/howto/own-loop.md and docs/start.md runs, and does what is said of it."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from helpers.training import QUIET, tiny
from iaat.runs.run_folder import RunFolder
from iaat.train import train

ROOT = Path(__file__).parents[2]


def run_snippet(document, names):
    """Run the only Python of a document."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, document, "exec"), names)


@pytest.fixture
def names():
    """Data of three classes that a linear model learns, and what the loops expect beside it."""
    torch.manual_seed(0)
    y = torch.arange(300) % 3
    x = 0.5 * torch.rand(300, 1, 6, 6)
    x[torch.arange(300), 0, y] += 0.4  # the row of pixels that tells the class
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return {"dataset": TensorDataset(x, y), "model": model, "optimizer": optimizer, "torch": torch}


@pytest.mark.parametrize(("document", "start"), [("README.md", 8.0), ("docs/howto/own-loop.md", 0.0)])
def test_a_loop_trains_and_moves_the_radii(names, document, start):
    for _ in range(8):
        run_snippet(document, names)
    x, y = names["dataset"].tensors
    assert (names["model"](x).argmax(1) == y).float().mean() > 0.9
    radii = names["radii"].values * 255
    assert len(radii) == 300
    grown = (radii - start - 0.2).abs() < 1e-4  # each was visited once in the last pass
    assert bool((grown | ((radii - max(0, start - 0.2)).abs() < 1e-4)).all())
    assert grown.float().mean() > 0.9


def test_the_network_of_the_first_run_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(tiny("iaat"), RunFolder(Path("runs/first")), QUIET)
    names = {}
    run_snippet("docs/start.md", names)
    assert set(names["names"]) <= set(names["model"].classes)
    moved = (names["attacked"] - names["images"]).abs().amax()
    assert 0 < moved <= names["model"].radius + 1e-6
