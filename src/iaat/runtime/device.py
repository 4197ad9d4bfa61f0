"""Where and in which number format a run computes."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from iaat.errors import UserError
from iaat.runtime.distributed import current
from iaat.runtime.text import first_line


def pick_device(name: str) -> torch.device:
    """The device of a recipe; `auto` takes a GPU if there is one, and of several processes each has one of its own.

    Raises:
        UserError: a name PyTorch does not know, or a device this machine does not have.
    """
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found, current().local) if found == "cuda" and current().several else torch.device(found)
    if name.startswith("cuda") and current().several:
        own = f"cuda:{current().local}"
        if name not in ("cuda", own):
            raise UserError(f"train.device {name!r}: of several processes each takes the GPU of its number: say cuda")
        name = own
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # refuses "meta" too, which computes nothing
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UserError(f"train.device {name!r} cannot be used here ({first_line(error)}): use cpu or auto") from None
    return device


def warn_of_missing_device(name: str) -> None:
    """Warn where this machine lacks a device that another may have.

    Raises:
        UserError: a name PyTorch does not know.
    """
    try:
        pick_device(name)
    except UserError as error:
        try:
            torch.device(name)
        except RuntimeError:
            raise error from None
        warnings.warn(str(error), stacklevel=2)


def compute_deterministically() -> None:
    """Have PyTorch take deterministic algorithms alone, for the rest of the process; on a CPU it does in any case."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether layers compute in bfloat16; `auto` says yes where that is faster than float32.

    It is not with AVX-512's instructions on an Intel Xeon (docs/design.md has figures). The processor decides, and no
    measurement, so that all processes and seeds of an experiment agree.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cpu":
        abilities = _bfloat16_instructions()
        return "amx_bf16" in abilities or ("avx512_bf16" in abilities and not _is_intel())
    return _has_bfloat16(device)


def warn_of_emulated_bfloat16(precision: str, device: torch.device) -> None:
    """Warn where `bf16` is asked for and the device has no instructions for it."""
    if precision == "bf16" and not _has_bfloat16(device):
        warnings.warn(
            f"train.precision bf16: this {device.type} has no bfloat16 instructions and emulates them, which can take "
            "ten times as long as fp32. train.precision auto takes bf16 only where it is fast; a run that is resumed "
            "keeps its precision",
            stacklevel=2,
        )


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(_bfloat16_instructions())


def _bfloat16_instructions() -> frozenset[str]:
    """The sets of instructions for bfloat16 that this CPU has; without any it is emulated."""
    if not hasattr(torch.cpu, "get_capabilities"):  # older PyTorch; what has AMX has this, too
        return frozenset({"avx512_bf16"} if torch.cpu._is_avx512_bf16_supported() else ())
    abilities = torch.cpu.get_capabilities()
    return frozenset(name for name in ("avx512_bf16", "amx_bf16") if abilities.get(name))


@functools.cache
def _is_intel() -> bool:
    """Whether the processor is of Intel's."""
    listed = Path("/proc/cpuinfo")  # on Linux, where `platform` knows no maker
    made = listed.read_text(encoding="utf-8") if listed.exists() else platform.processor()
    return "GenuineIntel" in made


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which models are called."""
    half = precision == "fp16"
    dtype = torch.float16 if half else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=half or uses_bfloat16(precision, device))


def device_of(model: nn.Module) -> torch.device:
    """Where a model lives; the CPU for one without parameters and buffers."""
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> bool:
    """Have the C library keep the memory of freed tensors for the next ones instead of giving it back.

    Otherwise every large tensor of a step on the CPU is new memory that the kernel clears page by page, 17 to 20 % of a
    PGD-AT step of the small CNN. The process keeps its peak size.

    Returns:
        Whether it does: with glibc alone, and settings of the allocator in the environment win. Nothing is raised.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD; measured in benchmarks/step.py.

    Example:
        >>> from iaat import keep_freed_memory
        >>> keep_freed_memory() in (True, False)
        True
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_THRESHOLD, 2**30) and library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
