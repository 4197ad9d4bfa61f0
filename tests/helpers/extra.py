"""A file of extra images, so few that each comes several times an epoch."""

import os
from functools import cache
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from sklearn.datasets import load_digits

COUNT = 100


@cache
def extra_digits():
    """Words of the command line that fill half of each batch with them."""
    digits, file = load_digits(), Path(gettempdir()) / f"iaat-extra-digits-{COUNT}.npz"
    own = file.with_name(f"{os.getpid()}-{file.name}")  # several processes may write it at once
    images = np.roll(digits.images[:COUNT] * 255 / 16, 1, axis=2).round().astype(np.uint8)
    np.savez(own, image=images, label=digits.target[:COUNT])
    own.replace(file)
    return ("--data.extra", str(file), "--data.extra_ratio", "0.5")
