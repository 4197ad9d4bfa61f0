"""From the model part of a recipe to a network that takes inputs in [0, 1]."""

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.models.check import check_logits, check_weights, seeded
from iaat.models.choose import build_network
from iaat.models.config import ModelConfig
from iaat.models.normalize import with_normalization
from iaat.models.timm_models import pretrained_statistics


def build_model(
    config: ModelConfig,
    *,
    shape: tuple[int, ...],
    classes: int,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    seed: int = 0,
) -> nn.Module:
    """Build the network of a recipe behind its normalisation layer, on the CPU and in training mode.

    Torch's global generators are left as they were, and equal seeds give equal weights. One forward of two inputs
    checks that the network fits the data. A network of the user's own keeps the device and modes it came with.

    Args:
        config: The model part of the recipe.
        shape: Shape of one input without the batch: `[C, H, W]`; any rank for module:function.
        classes: Number of classes.
        mean: `[C]` of the training set, on the [0, 1] scale; needed where `model.normalize` is "data".
        std: The same for the standard deviation.
        seed: Seed of the weights.

    Returns:
        A `NormalizedModel`, or the bare network where `model.normalize` is "none" and `model.mean` is not given.

    Raises:
        UserError: if there is no such network, a setting would have no effect on it, it does not fit the data, or it
            has no weights to train.
    """
    if config.weights is not None:
        raise UserError(
            f"model.weights is {config.weights!r}, but training starts from the weights of the seed: remove it (it is "
            "for `iaat evaluate`)"
        )
    with seeded(seed):
        network = build_network(config, shape=shape, classes=classes)
        model = put_normalization(network, config, channels=shape[0], mean=mean, std=std)
        check_logits(model, config.name, shape=shape, classes=classes)
        check_weights(model, config.name)
    return model


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a network, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def put_normalization(
    network: nn.Module, config: ModelConfig, *, channels: int, mean: Tensor | None, std: Tensor | None
) -> nn.Module:
    """Put the layer that `model.mean` and `model.std`, or else `model.normalize`, ask for in front of the network.

    Raises:
        UserError: if the statistics are missing or are not of `channels` channels.
    """
    explicit = explicit_statistics(config, channels)
    if explicit is not None:
        return with_normalization(network, *explicit)
    if config.normalize == "none":
        return network
    published = pretrained_statistics(network, channels) if config.pretrained else None
    if published is not None:
        mean, std = published
    if mean is None or std is None:
        raise UserError(
            "model.normalize is 'data', but build_model got no mean and std; pass both or set model.normalize to 'none'"
        )
    if mean.numel() != channels:
        raise UserError(f"the data's mean has {mean.numel()} values, but inputs have {channels} channels")
    return with_normalization(network, mean, std)


def explicit_statistics(config: ModelConfig, channels: int) -> tuple[Tensor, Tensor] | None:
    """Return mean and std `[C]` that the recipe spells out, or None where it does not.

    Raises:
        UserError: if only one of the two is given, or not one value for each channel or one for all.
    """
    if config.mean is None and config.std is None:
        return None
    if config.mean is None or config.std is None:
        given, missing = ("mean", "std") if config.std is None else ("std", "mean")
        raise UserError(f"model.{given} is {getattr(config, given)}, but model.{missing} is not given: give both")
    for key, values in (("mean", config.mean), ("std", config.std)):
        if len(values) not in (1, channels):
            raise UserError(
                f"model.{key} has {len(values)} values, but inputs have {channels} channels: give one for each, or one "
                "for all"
            )
    return torch.tensor(config.mean).expand(channels), torch.tensor(config.std).expand(channels)
