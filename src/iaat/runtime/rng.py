"""Explicit, stateless randomness: every draw is a function of a seed and of what it is for.

Nothing here reads or moves the global random state, so an attack, a data loader or a third-party call in between
cannot change what another part draws, and a resumed run draws what the uninterrupted one would have.
"""

import math
import operator
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iaat.errors import UserError, shown

_WORD = 1 << 64


def _signed(word: int) -> int:
    """The int64 with the same 64 bits as `word`: torch has no unsigned 64-bit arithmetic."""
    word %= _WORD
    return word - _WORD if word >= _WORD >> 1 else word


# The increment and the two multipliers of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
# generators", OOPSLA 2014, with Stafford's "Mix13" finaliser).
_INCREMENT = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))
_SHIFTS = (30, 27, 31)


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Give each consumer of randomness its own seed.

    Args:
        seed: The run's seed; any integer.
        *purpose: What the draws are for, e.g. `"augment"` or `"restart", 3`. `1` and `"1"` are different purposes.

    Returns:
        An integer in [0, 2**63), equal on every platform, process and Python version.
    """
    digest = blake2b(digest_size=8)
    for part in (seed, *purpose):
        kind, text = ("s", part) if isinstance(part, str) else ("i", str(operator.index(part)))
        encoded = text.encode()
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(f"{kind}{len(encoded)}:".encode() + encoded)
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator on `device`, seeded with `derive_seed(seed, *purpose)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *purpose))


class BatchGenerator(torch.Generator):
    """A generator that draws for the whole batch where several processes divide it.

    Each process draws for all samples and keeps the rows of its own, so the draws of a sample depend on its place in
    the batch and not on how many processes there are, and the generator moves alike in all of them. That costs each
    process the drawing of the whole batch, little beside an attack. Made by `batch_generator`.
    """

    rows: Tensor | None = None
    total: int = 0

    @contextmanager
    def drawing_rows(self, rows: Tensor, total: int) -> Iterator[None]:
        """Context in which batches are the rows `rows` `[B]` of batches of `total` samples."""
        alone = len(rows) == total and torch.equal(rows, torch.arange(total))
        self.rows, self.total = None if alone else rows, total
        try:
            yield
        finally:
            self.rows = None


def batch_generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> BatchGenerator:
    """As `generator`, for batches that processes may share."""
    made = BatchGenerator(device=device)
    made.manual_seed(derive_seed(seed, *purpose))
    return made


_DRAWN_AT_ONCE = 1 << 27


def draw(
    sampler: Callable[..., Tensor],
    shape: Sequence[int],
    *,
    generator: torch.Generator | None,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Tensor:
    """Random numbers `shape` = `[B, ...]` for the samples of a batch, on `device`.

    Args:
        sampler: `torch.rand`, `torch.randn` or another function with their arguments.
        shape: B and what each sample draws.
        generator: Where from; PyTorch's global one if None. A `BatchGenerator` that shares a batch of other rows than
            B draws for these alone.
        device: Where the numbers are wanted; they are drawn on the device of the generator.
        dtype: Type of the numbers.

    Raises:
        UserError: `generator` is no generator.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise UserError(f"generator = {shown(generator)}: pass a torch.Generator, torch.Generator().manual_seed(0)")
    place = device if generator is None else generator.device
    options = {"generator": generator, "device": place, "dtype": dtype}
    rows = generator.rows if isinstance(generator, BatchGenerator) else None
    if rows is None or len(rows) != shape[0]:
        return sampler(shape, **options).to(device)
    assert isinstance(generator, BatchGenerator)
    most = max(1, _DRAWN_AT_ONCE // max(1, math.prod(shape[1:])))
    sizes = [min(most, generator.total - start) for start in range(0, generator.total, most)]
    found = torch.empty(tuple(shape), device=place, dtype=dtype)
    for number, size in enumerate(sizes):  # in parts, because the whole batch of many processes may exceed the memory
        part = sampler((size, *shape[1:]), **options)
        # Which rows are where is worked out on the CPU: a mask on a GPU would have the host wait for it.
        own = ((rows >= number * most) & (rows < number * most + size)).nonzero()[:, 0]
        found[own.to(place)] = part[(rows[own] - number * most).to(place)]
    return found.to(device)


def permutation(n: int, seed: int, epoch: int) -> Tensor:
    """A random order of `n` samples, `[n]` int64 on the CPU, that depends on `(n, seed, epoch)` alone.

    It sorts hashes instead of calling `torch.randperm`, because torch may change its stream between releases:
    a checkpoint resumed under a newer torch goes on in the same order.
    """
    keys = _hash_bits(derive_seed(seed, "permutation", epoch), torch.arange(n), 1)
    return keys[:, 0].argsort(stable=True)


def fixed_sample(n: int, count: int | None) -> Tensor:
    """Places of `count` of `n` samples, sorted, `[min(n, count)]` int64 on the CPU: always the same ones; None: all.

    They are the first of a fixed random order, so that fewer are a part of more.
    """
    return permutation(n, seed=0, epoch=0)[:count].sort().values


def keyed_uniform(seed: int, epoch: int, index: Tensor, count: int) -> Tensor:
    """Uniform draws that belong to a sample, not to its place in a batch.

    Row `b` depends on `(seed, epoch, index[b])` only: not on the other samples of the batch, its size, the rank or the
    worker, nor on the device (integer arithmetic throughout, the final scaling is exact).

    Args:
        seed, epoch: What the draws are for: a seed, and an epoch or any other counter.
        index: `[B]` int64, the stable index of each sample.
        count: Draws per sample.

    Returns:
        `[B, count]` float32 in [0, 1), multiples of 2**-24, on the device of `index`.
    """
    bits = _hash_bits(derive_seed(seed, "keyed_uniform", epoch), index, count)
    return ((bits >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def _hash_bits(key: int, index: Tensor, count: int) -> Tensor:
    """`[B, count]` int64 of 64 random bits: two rounds of splitmix64, over the index and then over the counter."""
    row = _mix((index.to(torch.int64) + 1) * _INCREMENT + key)
    counter = torch.arange(1, count + 1, device=index.device) * _INCREMENT
    return _mix(row[:, None] + counter)


def _mix(word: Tensor) -> Tensor:
    """Finaliser of splitmix64, in place: int64 multiplication wraps, as the algorithm asks."""
    for shift, multiplier in zip(_SHIFTS, (*_MULTIPLIERS, None), strict=True):
        # `>>` on int64 copies the sign bit; the mask turns it into the logical shift of the algorithm.
        word ^= (word >> shift) & ((1 << (64 - shift)) - 1)
        if multiplier is not None:
            word *= multiplier
    return word


def seed_globals(seed: int, *purpose: str | int, gpus: bool = True) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, from which layers and code of the user's own draw.

    The seed is `derive_seed(seed, *purpose)`; generators of GPUs are left alone if not `gpus`.
    """
    word = derive_seed(seed, *purpose)
    random.seed(word)
    np.random.seed(word % (1 << 32))  # noqa: NPY002 - the legacy generator is the global one
    if gpus:
        torch.manual_seed(word)
    else:
        torch.default_generator.manual_seed(word)


@contextmanager
def preserved_globals() -> Iterator[None]:
    """Context that restores the global generators of Python, NumPy and PyTorch (on the CPU) on exit.

    Samples may be read by the process that trains: what a random transform draws must not move the dropout after it.
    """
    python, numpy, torch_cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(torch_cpu)


def globals_state() -> dict[str, Any]:
    """State of the global generators, as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_globals_state(state: dict[str, Any]) -> None:
    """Restore the state of `globals_state`; that of GPUs only where there are as many."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of the current GPU, if one is in use, and put them back after."""
    # torch.manual_seed would reseed every GPU, and wake up those of other processes to save their states.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
