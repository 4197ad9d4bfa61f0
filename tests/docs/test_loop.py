"""The loops of README and docs/howto/own-loop.md train a model and move the radii."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

ROOT = Path(__file__).parents[2]


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
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    for _ in range(8):
        exec(compile(code, document, "exec"), names)
    x, y = names["dataset"].tensors
    assert (names["model"](x).argmax(1) == y).float().mean() > 0.9
    radii = names["radii"].values * 255
    assert len(radii) == 300
    grown = (radii - start - 0.2).abs() < 1e-4  # each was visited once in the last pass
    assert bool((grown | ((radii - max(0, start - 0.2)).abs() < 1e-4)).all())
    assert grown.float().mean() > 0.9
