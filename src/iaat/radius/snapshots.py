"""Snapshots: all radii after an epoch in a file, with the samples that were trained on."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from iaat.errors import UserError
from iaat.runtime.files import replacing
from iaat.runtime.text import cut

RADII_FOLDER = "radii"
"""Folder of the snapshots in a run folder."""

RADII_FILE = "radii.parquet"
"""Table of the last radii in a run folder."""


def write_snapshot(file: Path, radii: Tensor, seen: Tensor) -> None:
    """Write all radii `[N]` and the indices `[n]` of the samples that are trained on."""
    with replacing(file) as temporary:
        # Written by Python: safetensors has an exception of its own for a full disk.
        arrays = {"radius": radii.cpu().numpy(), "index": seen.cpu().numpy()}
        temporary.write_bytes(save(arrays, metadata={"crc32": checksum(arrays)}))


def read_snapshot(file: Path) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices `[n]` of the trained samples and their radii `[n]`.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in ("radius", "index")}
            saved = (opened.metadata() or {}).get("crc32")
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(file, cut(str(error), 200)) from None
    if saved != checksum(arrays):
        raise _damaged(file, "its checksum differs")
    _check(file, **arrays)
    return arrays["index"], arrays["radius"][arrays["index"]]


def snapshots(folder: Path) -> dict[int, Path]:
    """The snapshots in a folder by their epochs, in order."""
    files = sorted(folder.glob("*.safetensors"))
    return {int(file.stem): file for file in files if file.stem.isdecimal()}


def _check(file: Path, radius: np.ndarray, index: np.ndarray) -> None:
    """Refuse radii or indices that no training has written; a checksum can be forged or be right by accident."""
    if radius.ndim != 1 or radius.dtype.kind != "f" or index.ndim != 1 or index.dtype.kind not in "iu":
        raise _damaged(file, f"radius is {radius.dtype} {radius.shape}, index {index.dtype} {index.shape}")
    outside = index[(index < 0) | (index >= len(radius))]
    if len(outside):
        raise _damaged(file, f"index {outside[0]} is outside its {len(radius)} radii")
    wrong = radius[~(np.isfinite(radius) & (radius >= 0))]
    if len(wrong):
        raise _damaged(file, f"a radius is {wrong[0]}")


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"{file} is damaged ({why}): delete it, or take another epoch")


def checksum(arrays: dict[str, np.ndarray]) -> str:
    """CRC-32 of the arrays in the order of their names: safetensors itself notices no flipped bit."""
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), total)
    return f"{total:08x}"
