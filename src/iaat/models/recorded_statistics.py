"""The record in an exported file of weights, and its input statistics: the tensors are of the bare network alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from iaat.errors import UserError
from iaat.models.normalize import check_statistics
from iaat.models.state_dict_search import InputStatistics
from iaat.runtime.text import cut

RECORD = "iaat"
"""Key of the record in the metadata of exported files, of whatever format."""


def recorded_statistics(file: Path) -> InputStatistics | None:
    """Mean and std in the record that `iaat export` wrote into a safetensors file; None without record or statistics.

    Raises:
        UserError: the record is damaged.
    """
    text = record_text(file)
    if text is None:
        return None
    try:
        record = json.loads(text)
        mean, std = record["mean"], record["std"]
        if mean is None and std is None:
            return None
        statistics = InputStatistics(torch.tensor(mean).float(), torch.tensor(std).float(), own=True)
        check_statistics(statistics.mean, statistics.std)
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise UserError(f"weights {file} are damaged: their record: {cut(str(error))}; export the run again") from None
    return statistics


def record_text(file: Path) -> str | None:
    """The record of an exported file of weights, as JSON; None where it has none, or cannot be read."""
    if file.suffix.lower() != ".safetensors" or not file.is_file():
        return None
    try:
        return read_metadata(file).get(RECORD)
    except (SafetensorError, OSError, ValueError):
        return None  # whoever reads the weights says what is wrong


def read_metadata(file: Path) -> Mapping[str, str]:
    """The metadata of a safetensors file.

    Raises:
        SafetensorError, OSError, ValueError: it cannot be read.
    """
    with safe_open(file, framework="pt") as opened:
        return opened.metadata() or {}
