"""Loading any PyTorch model, by name, factory or file, as a function of inputs in [0, 1] to logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.models.build_model import explicit_statistics, put_normalization, refuse_key_alone
from iaat.models.check_logits import check_fits
from iaat.models.double_normalization import warn_of_double_normalization
from iaat.models.factory import call_factory
from iaat.models.model_config import ModelConfig
from iaat.models.model_file_kind import file_kind, is_file_name
from iaat.models.normalize import with_normalization
from iaat.models.programs import load_program
from iaat.models.registry import MODELS, build_network, has_published_weights, published_statistics
from iaat.models.state_dict_search import InputStatistics
from iaat.models.timm_models import load_timm
from iaat.models.torchvision_models import PUBLISHED_CLASSES, TORCHVISION_MODELS
from iaat.models.weights import load_weights
from iaat.models.wrn import parse_wrn
from iaat.runs.load_trained import is_run, load
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.rng import seeded
from iaat.runtime.user_code import import_function

AS_IT_IS = ModelConfig(normalize="none")
"""Settings for a model of others: it gets inputs in [0, 1], and what it does with them is its own affair."""


def load_model(
    target: str | Path,
    config: ModelConfig = AS_IT_IS,
    *,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    device: torch.device | str = "cpu",
    trust: bool = False,
) -> nn.Module:
    """Load a trained model that maps inputs in [0, 1] to logits, in eval mode on `device`.

    A run folder, or a checkpoint in it, needs no settings: see `iaat.runs.load_trained.load`.

    In front of it is the normalisation in the file of its weights (iaat's checkpoints have one); else `config.mean` and
    `config.std`; else, for a model with published weights, the one published with them; else that of the data
    where `config.normalize` is "data"; else none.

    Args:
        target: A run folder, for its best checkpoint (else its last), or one of its checkpoints;
            `module:function`, a factory of the user's, which gets those of shape= and classes= that its signature
            names and the options; a timm name; a name of iaat's own; or a file: a TorchScript program, an exported
            program, or weights of the model that `config.name` names.
        config: Further settings. `weights` is a file with the weights of a model given by name or factory;
            those of torchvision and timm get their published weights without one. `pretrained` is not used.
        shape: Shape of one input of the data; a run knows its own.
        classes: Number of classes of the data; likewise.
        mean: `[C]` of the data, for `config.normalize` "data".
        std: The same for the standard deviation.
        device: Where the model is to run.
        trust: Load a TorchScript or exported program, which is code, or what a run names as module:function. Files of
            weights are data and need no trust; a factory is code of the user's own.

    Raises:
        UserError: there is no such model, its file is damaged, a program that is not trusted or of another model, a
            setting has no effect, or the model does not map inputs of the data to logits of its classes.
    """
    if config == AS_IT_IS and is_run(Path(target)):
        trained = load(target, device=device, trust=trust)
        _check_data(trained, target, shape, classes)
        return trained
    target = str(target)
    if shape is None or classes is None:
        raise UserError(f"model {target}: give shape= and classes= of the data, which only a run of ours knows")
    with seeded(0):
        if is_file_name(target) and (kind := file_kind(Path(target))) != "weights":
            _refuse_settings(config, target)
            network: nn.Module = load_program(Path(target), kind, device, trust=trust)
            statistics = None
        else:
            if config is AS_IT_IS and is_file_name(target):
                raise UserError(f"{target} holds weights, and no model was named: give config=ModelConfig(name=...)")
            config = _named(target, config)
            network, statistics = _build(config, shape=shape, classes=classes)
        model = _normalized(network, config, statistics, channels=shape[0], data=(mean, std))
    warn_of_double_normalization(model, config)
    model = model.to(device).eval()
    check_fits(model, shape=shape, classes=classes, device=device)
    return model


def _check_data(trained: TrainedModel, target: str | Path, shape: tuple[int, ...] | None, classes: int | None) -> None:
    for what, given, own in (("shape", shape, trained.shape), ("classes", classes, len(trained.classes))):
        if given is not None and given != own:
            raise UserError(f"{what} is {given}, but {target} was trained on {own}: leave it out, or give other data")


def _named(target: str, config: ModelConfig) -> ModelConfig:
    """The settings of a model that is built here: by name, or for the weights in the file `target`."""
    if not is_file_name(target):
        return replace(config, name=target)
    if config.weights is not None:
        raise UserError(
            f"model {target} and model.weights {config.weights} are both files of weights: give one of them, and the "
            "model by name as the other"
        )
    return replace(config, weights=target)


def _build(config: ModelConfig, *, shape: tuple[int, ...], classes: int) -> tuple[nn.Module, InputStatistics | None]:
    """The model with its weights, and the normalisation that belongs to them, if any is known."""
    name, file = config.name, config.weights
    if file is None:
        refuse_key_alone(config)
    prefix, colon, _ = name.partition(":")
    plain = replace(config, weights=None, pretrained=False)
    if colon and prefix != "timm":
        network = _from_factory(plain, shape=shape, classes=classes)
    elif file is None and has_published_weights(name):
        network = _pretrained(plain, shape=shape, classes=classes)
        published = published_statistics(name, network, shape[0])
        return network, None if published is None else InputStatistics(*published, own=False)
    else:
        network = build_network(plain, shape=shape, classes=classes)
        if file is None:
            raise UserError(f"model {name} has no weights yet: give the file with --model.weights, or a run folder")
    return network, None if file is None else load_weights(network, Path(file), config, classes=classes)


def is_own_name(name: str) -> bool:
    """Whether a model of this name can be built without timm and without code of the user's."""
    return name in MODELS or name in TORCHVISION_MODELS or parse_wrn(name) is not None


def _from_factory(config: ModelConfig, *, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Call a factory with those of `shape` and `classes` that its signature names."""
    _refuse_settings(config, config.name, but=("options",))
    factory = import_function(config.name, key="model")
    of_data: dict[str, object] = {"shape": shape, "classes": classes}
    # Functions of others, such as torchvision's, pass **kwargs on to a class that does not know these names.
    return call_factory(f"model {config.name}", factory, of_data, config.options, unnamed=False)


def _pretrained(config: ModelConfig, *, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A model of torchvision or timm with its published weights, classifier included."""
    count = _published_classes(config.name)
    if count is not None and count != classes:
        raise UserError(
            f"model {config.name}: its published weights are for {count} classes, the data has {classes}: give data of "
            "the same classes, or weights trained on yours with --model.weights"
        )
    return build_network(replace(config, pretrained=True), shape=shape, classes=classes)


def _published_classes(name: str) -> int | None:
    """For how many classes the published weights of a model are, where that is known."""
    if name in TORCHVISION_MODELS:
        return PUBLISHED_CLASSES
    timm = load_timm()
    published = timm and timm.models.get_pretrained_cfg(name.removeprefix("timm:"))
    return published.num_classes if published else None


def _normalized(
    network: nn.Module,
    config: ModelConfig,
    statistics: InputStatistics | None,
    *,
    channels: int,
    data: tuple[Tensor | None, Tensor | None],
) -> nn.Module:
    explicit = explicit_statistics(config, channels)
    if statistics is not None and (explicit is None or (statistics.own and statistics.agree_with(*explicit))):
        return with_normalization(network, statistics.mean, statistics.std)
    if explicit is not None and statistics is not None and statistics.own:
        raise UserError(
            f"weights {config.weights} hold a normalisation of their own, which is used: leave out model.mean and "
            "model.std, which are others"
        )
    return put_normalization(network, replace(config, pretrained=False), channels=channels, mean=data[0], std=data[1])


def _refuse_settings(config: ModelConfig, target: str, *, but: tuple[str, ...] = ()) -> None:
    for setting in ("width", "norm", "options", *(() if but else ("weights", "weights_key"))):
        value = getattr(config, setting)
        if setting not in but and value != getattr(AS_IT_IS, setting):
            raise UserError(f"model.{setting} is {value!r}, but it has no effect on {target}: remove it")
