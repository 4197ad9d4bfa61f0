"""`iaat.export_model`: a trained model as a file of another format, compared with the original before it appears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from iaat.config.choices import EXPORT_FORMATS
from iaat.errors import UserError, check_choice
from iaat.export.check_images import check_images
from iaat.export.exportable import find_exportable
from iaat.export.output_path import check_path, default_path, written_beside
from iaat.export.writers import WRITERS
from iaat.runs.exported_weights import ExportRecord
from iaat.runtime.extras import check_installed
from iaat.runtime.files import user_path

_TOLERANCE = 1e-4
"""Largest difference of two logits: of 1, or of the largest logit where that is larger."""


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """What was written.

    Attributes:
        path: The file or folder.
        record: What it says of the model: `classes`, `shape`, `radius`, `epoch`, ...
        difference: Largest difference from the model's own logits.
        images: The inputs on which it was measured, such as `32 test images`.
        note: How it was made, where that is not the usual way.
    """

    path: Path
    record: ExportRecord
    difference: float
    images: str
    note: str | None = None


def export_model(
    target: str | Path,
    format: str = "onnx",  # noqa: A002 - what users call it
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    model: nn.Module | None = None,
    overwrite: bool = False,
    trust: bool = False,
) -> ExportedModel:
    """Write a trained model as a file of another format, and compare it with the original.

    What is written takes inputs in [0, 1] in batches of any size. It is read again, by the library it is for, and
    compared on test images of the run's data, or on random images where the data is not at hand. It appears under its
    name only if its logits are those of the model to 1e-4, relative to the largest logit where that is above 1.

    Args:
        target: A run folder, for its best checkpoint (else its last); a checkpoint; or exported weights.
        format: "onnx"; "pt2", a program of `torch.export`; "torchscript"; "safetensors", weights with a record of the
            run; or "hf", a folder for the Hugging Face hub: weights, config.json and a model card.
        out: The file, or the folder of "hf"; by default the name of the run in the working directory.
        data: Folder of the run's data, if it has moved.
        model: The model itself, where it was passed to `iaat.fit` as an object.
        overwrite: Replace a file that is there.
        trust: Import code that the run names as module:function.

    Returns:
        The path, the largest difference of a logit, and what is known of the model.

    Raises:
        UserError: there is no checkpoint, the file is there already, a package is missing, the model names code that
            is not trusted, it cannot be written in this format, or what was written computes something else.

    Source: this project; the formats are those of ONNX, PyTorch, safetensors and timm.

    Example:
        >>> import tempfile, torch, iaat
        >>> folder = tempfile.TemporaryDirectory()
        >>> small = dict(method="natural", epochs=1, limit=100, device="cpu", quiet=True)
        >>> run = iaat.fit("small-cnn", "digits", out=f"{folder.name}/run", **small)
        >>> exported = iaat.export_model(f"{folder.name}/run", "safetensors", f"{folder.name}/digits.safetensors")
        >>> exported.images, exported.difference < 1e-4, exported.record.classes[:3]
        ('32 test images', True, ('0', '1', '2'))
        >>> iaat.load(exported.path)(torch.rand(4, 1, 8, 8)).shape
        torch.Size([4, 10])
    """
    check_choice(format, EXPORT_FORMATS, "format")
    writer, target = WRITERS[format], user_path(target)
    check_installed(writer.needs, f"format {format}")
    out = default_path(target, writer) if out is None else user_path(out)
    check_path(out, format, overwrite=overwrite)
    exported = find_exportable(target, model=model, trust=trust)
    images = check_images(exported.model.recipe, exported.model.shape, None if data is None else str(user_path(data)))
    parts = [images.x[:1], images.x[1:]]
    logits = _computed(exported.model, parts)
    with written_beside(out, is_folder=writer.is_folder, overwrite=overwrite) as written:
        note = writer.write(exported, written)
        difference = max(
            _difference(_computed(predict, parts), logits, what=f"{format} {out}")
            for predict in writer.read(written, exported)
        )
    return ExportedModel(out, exported.record, difference, images.what, note)


@torch.no_grad()
def _computed(predict: Callable[[Tensor], Tensor], parts: list[Tensor]) -> Tensor:
    """Logits of batches of different sizes, as one tensor."""
    return torch.cat([predict(part) for part in parts if len(part)])


def _difference(written: Tensor, logits: Tensor, *, what: str) -> float:
    """Largest difference of a logit.

    Raises:
        UserError: it is beyond the tolerance.
    """
    difference, largest = float((written - logits).abs().max()), float(logits.abs().max())
    if difference <= _TOLERANCE * max(largest, 1.0):  # false for NaN, too
        return difference
    raise UserError(
        f"{what} was removed: its logits differ from the model's by up to {difference:.3g}, the largest of which is"
        f" {largest:.3g}, and {_TOLERANCE * max(largest, 1.0):.3g} is allowed: take another format"
    )
