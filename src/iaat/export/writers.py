"""The formats by name: how each is written, and read again to be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from iaat.export.exportable import Exportable
from iaat.export.hub_folder import HUB_FILES, read_by_timm, write_hub_folder
from iaat.export.onnx_format import read_onnx, write_onnx
from iaat.export.torch_formats import read_pt2, read_torchscript, write_pt2, write_torchscript
from iaat.runs.exported_weights import write_weights
from iaat.runs.load_trained import load
from iaat.runtime.user_code import GIVEN

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Writer:
    """One format.

    Attributes:
        suffix: End of its names.
        files: Names of its files where it is a folder.
        needs: Packages of the extra `export` that it takes.
        write: Writes a model to a path; returns a note, if there is one to make.
        read: Yields the function in what was written, by each library that reads it.
    """

    suffix: str
    write: Callable[[Exportable, Path], str | None]
    read: Callable[[Path, Exportable], Iterator[Predict]]
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether it writes a folder."""
        return bool(self.files)


def _read_weights(path: Path, exported: Exportable) -> Iterator[Predict]:
    is_given = exported.model.recipe.model.name == GIVEN
    yield load(path, model=deepcopy(exported.model.network) if is_given else None, trust=True)
    if path.is_dir() and (by_timm := read_by_timm(path, exported)) is not None:
        yield by_timm


WRITERS = {
    "onnx": Writer(
        ".onnx", write_onnx, lambda file, _: iter([read_onnx(file)]), needs=("onnx", "onnxscript", "onnxruntime")
    ),
    "pt2": Writer(".pt2", write_pt2, lambda file, _: iter([read_pt2(file)])),
    "torchscript": Writer(".ts", write_torchscript, lambda file, _: iter([read_torchscript(file)])),
    "safetensors": Writer(
        ".safetensors",
        lambda exported, file: write_weights(file, exported.model.network, exported.record),
        _read_weights,
    ),
    "hf": Writer("-hf", write_hub_folder, _read_weights, files=HUB_FILES),
}
