"""A loop of plain PyTorch: moving average of the weights, validation under attack, a checkpoint that resumes exactly.

Install: iaat alone.
Run:     python examples/bare_loop.py [EPOCHS], and with more epochs again: it goes on.
"""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset, random_split

import iaat
from iaat.attacks import is_correct

epochs, file = int(sys.argv[1]) if sys.argv[1:] else 5, Path("bare_loop.pt")
torch.manual_seed(0)
digits = TensorDataset(torch.tensor(load_digits().images[:, None] / 16).float(), torch.tensor(load_digits().target))
training, validation = random_split(digits, [1437, 360])
loader = DataLoader(iaat.with_index(training), batch_size=64, shuffle=True)  # x in [0, 1], y, index

model = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
radii = iaat.RadiusMemory(len(training), initial="32px")

parts = {"model": model, "ema": ema, "optimizer": optimizer, "radii": radii}
saved = torch.load(file) if file.exists() else {"epoch": 0}
for name in saved.keys() & parts.keys():
    parts[name].load_state_dict(saved[name])

for epoch in range(saved["epoch"] + 1, epochs + 1):
    torch.manual_seed(epoch)  # a resumed run shuffles and attacks as one that was never interrupted
    for x, y, index in loader:
        logits = model(iaat.pgd(model, x, y, radius=radii[index], steps=5))
        radii[index] = iaat.staircase(radii[index], correct=logits.argmax(dim=1) == y, up="4px")
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
        ema.update_parameters(model)
    x, y = validation[:]
    clean, robust = (is_correct(ema, each, y).float().mean() for each in (x, iaat.pgd(ema, x, y, radius="32px")))
    px = 255 * radii.values.mean()
    print(f"epoch {epoch}: clean {clean:.1%}, robust at 32px {robust:.1%}, mean radius {px:.1f}px")
    torch.save({name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}, file)
