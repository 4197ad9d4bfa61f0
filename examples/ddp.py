"""Several processes with DistributedDataParallel: each attacks its part of the data, radii are exchanged once an epoch.

Install: iaat alone.
Run:     torchrun --nproc-per-node 2 examples/ddp.py [EPOCHS]
"""

import os
import sys

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset, random_split

import iaat
from iaat.attacks import is_correct

dist.init_process_group()  # gloo on CPUs, NCCL on GPUs
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
torch.manual_seed(0)
digits = TensorDataset(torch.tensor(load_digits().images[:, None] / 16).float(), torch.tensor(load_digits().target))
training, validation = random_split(digits, [1437, 360])
sampler = DistributedSampler(training, seed=0)
loader = DataLoader(iaat.with_index(training), batch_size=32, sampler=sampler)  # indices are those of all data

layers = nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
model = nn.parallel.DistributedDataParallel(nn.Sequential(*layers).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
radii = iaat.RadiusMemory(len(training), initial="32px", device=device)

torch.manual_seed(dist.get_rank())  # of random starts
for epoch in range(int(sys.argv[1]) if sys.argv[1:] else 5):
    sampler.set_epoch(epoch)
    for x, y, index in loader:
        x, y, radius = x.to(device), y.to(device), radii[index]
        steps = iaat.proportional_steps(radius, steps=5, full_at="32px")  # processes may take different numbers
        logits = model(iaat.pgd(model, x, y, radius=radius, steps=steps))
        radii[index] = iaat.staircase(radius, correct=logits.argmax(dim=1) == y, up="4px")
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
    radii.synchronize()
x, y = (part.to(device) for part in validation[:])
robust = is_correct(model, iaat.pgd(model, x, y, radius="32px"), y).float().mean()
px = 255 * radii.values
print(f"process {dist.get_rank()}: robust at 32px {robust:.1%}, {(px != 32).sum()} radii moved, mean {px.mean():.3f}px")
dist.destroy_process_group()
