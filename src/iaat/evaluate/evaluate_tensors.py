"""Evaluation of a model on tensors, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataSplits, InMemorySource
from iaat.errors import UserError
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.external_model import external_model
from iaat.evaluate.results import EvaluationResult
from iaat.models import weights_digest
from iaat.models.check_logits import casting, check_is_module
from iaat.runtime.device import device_of
from iaat.runtime.progress import Reporter
from iaat.units import Norm, Radius


def evaluate_model(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    classes: int | Sequence[str],
    suite: str = "quick",
    radius: float | str = "8px",
    norm: Norm = "linf",
    n: int | None = None,
    seed: int = 0,
    batch_size: int = 128,
    folder: str | Path | None = None,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Evaluate a model on samples by a suite of attacks, as `iaat evaluate` does.

    The model computes in eval mode, on its device and in float32; its flags are given back.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`; normalisation belongs inside.
        x: Clean inputs `[N, ...]`, floats in [0, 1].
        y: Class numbers `[N]`.
        classes: How many classes, or their names.
        suite: quick, standard, paper, full, or attacks and sections joined by "+"; see `iaat.config.suites`.
        radius: Radius of the attacks: "8px", "8/255" or a number on the [0, 1] scale.
        norm: `linf` or `l2`.
        n: Number of samples, the first of a fixed random order; 1,000 in suite quick, all in others by default.
        seed: Seed of the attacks.
        batch_size: Samples attacked at once.
        folder: Folder for `results.json`, the table of samples and the journal, by which an interrupted call goes on;
            None keeps nothing.
        reporter: Shows progress; quiet by default.

    Returns:
        The results: `verdict`, `findings`, `accuracy`, `interval95`, `n`, `passes_per_sample`, `per_class`, and more.

    Raises:
        UserError: samples or a model an evaluation of which would mean nothing, with the fix; or a wrong setting.
    """
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise UserError(f"x is a {type(x).__name__} and y a {type(y).__name__}: give tensors, torch.as_tensor(...)")
    check_is_module(model, "the model is")
    names = [str(number) for number in range(classes)] if isinstance(classes, int) else list(classes)
    config = EvaluateConfig(suite=suite, radius=Radius(radius), norm=norm, n=n, seed=seed, batch_size=batch_size)
    data = _bundle(x, y, names, device_of(model))
    # The model is the caller's, so that the cast is taken off again.
    with TemporaryDirectory() as temporary, casting(model):
        place = Path(temporary if folder is None else folder)
        name = type(model).__name__
        digest = weights_digest(model)
        evaluated = external_model(model, name, data, place, digest=digest, was_training=model.training)
        return run_evaluation(evaluated, data, config, reporter or Reporter(quiet=True))


def _bundle(x: Tensor, y: Tensor, classes: Sequence[str], device: torch.device) -> DataSplits:
    """The samples as a test set; nothing is trained on.

    Raises:
        UserError: samples on which an evaluation would mean nothing.
    """
    if x.ndim < 2 or not x.is_floating_point():
        raise UserError(f"x is {x.dtype} {list(x.shape)}: give floats in [0, 1], [n, ...]; for bytes x.float() / 255")
    source = InMemorySource(x, y, classes, device=device, complete=False, where="samples")
    values = x.float().transpose(0, 1).flatten(1)
    everything, nothing = torch.arange(len(x)), torch.arange(0)
    mean, std = values.mean(dim=1), values.std(dim=1).clamp_min(1e-3)
    return DataSplits(source, source, nothing, nothing, everything, mean, std)
