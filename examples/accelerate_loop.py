"""A loop of accelerate: one script for CPU, GPUs and several processes, radii in what accelerate saves.

Install: pip install accelerate
Run:     python examples/accelerate_loop.py [EPOCHS] [FOLDER to go on from]
         torchrun --nproc-per-node 2 examples/accelerate_loop.py [EPOCHS]
"""

import sys

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import iaat
from iaat.attacks import is_correct
from iaat.methods import IAAT, IAATConfig, StepContext
from iaat.types import Batch

epochs = int(sys.argv[1]) if sys.argv[1:] else 5
torch.manual_seed(0)
digits = TensorDataset(torch.tensor(load_digits().images[:, None] / 16).float(), torch.tensor(load_digits().target))
training, validation = random_split(digits, [1437, 360])
loader = DataLoader(iaat.with_index(training), batch_size=64, shuffle=True)  # x in [0, 1], y, index
model = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

accelerator = Accelerator(cpu=not torch.cuda.is_available())
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
method = IAAT(IAATConfig(radius="32px", steps=5).over(epochs=epochs), size=len(training), device=accelerator.device)
accelerator.register_for_checkpointing(method)  # anything with state_dict and load_state_dict
if sys.argv[2:]:
    accelerator.load_state(sys.argv[2])
for epoch in range(epochs):
    for batch in loader:
        output = method.step(model, Batch(*batch), StepContext(epoch))
        optimizer.zero_grad()
        accelerator.backward(output.loss)
        optimizer.step()
    method.radii.synchronize()  # between processes, if there are several
    accelerator.save_state(f"accelerate_loop/epoch-{epoch}")
x, y = (part.to(accelerator.device) for part in validation[:])
robust = is_correct(model, iaat.pgd(model, x, y, radius="32px"), y).float().mean()
accelerator.print(f"robust at 32px {robust:.1%}, mean radius {255 * method.radii.values.mean():.1f}px")
