"""Types of documented use, as mypy --strict sees them with the types that the package ships (py.typed)."""

import subprocess
import sys

USE = """
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import iaat
from iaat.methods import METHODS, StepContext
from iaat.types import Batch


class Losses(iaat.Tracker):
    def finished(self) -> None:
        print("finished")


tracker = Losses()
dataset = TensorDataset(torch.rand(8, 3, 4, 4), torch.arange(8) % 3)
loader: DataLoader[Any] = DataLoader(iaat.with_index(dataset), batch_size=4)
model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
method = METHODS["trades"](METHODS["trades"].Config().over(epochs=3), size=len(dataset), device="cpu")
for x, y, index in loader:
    output = method.step(model, Batch(x, y, index), StepContext(0))
    output.loss.backward()
radii = iaat.RadiusMemory(len(dataset), initial=np.zeros(8))
radii[np.arange(8)] = np.full(8, 0.1)
radii[:2] = "8px"
x_adv = iaat.pgd(model, x, y, radius="8px")
"""


def test_documented_use_passes_strict_checks(tmp_path):
    file = tmp_path / "use.py"
    file.write_text(USE, encoding="utf-8")
    # PyTorch's own backward() has no types in some versions.
    options = ["--strict", "--untyped-calls-exclude=torch", "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *options, str(file)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
