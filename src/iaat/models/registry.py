"""Models by name, without normalisation layer."""

from collections.abc import Callable
from copy import deepcopy

import torch
import yaml
from torch import Tensor, nn

from iaat.errors import UserError, did_you_mean, shown
from iaat.models.factory import build_from_factory
from iaat.models.model_config import ModelConfig
from iaat.models.resnet import preactresnet18, resnet18
from iaat.models.small import SmallCNN
from iaat.models.timm_models import (
    INSTALL,
    build_timm,
    check_timm_name,
    is_timm_name,
    load_timm,
    pretrained_statistics,
    timm_names,
)
from iaat.models.torchvision_models import TORCHVISION_MODELS, build_torchvision, torchvision_statistics
from iaat.models.wrn import EXAMPLES, WideResNet, parse_wrn
from iaat.runtime.user_code import GIVEN, passed_as_object

_MOST_DEPTH = 1000
_MOST_WEIGHTS = 2**31


MODELS: dict[str, Callable[..., nn.Module]] = {
    "small-cnn": SmallCNN,
    "resnet18": resnet18,
    "preactresnet18": preactresnet18,
}
"""Models with a fixed name; `wrn-DEPTH-WIDTH` and others are read from theirs."""


def build_network(config: ModelConfig, *, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build the model that `model.name` names, without normalisation layer.

    Raises:
        UserError: as `build_model`.
    """
    name = config.name
    prefix, colon, _ = name.partition(":")
    if name == GIVEN:
        refuse_unused(config)
        return _copy_of_given(config.module)
    if name in MODELS:
        return build_own(config, shape=shape, classes=classes)
    if numbers := parse_wrn(name):
        refuse_unused(config, "norm")
        channels, (depth, widen) = image_channels(name, shape), numbers
        if depth > _MOST_DEPTH:
            raise UserError(f"model.name {shown(name)}: a model has a depth of at most {_MOST_DEPTH:,}")
        return _of_size(config, lambda: WideResNet(channels, classes, depth=depth, widen=widen, norm=config.norm))
    if name in TORCHVISION_MODELS:
        refuse_unused(config, "pretrained")
        channels = image_channels(name, shape)
        return build_torchvision(name, channels=channels, classes=classes, pretrained=config.pretrained)
    if colon and prefix != "timm":
        refuse_unused(config, "options")
        return build_from_factory(name, shape=shape, classes=classes, options=config.options)
    if (of_timm := timm_name(name)) is not None:
        refuse_unused(config, "pretrained", "options")
        return build_timm(
            of_timm,
            channels=image_channels(name, shape),
            classes=classes,
            pretrained=config.pretrained,
            options=config.options,
        )
    raise unknown_name(name)


def _copy_of_given(module: nn.Module | None) -> nn.Module:
    """A copy of the model that was passed as an object."""
    if module is None:
        raise UserError(
            f"{passed_as_object(f'model.name {GIVEN}', 'model')}: in Python pass it again, model=MyNet() to iaat.load"
        )
    try:
        return deepcopy(module)
    except Exception as error:  # whatever the module holds beside its weights
        raise UserError(
            f"the model {type(module).__name__} cannot be copied ({error}): keep no results of a forward in it, or "
            "name a function that builds it, module:function"
        ) from error


def check_name(name: str) -> None:
    """Refuse an unknown model name, before a model is built; module:function is not looked up.

    Raises:
        UserError: naming those that are near.
    """
    prefix, colon, rest = name.partition(":")
    if prefix == "timm" and colon:
        check_timm_name(rest)
    elif not (colon or name in (GIVEN, *MODELS, *TORCHVISION_MODELS) or parse_wrn(name) or is_timm_name(name)):
        raise unknown_name(name)


def has_published_weights(name: str) -> bool:
    """Whether published weights exist for a model name, also as timm:NAME."""
    return name in TORCHVISION_MODELS or timm_name(name) is not None


def timm_name(name: str) -> str | None:
    """What timm calls a model of this name, also as timm:NAME; None for models that are not timm's."""
    prefix, colon, rest = name.partition(":")
    if colon:
        return rest if prefix == "timm" else None
    return name if name not in (*MODELS, *TORCHVISION_MODELS) and is_timm_name(name) else None


def published_statistics(name: str, network: nn.Module, channels: int) -> tuple[Tensor, Tensor] | None:
    """Mean and std `[C]` of the inputs of a model's published weights; None where unknown."""
    return torchvision_statistics(name) or pretrained_statistics(network, channels)


def build_own(config: ModelConfig, *, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build a model of `MODELS`.

    Raises:
        UserError: if the width is below 1, the inputs are no images, or a setting would have no effect.
    """
    refuse_unused(config, "width", "norm")
    factory, channels = MODELS[config.name], image_channels(config.name, shape)
    width = config.width
    if width is None:
        return factory(channels, classes, norm=config.norm)
    if width < 1:
        raise UserError(f"model.width is {width}; it must be at least 1")
    return _of_size(config, lambda: factory(channels, classes, width=width, norm=config.norm))


def _of_size(config: ModelConfig, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model after its number of weights was checked on the meta device."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        count = sum(weight.numel() for weight in build().parameters())
    if count > _MOST_WEIGHTS:
        width = "" if config.width is None else f" with model.width {config.width}"
        raise UserError(
            f"model.name {config.name}{width} would have {count:,} weights, more than {_MOST_WEIGHTS:,}: choose a"
            " smaller one"
        )
    return build()


def refuse_unused(config: ModelConfig, *used: str) -> None:
    """Refuse a setting that is not among `used` and differs from its default."""
    default = ModelConfig()
    for setting in ("width", "norm", "pretrained", "options"):
        value = getattr(config, setting)
        if setting not in used and value != getattr(default, setting):
            taken = f" (this model takes {', '.join(f'model.{name}' for name in used)})" if used else ""
            unset = yaml.safe_dump(getattr(default, setting), default_flow_style=True).splitlines()[0]
            raise UserError(
                f"model.{setting} is {shown(value)}, but it has no effect on {config.name!r}: set model.{setting} to "
                f"{unset}{taken}"
            )


def image_channels(name: str, shape: tuple[int, ...]) -> int:
    """C of an image shape `[C, H, W]`.

    Raises:
        UserError: if the inputs are of another rank.
    """
    if len(shape) != 3:
        raise UserError(
            f"model.name {name!r} takes images [C, H, W], but one input has shape {list(shape)}; reshape the data or "
            "name a model of yours as module:function"
        )
    return shape[0]


def unknown_name(name: str) -> UserError:
    """Error for an unknown model name."""
    known = [*MODELS, *TORCHVISION_MODELS, *EXAMPLES, *timm_names()]
    hint = f" (timm's models need {INSTALL})" if load_timm() is None else ""
    return UserError(
        f"model.name: there is no model {shown(name)}{did_you_mean(name, known)}; there are {', '.join(MODELS)}, "
        f"wrn-DEPTH-WIDTH, {', '.join(TORCHVISION_MODELS)}, timm:NAME{hint} and module:function"
    )
