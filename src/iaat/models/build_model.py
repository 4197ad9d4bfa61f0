"""Build the model of a recipe, which takes inputs in [0, 1]."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.models.check_logits import check_fits
from iaat.models.model_config import ModelConfig
from iaat.models.normalize import with_normalization
from iaat.models.registry import build_network, published_statistics
from iaat.models.state_dict_search import InputStatistics
from iaat.models.weights import load_weights
from iaat.runtime.rng import seeded


def build_model(
    config: ModelConfig,
    *,
    shape: tuple[int, ...],
    classes: int,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    seed: int = 0,
) -> nn.Module:
    """Build the model of a recipe with its normalisation layer, on the CPU and in training mode.

    PyTorch's global generators stay as they were. Equal seeds give equal weights, unless `model.weights` is a file of
    trained ones to start from; a normalisation layer saved with them is kept. A forward of two inputs in eval mode and
    one in train mode check that the model fits the data. A model of the user keeps its device and modes.

    Args:
        config: The model part of the recipe.
        shape: Shape of one input without the batch: `[C, H, W]`; any rank for module:function.
        classes: Number of classes.
        mean: `[C]` of the training set, on the [0, 1] scale; needed where `model.normalize` is "data".
        std: The same for the standard deviation.
        seed: Seed of the weights.

    Returns:
        A `NormalizedModel`, or the bare model where `model.normalize` is "none" and `model.mean` is not given.

    Raises:
        UserError: There is no such model, a setting would have no effect on it, it does not fit the data, or it has no
            weights to train.
    """
    with seeded(seed):
        network = build_network(replace(config, weights=None), shape=shape, classes=classes)
        statistics = _start_from(network, config, channels=shape[0], classes=classes)
        if statistics is None:
            model = put_normalization(network, config, channels=shape[0], mean=mean, std=std)
        else:
            model = with_normalization(network, statistics.mean, statistics.std)
        weight = next(model.parameters(), None)
        device = "cpu" if weight is None else weight.device
        given = config.module
        name = f"model.name {config.name!r}" if given is None else f"the model {type(given).__name__}"
        check_fits(
            model,
            shape=shape,
            classes=classes,
            device=device,
            name=name,
            training=True,
            outputs_fix=_outputs_fix(config.name, classes),
        )
        _check_trainable(model, name)
    return model


def _outputs_fix(name: str, classes: int) -> str:
    """What to do about a model with another number of outputs than classes."""
    fix = f"build it with {classes} outputs"
    if ":" not in name:
        return fix
    return f"{fix}: an argument named classes is given this number, any other by --model.options '{{NAME: {classes}}}'"


def _check_trainable(model: nn.Module, name: str) -> None:
    """Check that a weight of the model takes a gradient; to be called once lazy layers have seen an input."""
    weights = list(model.parameters())
    if not any(weight.requires_grad for weight in weights):
        why = f"all {len(weights)} are frozen: set requires_grad" if weights else "it holds no torch.nn.Parameter"
        raise UserError(f"{name} has no weights to train ({why}): choose another model")


def _start_from(network: nn.Module, config: ModelConfig, *, channels: int, classes: int) -> InputStatistics | None:
    """Load the weights that training starts from, if any; returns their input statistics, if known."""
    if config.weights is None:
        refuse_key_alone(config)
        return None
    path = Path(config.weights)
    if not path.is_file():
        raise UserError(
            f"model.weights {config.weights} is no file: give a file of weights to start training from, such as "
            "RUN/last.pt of a run with the same model"
        )
    statistics = load_weights(network, path, config, classes=classes, new_classifier=True)
    explicit = explicit_statistics(config, channels)
    if statistics is not None and not statistics.own and explicit is not None:
        statistics = None
    clash = "pretrained" if config.pretrained else ""
    if statistics is not None and explicit is not None:
        clash = clash if statistics.agree_with(*explicit) else "mean"
    elif statistics is not None and config.normalize == "none":
        clash = "normalize"
    if clash == "normalize" and config.module is not None:  # which gets "none" unless another is passed
        raise UserError(
            f"weights {path} were trained on normalised inputs, and the module gets them as they are: pass "
            'normalize="data", which takes the normalisation of the file, or leave weights out and pass a module that '
            "begins with the normalisation and has the weights"
        )
    if clash:
        raise UserError(
            f"model.weights {path} decide how the model begins, and how inputs are normalised: leave out "
            f"model.{clash} ({getattr(config, clash)!r})"
        )
    return statistics


def refuse_key_alone(config: ModelConfig) -> None:
    """Refuse `model.weights_key` without a file of weights."""
    if config.weights_key is not None:
        raise UserError(f"model.weights_key is {config.weights_key!r}, but there is no file of weights: give one")


def count_parameters(model: nn.Module) -> int:
    """Number of parameters of a model, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def put_normalization(
    network: nn.Module, config: ModelConfig, *, channels: int, mean: Tensor | None, std: Tensor | None
) -> nn.Module:
    """Add the normalisation layer that `model.mean` and `model.std`, or else `model.normalize`, ask for.

    Raises:
        UserError: if the statistics are missing or are not of `channels` channels.
    """
    explicit = explicit_statistics(config, channels)
    if explicit is not None:
        return with_normalization(network, *explicit)
    if config.normalize == "none":
        return network
    published = published_statistics(config.name, network, channels) if config.pretrained else None
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
    """Mean and std `[C]` given in the recipe, None where it gives none.

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
