"""The global generators, seeded for one item of a user's data set and left as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from iaat.rng import derive_seed

_WORD = 1 << 32


@contextmanager
def kept_globals() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and PyTorch (on the CPU) after the block as they were before it.

    Samples may be read by the process that trains: what a random transform draws must not move the dropout after it.
    """
    python, numpy, torch_cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(torch_cpu)


def seed_globals(key: tuple[int, int], index: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch (on the CPU) for one item; to be done in `kept_globals`.

    What a random transform draws then belongs to the item, as the package's own augmentation does: it does not depend
    on who reads it, nor on what was read before.

    Args:
        key: `(seed, epoch)`.
        index: The item's index.
    """
    seed = derive_seed(*key, "item", index)
    random.seed(seed)
    np.random.seed(seed % _WORD)  # noqa: NPY002
    # Not torch.manual_seed, which would move the generators of all devices.
    torch.default_generator.manual_seed(seed)
