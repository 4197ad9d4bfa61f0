"""A folder for the Hugging Face hub: weights, `config.json` and a model card."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iaat.export.exportable import Exportable
from iaat.export.model_card import model_card
from iaat.models.normalize import Normalize
from iaat.models.recorded_statistics import RECORD
from iaat.models.registry import timm_name
from iaat.models.timm_models import load_timm
from iaat.runs.exported_weights import WEIGHTS_FILE, write_weights
from iaat.runtime.files import write_json, write_text
from iaat.runtime.json_files import to_json

CONFIG_FILE, CARD_FILE = "config.json", "README.md"
HUB_FILES = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)
_OF_THE_NETWORK = ("first_conv", "classifier", "pool_size", "fixed_input_size")
"""Settings of timm's by which it builds a network. All others are of published weights: their images, their licence."""


def write_hub_folder(exported: Exportable, folder: Path) -> None:
    """Write the three files of a model into a folder.

    Raises:
        UserError: the model has a state that is no tensor.
    """
    name = timm_name(exported.model.recipe.model.name)
    write_weights(folder / WEIGHTS_FILE, exported.model.network, exported.record)
    write_json(folder / CONFIG_FILE, config_of(exported, name))
    write_text(folder / CARD_FILE, model_card(exported, name))


def config_of(exported: Exportable, timm: str | None) -> dict[str, Any]:
    """What `config.json` says: the record, and what timm needs to build a model of its own."""
    record, model = exported.record, exported.model
    config: dict[str, Any] = {
        # Of other models a name that timm cannot take for one of its own.
        "architecture": timm or f"iaat/{model.recipe.model.name}",
        "num_classes": len(record.classes),
        "label_names": list(record.classes),
    }
    if timm is not None:
        config["model_args"] = {"in_chans": record.shape[0], **model.recipe.model.options}
        config["pretrained_cfg"] = _pretrained_cfg(exported)
    return config | {RECORD: to_json(record)}


def _pretrained_cfg(exported: Exportable) -> dict[str, Any]:
    record = exported.record
    published: dict[str, Any] = getattr(exported.model.network, "pretrained_cfg", None) or {}
    kept = {key: published[key] for key in _OF_THE_NETWORK if published.get(key) is not None}
    channels = record.shape[0]
    return kept | {
        "custom_load": False,
        "input_size": list(record.shape),
        "num_classes": len(record.classes),
        "label_names": list(record.classes),
        "mean": list(record.mean or [0.0] * channels),
        "std": list(record.std or [1.0] * channels),
        "interpolation": "bilinear",
        "crop_pct": crop_fraction(record.shape[-1], record.resize or record.shape[-1]),
        "crop_mode": "center",
    }


def crop_fraction(size: int, resize: int) -> float:
    """The `crop_pct` by which timm resizes to `resize` pixels and cuts out `size`: it rounds `size / crop_pct` down."""
    fraction = size / resize
    return fraction if math.floor(size / fraction) >= resize else math.nextafter(fraction, 0.0)


def read_by_timm(folder: Path, exported: Exportable) -> Callable[[Tensor], Tensor] | None:
    """The function that timm loads from a folder, with the normalisation in front; None for other models."""
    if timm_name(exported.model.recipe.model.name) is None:
        return None
    timm = load_timm()
    assert timm is not None
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    statistics = network.pretrained_cfg
    normalize = Normalize(torch.tensor(statistics["mean"]), torch.tensor(statistics["std"]))
    return lambda x: network(normalize(x))
