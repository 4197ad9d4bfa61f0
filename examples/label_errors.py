"""Label errors: radii, and their history, beside cleanlab's scores; digits of which one in twenty has a wrong label.

Install: pip install cleanlab
Run:     python examples/label_errors.py [EPOCHS]
"""

import sys

import numpy as np
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import iaat
from iaat.report.suspects import find_suspects

random, (pixels, true) = np.random.default_rng(0), load_digits(return_X_y=True)
wrong = random.random(len(true)) < 0.05
labels = np.where(wrong, (true + random.integers(1, 10, len(true))) % 10, true)

torch.manual_seed(0)
dataset = TensorDataset(torch.tensor(pixels / 16).float().view(-1, 1, 8, 8), torch.tensor(labels))
model = nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
radii, history = iaat.RadiusMemory(len(dataset), initial="16px"), []
for _epoch in range(int(sys.argv[1]) if sys.argv[1:] else 10):
    for x, y, index in DataLoader(iaat.with_index(dataset), batch_size=64, shuffle=True):
        logits = model(iaat.pgd(model, x, y, radius=radii[index], steps=5))
        radii[index] = iaat.staircase(radii[index], correct=logits.argmax(dim=1) == y, up="4px")
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
    history.append(radii.numpy())

# cleanlab wants probabilities of images that a model has not seen.
probabilities = cross_val_predict(LogisticRegression(max_iter=1000), pixels / 16, labels, method="predict_proba")
suspects = find_suspects(np.stack(history), labels, probabilities)
scores = {"last radius": -suspects.radius, "radii of all epochs": suspects.radius_score}
scores |= {"cleanlab": -get_label_quality_scores(labels, probabilities), "radii and probabilities": suspects.score}
for name, score in scores.items():
    print(f"AUROC {roc_auc_score(wrong, score):.3f}  {name}")
print(suspects.table([str(digit) for digit in range(10)]).to_pandas().head(10).to_string(index=False))
