"""Warning of inputs that are standardised twice: by our first layer, and by a module of the user's own within."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from numbers import Real

import torch
from torch import Tensor, nn

from iaat.models.model_config import ModelConfig
from iaat.models.normalize import NormalizedModel
from iaat.models.state_dict_search import STATISTICS
from iaat.runtime.user_code import GIVEN

_NAME = re.compile(r"(Input|Image|Data|Channel)?(Normali[sz]|Standardi[sz])(e|er|ation)(d?Layer)?")
"""Classes that standardise inputs, whatever their attributes are called."""

_LEVELS = 255
"""Mean and std may be on this scale, too."""


def warn_of_double_normalization(model: nn.Module, config: ModelConfig) -> None:
    """Warn where a model of the user's own with our normalisation layer in front has one itself.

    It is known by two attributes with a value for each channel, as mean and std of pixels are: such as those of
    ImageNet, on the scale of 1 or 255. They are called mean and std or the like, or the class `Normalize` or the like.
    BatchNorm and its kin have others. Arithmetic in a forward is not seen.

    Args:
        model: The model as `build_model` or `load_model` returns it.
        config: Its settings.
    """
    own = config.name == GIVEN or config.is_user_function
    ours = config.normalize != "none" or config.mean is not None
    if not own or not ours or not isinstance(model, NormalizedModel):
        return
    found = _normalizing(model.network, model.normalize.mean.numel())
    if found is None:
        return
    name, module = found
    place = f"module {name} ({type(module).__name__})" if name else f"its class {type(module).__name__}"
    fix = "leave out model.mean and model.std" if config.mean is not None else "set model.normalize to none"
    warnings.warn(
        f"inputs seem to be standardised twice: by {place} of your model, and by our layer in front of it: {fix} if "
        "your model takes images in [0, 1]",
        stacklevel=3,
    )


def _normalizing(network: nn.Module, channels: int) -> tuple[str, nn.Module] | None:
    """Name and module of the first that standardises inputs, None where none does."""
    for name, module in network.named_modules():
        pairs = STATISTICS if not _NAME.fullmatch(type(module).__name__) else _all_pairs(module)
        if any(_are_statistics(_values(module, mean), _values(module, std), channels) for mean, std in pairs):
            return name, module
    return None


def _all_pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    names = [*vars(module), *dict(module.named_buffers(recurse=False)), *dict(module.named_parameters(recurse=False))]
    return ((mean, std) for mean in names for std in names if mean != std)


def _values(module: nn.Module, name: str) -> Tensor | None:
    """The numbers in an attribute, `[n]`; None where there are none."""
    value = getattr(module, name, None)
    if isinstance(value, list | tuple) and value and all(isinstance(each, Real) for each in value):
        value = torch.tensor(value)
    return value.detach().flatten().float().cpu() if isinstance(value, Tensor) and not value.is_meta else None


def _are_statistics(mean: Tensor | None, std: Tensor | None, channels: int) -> bool:
    """Whether the two could be of pixels: means within the range of values, deviations of at most half of it."""
    if mean is None or std is None or not mean.numel() == std.numel() == channels:
        return False
    scale = _LEVELS if float(mean.max()) > 1 else 1
    return bool(((mean > 0) & (mean < scale) & (std > scale / 100) & (std <= scale / 2)).all())
