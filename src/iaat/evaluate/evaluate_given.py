"""Evaluation of a model on samples that are given in Python."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, geometry
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataConfig, DataSplits, InMemorySource, Source
from iaat.data.build_data import keep_split
from iaat.data.given_samples import given_split
from iaat.errors import UserError, shown
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.external_model import external_model
from iaat.evaluate.results import EvaluationResult
from iaat.models import weights_digest
from iaat.models.check_logits import casting, check_is_module, output_of
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.device import device_of
from iaat.runtime.files import user_path
from iaat.runtime.progress import Reporter
from iaat.units import Norm, Radius


def evaluate_model(
    model: nn.Module,
    data: object,
    y: Tensor | None = None,
    *,
    classes: int | Iterable[str] | None = None,
    suite: str = "quick",
    radius: float | str | None = None,
    norm: Norm | None = None,
    n: int | None = None,
    size: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    folder: str | Path | None = None,
    quiet: bool = True,
) -> EvaluationResult:
    """Evaluate a model by a suite of attacks, as `iaat evaluate` does.

    The model computes in eval mode, on its device and in float32; its flags are given back.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`; normalisation belongs inside. `iaat.load` gives one that
            knows its classes, its radius and how its images are read.
        data: Clean samples: a map-style `Dataset` of (x, y), a `DataLoader`, a pair of tensors, inputs `[N, ...]` with
            `y` beside them, or a folder with a folder of images for each class.
        y: Class numbers `[N]`, where `data` is a tensor of inputs.
        classes: How many classes, or their names in the order of the logits; by default those of the model or the data.
        suite: quick, standard, paper, full, or attacks and sections joined by "+"; see `iaat.config.suites`.
        radius: Radius of the attacks: "8px", "8/255" or a number on the [0, 1] scale; by default that of a loaded
            model's own evaluation, else 8px.
        norm: `linf` or `l2`; by default the loaded model's, else `linf`. Another one needs a radius, too.
        n: Number of samples, the first of a fixed random order; 1,000 in suite quick, all in others by default.
        size: Side in pixels that images of a folder are resized and cropped to; by default a loaded model's.
        seed: Seed of the attacks.
        batch_size: Samples attacked at once.
        folder: Folder for `results.json`, the table of samples and the journal, by which an interrupted call goes on;
            None keeps nothing.
        quiet: Show no progress.

    Returns:
        The results: `verdict`, `findings`, `accuracy`, `interval95`, `n`, `passes_per_sample`, `per_class`, and more.

    Raises:
        UserError: samples or a model an evaluation of which would mean nothing, with the fix; or a wrong setting.

    Source: docs/evaluation.md says what each attack and check is from.

    Example:
        >>> import iaat, torch
        >>> _ = torch.manual_seed(0)
        >>> y = torch.arange(60) % 2
        >>> x = (torch.rand(60, 1, 4, 4) + y[:, None, None, None]) / 2
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> _ = model[1].weight.data.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 16))
        >>> _ = model[1].bias.data.copy_(torch.tensor([8.0, -8.0]))
        >>> results = iaat.evaluate_model(model, (x, y), suite="pgd-5", radius="16px")
        >>> results.accuracy["clean"], results.n
        (1.0, 60)
    """
    check_is_module(model, "the model is")
    own = model.recipe.evaluate if isinstance(model, TrainedModel) else EvaluateConfig()
    if norm is not None:
        geometry(norm)  # refuses any other
    if norm not in (None, own.norm) and radius is None:
        example = "128/255" if norm == "l2" else "8px"
        raise UserError(f'norm={norm!r} needs radius=, such as "{example}": the default is one of {own.norm}')
    config = EvaluateConfig(
        suite=suite,
        radius=own.radius if radius is None else Radius(radius),
        norm=norm or own.norm,
        n=n,
        seed=seed,
        batch_size=batch_size,
    )
    source = _source(model, data, y, _names(classes, model), size)
    # The model is the caller's, so that the cast is taken off again.
    with TemporaryDirectory() as temporary, casting(model):
        place = user_path(temporary if folder is None else folder)
        name = type(model).__name__
        digest = weights_digest(model)
        splits = as_test_set(source)
        evaluated = external_model(model, name, splits, place, digest=digest, was_training=model.training)
        return run_evaluation(evaluated, splits, config, Reporter(quiet=quiet))


def _names(classes: int | Iterable[str] | None, model: nn.Module) -> tuple[str, ...]:
    """Names of the classes; none where neither the caller nor the model knows them."""
    if classes is None:
        return model.classes if isinstance(model, TrainedModel) else ()
    with suppress(TypeError):
        return tuple(map(str, range(operator.index(classes))))  # type: ignore[arg-type]
    if isinstance(classes, Iterable) and not isinstance(classes, str):
        return tuple(map(str, classes))
    raise UserError(f'classes = {shown(classes)}: give their number, or a list of their names such as ["cat", "dog"]')


def _source(model: nn.Module, data: object, y: Tensor | None, names: tuple[str, ...], size: int | None) -> Source:
    if y is not None or isinstance(data, Tensor):
        if not (isinstance(data, Tensor) and isinstance(y, Tensor)):
            raise UserError(
                f"x is a {type(data).__name__} and y a {type(y).__name__}: give tensors, torch.as_tensor(...)"
            )
        data = (data, y)
    return samples_for(model, data, names, size)


def samples_for(model: nn.Module, data: object, names: tuple[str, ...], size: int | None = None) -> Source:
    """Samples that were given, as a source on the device of a model.

    Args:
        model: The model; one of `iaat.load` says how its images are read.
        data: As for `evaluate_model`, tensors as a pair.
        names: Names of the classes; none: one for each logit of the model, or those of the data.
        size: Side in pixels of the images of a folder.

    Raises:
        UserError: the samples cannot be used.
    """
    device = device_of(model)
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(each, Tensor) for each in data):
        x, labels = data
        if x.ndim < 2 or x.dtype != torch.float32:
            fix = "pass x.float()" if x.is_floating_point() else "for bytes x.float() / 255"
            raise UserError(f"x is {x.dtype} {list(x.shape)}: give float32 in [0, 1], [n, ...]; {fix}")
        names = names or _one_a_logit(model, x[:1].to(device))
        return InMemorySource(x, labels, names, device=device, complete=False, where="samples")
    config = _reading(model) if isinstance(model, TrainedModel) else DataConfig()
    if size is not None:
        config = replace(config, size=size, resize=None)
    split = given_split(data, config, names)
    if not names and split.classes == tuple(map(str, range(len(split.classes)))):
        first = split[0][0].to(device)[None]
        split.classes = _one_a_logit(model, first.float() / 255 if first.dtype == torch.uint8 else first)
    return keep_split(split, config, device)


def _reading(model: TrainedModel) -> DataConfig:
    """How images are read for a model: as those it was trained on, which may have been tensors of grey images."""
    config, channels = model.recipe.data, model.shape[0]
    of_images = len(model.shape) == 3 and channels in (1, 3) and config.channels is None
    return replace(config, channels=1 if channels == 1 else 3) if of_images else config


def _one_a_logit(model: nn.Module, x: Tensor) -> tuple[str, ...]:
    """Names for the classes of a model, by the number of its logits; two where it returns something else.

    Raises:
        UserError: it cannot take such inputs.
    """
    with attack_mode(model, "eval"), torch.no_grad():
        logits = output_of(model, x)
    count = logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else 2
    return tuple(map(str, range(count)))


def as_test_set(source: Source) -> DataSplits:
    """The samples as a test set; nothing is trained on."""
    everything, nothing = torch.arange(len(source)), torch.arange(0)
    (batch,) = source.batches([everything[:1000]])
    values = batch.x.cpu().transpose(0, 1).flatten(1)
    mean, std = values.mean(dim=1), values.std(dim=1, correction=0).clamp_min(1e-3)
    return DataSplits(source, source, nothing, nothing, everything, mean, std)
