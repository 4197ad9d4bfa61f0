"""Models of timm (pytorch-image-models), an optional extra."""

import importlib
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from iaat.errors import UserError, did_you_mean

INSTALL = "pip install timm"


def load_timm() -> ModuleType | None:
    """Import timm; None where it is not installed."""
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        return None


def is_timm_name(name: str) -> bool:
    """Whether timm is installed and has a model of this name (with or without a tag of its weights)."""
    timm = load_timm()
    return timm is not None and bool(timm.is_model(name))


def timm_names() -> list[str]:
    """Names of timm's models; none where timm is not installed."""
    timm = load_timm()
    return [] if timm is None else list(timm.list_models())


def check_timm_name(name: str) -> Any:  # noqa: ANN401
    """Check that timm has a model of this name, and return timm.

    Raises:
        UserError: timm is missing, or has no such model.
    """
    timm = load_timm()
    if timm is None:
        raise UserError(f"model.name 'timm:{name}' needs timm, which is not installed: {INSTALL}")
    if not timm.is_model(name):
        raise UserError(f"model.name: timm {timm.__version__} has no model {name!r}{did_you_mean(name, timm_names())}")
    return timm


def build_timm(
    name: str, *, channels: int, classes: int, pretrained: bool = False, options: dict[str, Any] | None = None
) -> nn.Module:
    """Build the model `name` of timm.

    Args:
        name: As in `timm.list_models()`, without prefix; a tag of its weights may follow a dot.
        channels: Channels of the images.
        classes: Number of classes.
        pretrained: Whether to load published weights (downloaded and cached by timm).
        options: Further keyword arguments of `timm.create_model`.

    Raises:
        UserError: timm is missing, has no such model, or refuses to build it.
    """
    timm = check_timm_name(name)
    options = options or {}
    try:
        network: nn.Module = timm.create_model(
            name, num_classes=classes, in_chans=channels, pretrained=pretrained, **options
        )
    except Exception as error:  # timm's builders check little and fail in many ways
        raise UserError(
            f"timm cannot build model.name {name!r} with model.pretrained {pretrained} and model.options {options}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return network


def pretrained_statistics(network: nn.Module, channels: int) -> tuple[Tensor, Tensor] | None:
    """Mean and std `[C]` of the inputs of a pretrained timm model.

    None where it names none, or not for this number of channels: the statistics of the data then serve.
    """
    published = getattr(network, "pretrained_cfg", None) or {}
    mean, std = published.get("mean"), published.get("std")
    if mean is None or std is None or len(mean) != channels:
        return None
    return torch.tensor(mean), torch.tensor(std)
