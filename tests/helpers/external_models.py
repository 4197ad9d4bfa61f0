"""Models as others bring them: trained in their own way on digits, saved in their own way."""

import warnings
from functools import cache

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from iaat.data.builtin_datasets import digits_splits

SHAPE, CLASSES = (1, 8, 8), 10


@cache
def digits():
    """Training and test samples `(x, y)` in [0, 1]."""
    return tuple((split.load(torch.arange(len(split))), split.labels) for split in digits_splits())


@cache
def coloured():
    """The digits in three channels of different strength, so that the channels are not alike."""
    strength = torch.tensor([1.0, 0.5, 0.1]).view(3, 1, 1)
    return tuple((x * strength + torch.tensor([0.0, 0.1, 0.6]).view(3, 1, 1) * (1 - x), y) for x, y in digits())


def statistics(x):
    """Mean and deviation of each channel."""
    return x.mean((0, 2, 3)), x.std((0, 2, 3))


def cnn(channels=1, classes=CLASSES):
    first = (nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))
    return nn.Sequential(*first, nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))


def mlp(inputs=64, classes=CLASSES):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, classes))


def trained(network, x, y, *, epochs=8, lr=5e-3):
    """Train as anybody would, and return the network in eval mode."""
    optimizer = torch.optim.Adam(network.parameters(), lr)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
    return network.eval()


def save_script(model, path, x=None, *, freeze=False):
    """TorchScript, traced where inputs are given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.script(model) if x is None else torch.jit.trace(model, x)
        (torch.jit.freeze(program) if freeze else program).save(path)
    return path


def save_exported(model, path, x, shapes=None):
    """An exported program, of the batch size of `x` unless the shapes say otherwise."""
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=shapes), path)
    return path
