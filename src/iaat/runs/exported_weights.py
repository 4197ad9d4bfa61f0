"""Exported weights: a safetensors file with the record of its run, which `iaat.load` reads without that run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.models.normalize import Normalize
from iaat.models.recorded_statistics import RECORD, read_metadata, record_text
from iaat.models.weights import check_plain, read_content
from iaat.runs.checkpoint_schema import SavedState, saved_state
from iaat.runs.run_folder import RunFolder
from iaat.runtime.json_files import Count, from_json, to_json
from iaat.runtime.text import cut

WEIGHTS_FILE = "model.safetensors"
"""Name of the weights in a folder for the Hugging Face hub."""

EXPORT_RECORD_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """What an exported file says of its model; docs/schema.md says what each field means."""

    name: str
    checkpoint: str | None = None
    epoch: Count | None = None
    input: str
    classes: tuple[str, ...]
    shape: tuple[Count, ...]
    resize: Count | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    radius: str | None = None
    norm: str
    recipe: dict[str, Any]
    lengthened: tuple[Count, ...] = ()
    train_size: Count
    train_fingerprint: str
    test_fingerprint: str
    iaat: str
    version: int = EXPORT_RECORD_VERSION

    def text(self) -> str:
        """The record as JSON."""
        return json.dumps(to_json(self))


def exported_file(target: Path) -> Path | None:
    """The weights in a folder that `iaat export` wrote, or the file that it wrote; None for anything else.

    A folder with checkpoints of a run is that run, whatever else lies in it.
    """
    if target.is_dir() and RunFolder(target).has_results():
        return None
    file = target / WEIGHTS_FILE if target.is_dir() else target
    return file if record_text(file) is not None else None


def check_readable(file: Path) -> None:
    """Refuse a safetensors file that is damaged or cut off.

    Raises:
        UserError: with the reason.
    """
    if file.suffix.lower() != ".safetensors" or not file.is_file():
        return
    try:
        read_metadata(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({cut(str(error), 200)}): export, save or download it again") from None


def read_record(file: Path) -> ExportRecord:
    """The record in a file of exported weights.

    Raises:
        UserError: it is damaged, or of a newer version.
    """
    try:
        record = from_json(json.loads(record_text(file) or ""), ExportRecord)
        _check_statistics(record)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: its record: {cut(str(error), 300)}; export the run again") from None
    if record.version > EXPORT_RECORD_VERSION:
        raise UserError(f"{file} was written by a newer iaat ({cut(record.iaat, 100)}): update this one")
    return record


def _check_statistics(record: ExportRecord) -> None:
    """Check that mean and std are there together, finite, and std above 0.

    Raises:
        ValueError: they are not.
    """
    mean, std = record.mean or (), record.std or ()
    sound = len(mean) == len(std) and all(map(math.isfinite, (*mean, *std))) and min(std, default=1) > 0
    if not sound:
        raise ValueError(f"mean {list(mean)} and std {list(std)} cannot standardise inputs")


def exported_state(file: Path) -> SavedState:
    """What a file of exported weights holds, as the checkpoint of a run has it.

    Raises:
        UserError: the file is damaged, or of a newer version.
    """
    record, weights = read_record(file), read_content(file)
    check_plain(weights, f"weights {file}")
    if record.mean is not None and record.std is not None:
        statistics = {"mean": torch.tensor(record.mean), "std": torch.tensor(record.std)}
        weights = {
            **{f"normalize.{name}": values for name, values in statistics.items()},
            **{f"network.{name}": values for name, values in weights.items()},
        }
    of_data = ("train_size", "train_fingerprint", "test_fingerprint")
    data = {"shape": list(record.shape), "classes": list(record.classes)}
    data |= {key: getattr(record, key) for key in of_data}
    return saved_state({"name": record.name, "recipe": record.recipe, "data": data, "model": weights}, file)


def write_weights(file: Path, network: nn.Module, record: ExportRecord) -> None:
    """Write the weights of a model, without its normalisation, and its record.

    Raises:
        UserError: the model has a state that is no tensor.
    """
    state = network.state_dict()
    if other := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"the model's state {other[0]} is no tensor, and safetensors holds nothing else")
    # Copies: the format has no tensors that share memory.
    dense = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    # Written by Python: safetensors has an exception of its own for a full disk, and lets nobody else read its files.
    file.write_bytes(save(dense, metadata={"format": "pt", RECORD: record.text()}))


def statistics_of(normalize: nn.Module, name: Literal["mean", "std"]) -> tuple[float, ...] | None:
    """Statistics of a normalisation layer as a record has them; None of any other layer."""
    return tuple(getattr(normalize, name).tolist()) if isinstance(normalize, Normalize) else None
