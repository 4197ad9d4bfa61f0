"""Kind of a model file, by its content and never by its name alone."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO, Literal

from iaat.errors import UserError
from iaat.runtime.text import cut

FileKind = Literal["weights", "torchscript", "exported"]

MODEL_SUFFIXES = (
    ".pt",
    ".pth",
    ".pt2",
    ".safetensors",
    ".ckpt",
    ".bin",
    ".tar",
    ".jit",
    ".ts",
    ".pkl",
    ".onnx",
    ".h5",
    ".keras",
)
"""Suffixes of model files: a name with one is a file, also where there is none."""

_MOST_EXPANSION = 20

_FOREIGN = {".onnx": "ONNX", ".h5": "Keras", ".keras": "Keras"}


def is_file_name(target: str) -> bool:
    """Whether a target names a file and not a model."""
    return target.lower().endswith(MODEL_SUFFIXES) or Path(target).is_file()


def file_kind(path: Path) -> FileKind:
    """Kind of a model file: weights (`torch.save`, safetensors), TorchScript, or an exported program.

    Nothing is unpickled. A file that is no zip archive counts as weights: safetensors, or the oldest form of
    `torch.save`.

    Raises:
        UserError: no such file, an empty or damaged one, or one of a format that PyTorch does not read.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"model file {path} {what}: give the path of a .pt, .pth, .safetensors or .pt2 file")
    if framework := _FOREIGN.get(path.suffix.lower()):
        raise UserError(
            f"model file {path} is of {framework}: save its weights from PyTorch, torch.save(model.state_dict(), FILE)"
        )
    if path.stat().st_size == 0:
        raise UserError(f"model file {path} is empty: save or download it again")
    return _zip_kind(path) if is_archive(path) else "weights"


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, perhaps a damaged one."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def _zip_kind(path: Path) -> FileKind:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            check_sizes(archive, file)
            if damaged := _damaged(archive):
                raise UserError(f"model file {path} is damaged in its part {damaged}: save or download it again")
            names = archive.namelist()
    except UserError:
        raise
    except Exception as error:  # a damaged directory can fail in any way
        raise UserError(f"model file {path} is damaged ({cut(str(error), 200)}): save or download it again") from None
    if "serialized_exported_program.json" in names:
        raise UserError(
            f"model file {path} was exported by a PyTorch before 2.8: export and save it again with a newer one"
        )
    inside = [name.partition("/")[2] for name in names]
    if any(name.startswith("data/aotinductor/") for name in inside):
        raise UserError(
            f"model file {path} is compiled by AOTInductor and has no gradients: save the exported program itself, by "
            "torch.export.save"
        )
    if "archive_format" in inside:
        return "exported"
    if "constants.pkl" in inside:
        return "torchscript"
    if "data.pkl" in inside:
        return "weights"
    raise UserError(f"model file {path} is a zip archive, but none of PyTorch's: unpack it and give the file inside")


def check_sizes(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    """Refuse an archive that claims far more bytes than its file has: PyTorch would allocate them.

    Raises:
        ValueError: with the sizes.
    """
    size = file.seek(0, os.SEEK_END)
    claimed = sum(part.file_size for part in archive.infolist())
    if claimed > _MOST_EXPANSION * size:
        raise ValueError(f"its parts claim {claimed:,} bytes, the file has {size:,}")


def _damaged(archive: zipfile.ZipFile) -> str | None:
    """First part with a wrong checksum; PyTorch compares none and would silently load other weights."""
    try:
        return archive.testzip()
    except Exception as error:  # zlib and its like have errors of their own
        return cut(str(error), 200) or type(error).__name__
