"""Trains by `iaat.fit`, from weights of its own: one of several processes, or alone. Prints what came of it."""

import os

import torch
from torch import nn

import iaat

y = torch.arange(60) % 3
x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
torch.manual_seed(int(os.environ.get("RANK", 0)))
model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
settings = {"lr": 0.05, "batch_size": 20, "precision": "fp32", "method.steps": 2}
run = iaat.fit(model, (x, y), epochs=2, radius="8px", device="cpu", quiet=True, settings=settings)
print(len(run.history), "epochs:", [round(float(each.double().sum()), 6) for each in run.model.parameters()])
