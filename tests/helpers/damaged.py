"""Handwritten digits of which every 25th cannot be read, as a data set of a user's, and how to train on it."""

from functools import cache

import torch
from sklearn.datasets import load_digits

EVERY, FIRST = 25, 7


@cache
def _digits():
    digits = load_digits()
    return torch.from_numpy(digits.images).float()[:, None] / 16, digits.target.tolist()


class DamagedDigits:
    """The first or the last of the digits, as (x, y)."""

    classes = tuple(map(str, range(10)))

    def __init__(self, rows):
        self._x, labels = _digits()
        self._rows = rows
        self.targets = [labels[row] for row in rows]

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, position):
        if position % EVERY == FIRST:
            raise OSError(f"digit {position} is damaged")
        return self._x[self._rows[position]], self.targets[position]


def make(split):
    """For `data.name`."""
    return DamagedDigits(range(1400) if split == "train" else range(1400, 1797))


def damaged_digits(limit=200):
    """Words of the command line that train on them."""
    return ("--data.name", "helpers.damaged:make", "--data.stream", "true", "--data.skip_damaged", str(limit))
