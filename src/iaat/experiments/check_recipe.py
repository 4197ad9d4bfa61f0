"""What can be refused of a recipe before training, by what is known of its data before samples are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from iaat.config.radii_files import check_radii_files
from iaat.config.recipe import Recipe
from iaat.config.train_config import SGD
from iaat.data import DatasetInfo, read_dataset_info
from iaat.data.drawn_samples import check_training_limit
from iaat.methods import MethodConfig
from iaat.models import build_model
from iaat.models.double_normalization import warn_of_double_normalization
from iaat.models.registry import has_published_weights
from iaat.train.awp import check_perturbable
from iaat.train.optim import build_optimizer


def check_recipes(recipes: Sequence[Recipe]) -> list[DatasetInfo]:
    """Check recipes as `checked_model` does; every data set is looked at once, and every model is built once.

    Returns:
        What is known of the data of each.

    Raises:
        UserError: as `checked_model`, or the data cannot be found.
    """
    facts: dict[str, DatasetInfo] = {}
    of_one_model: dict[str, list[Recipe]] = {}
    for recipe in recipes:  # all before the first model, which may be large
        data = repr(recipe.data)
        facts[data] = facts.get(data) or read_dataset_info(recipe.data)
        check_fits_data(recipe, facts[data])
        of_one_model.setdefault(repr((recipe.data, recipe.model)), []).append(recipe)
    for alike in of_one_model.values():
        model = untrained_model(alike[0], facts[repr(alike[0].data)])
        for recipe in alike:
            check_trainable(recipe, model)
    return [facts[repr(recipe.data)] for recipe in recipes]


def checked_model(recipe: Recipe, facts: DatasetInfo) -> nn.Module:
    """The model of a recipe, untrained, after all is refused that training would refuse once it knows the data.

    Raises:
        UserError: data, method, model or optimiser do not fit each other; the message is that of training.
    """
    check_fits_data(recipe, facts)
    model = untrained_model(recipe, facts)
    check_trainable(recipe, model)
    return model


def check_fits_data(recipe: Recipe, facts: DatasetInfo) -> None:
    """Refuse a limit, augmentation, weights of classes or radii that do not fit the data.

    Raises:
        UserError: naming the key, its value and what would fit.
    """
    recipe.data.augmentation.check(facts.shape)
    check_training_limit(recipe.data, _class_counts(facts), validation_given=facts.validation_size > 0)
    if isinstance(recipe.method, MethodConfig):
        recipe.method.for_classes(torch.ones(facts.classes))
    check_radii_files(recipe, facts)


def _class_counts(facts: DatasetInfo) -> Tensor:
    """Training samples of each class; the mean for published data sets, which are not read yet."""
    size = facts.train_size - facts.validation_size
    if facts.labels is None:
        return torch.full((facts.classes,), size // facts.classes)
    return torch.bincount(facts.labels[:size], minlength=facts.classes)


def check_trainable(recipe: Recipe, model: nn.Module) -> None:
    """Refuse settings of training that do not fit the model.

    Raises:
        UserError: the optimiser does not take its settings or these weights, or AWP finds none to perturb.
    """
    # PyTorch takes seconds to import what its optimisers need; SGD takes all else that `train` holds.
    train = recipe.train
    if train.optimizer != SGD or train.optimizer_options or (train.nesterov and not train.momentum):
        build_optimizer(model, recipe.train)
    if recipe.train.awp_in(recipe.train.epochs - 1):
        check_perturbable(model)


def untrained_model(recipe: Recipe, facts: DatasetInfo) -> nn.Module:
    """The recipe's model for such inputs and classes, with random weights: nothing is downloaded.

    Raises:
        UserError: the model cannot be built.
    """
    channels, config = facts.shape[0], recipe.model
    if has_published_weights(config.name):  # else the setting is refused
        config = replace(config, pretrained=False)
    model = build_model(
        config, shape=facts.shape, classes=facts.classes, mean=torch.zeros(channels), std=torch.ones(channels)
    )
    warn_of_double_normalization(model, config)
    return model
