"""Transfer attacks: adversarial examples made on one model, tried on another, cached on disk."""

from __future__ import annotations

import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from iaat.attacks import pgd, predict_classes
from iaat.data import sequential_order
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.results import TransferResult
from iaat.evaluate.sections import Context, Section, Task
from iaat.evaluate.stages import Stage
from iaat.runtime import rng
from iaat.runtime.device import device_of
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.files import replacing
from iaat.types import Batch


def transfer_stages(task: Task, steps: int, ranks: Ranks) -> list[Stage]:
    """One stage for each other model: its adversarial examples, tried on the samples that are still correct.

    Args:
        task: The evaluation.
        steps: PGD steps; the authors of IAAT take 1,000.
        ranks: The processes that evaluate together.
    """
    return [_stage(task, other, steps, ranks) for other in task.extras.others]


def _stage(task: Task, other: EvaluatedModel, steps: int, ranks: Ranks) -> Stage:
    made: dict[str, Tensor] = {}
    row = {number: position for position, number in enumerate(task.index.tolist())}

    def run(_model: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        if not made:
            made["x_adv"] = examples(task, other, steps)
        rows = torch.tensor([row[number] for number in batch.index.tolist()])
        return made["x_adv"][rows].to(batch.x)

    return Stage(f"transfer/{other.name}", run, prepare=partial(make_examples, task, other, steps, ranks))


def make_examples(task: Task, other: EvaluatedModel, steps: int, ranks: Ranks) -> None:
    """Make the examples that are not kept yet, each batch by one of the processes, which then see all.

    Raises:
        UserError: a process cannot make some, in every process.
    """
    if ranks.several:  # else they are made when they are first wanted
        ranks.each(lambda: _made(task, other, steps, ranks))


def examples(task: Task, other: EvaluatedModel, steps: int) -> Tensor:
    """Adversarial examples `[n, ...]` made on `other`, in the order of the test samples, on the CPU.

    PGD on cross-entropy that goes on after a sample is adversarial: a larger loss transfers better. Kept batch by
    batch in `transfer/` of the model's folder under a name made of all that decides them, and read from there.
    """
    return torch.cat(_made(task, other, steps, ALONE))


def _made(task: Task, other: EvaluatedModel, steps: int, ranks: Ranks) -> list[Tensor]:
    """The batches of examples of this process among those that share them out."""
    folder = other.folder / "transfer" / _digest(task, other, steps)
    order = sequential_order(task.index, task.config.batch_size)
    own = range(ranks.rank, len(order), ranks.world)
    total = sum(len(order[n]) for n in own)
    numbers = task.reporter.track(own, total=total, what=f"examples on {other.name}", size=lambda n: len(order[n]))
    return [_kept(folder / f"{n:04d}.safetensors", task, other, order[n], steps, n) for n in numbers]


def _digest(task: Task, other: EvaluatedModel, steps: int) -> str:
    config = task.config
    what = {
        "model": other.digest,
        "data": task.data.test.fingerprint,
        "inputs": task.inputs,
        "index": task.index.tolist(),
        "attack": [str(float(config.radius)), config.norm, steps, config.seed, config.batch_size],
    }
    return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _kept(file: Path, task: Task, other: EvaluatedModel, index: Tensor, steps: int, number: int) -> Tensor:
    config = task.config
    try:
        kept = load_file(file)["x_adv"]
        if kept.shape == (len(index), *task.data.shape) and kept.is_floating_point():
            return kept
    except (OSError, KeyError, SafetensorError):  # not made yet, or damaged: it is made anew
        pass
    (batch,) = task.data.test.batches([index])
    generator = rng.generator(config.seed, "transfer", number, device=device_of(other.model))
    settings: dict[str, Any] = {"radius": config.radius, "norm": config.norm, "steps": steps}
    x_adv = pgd(other.model, batch.x, batch.y, generator=generator, **settings).cpu().contiguous()
    with replacing(file) as temporary:
        temporary.write_bytes(save({"x_adv": x_adv}))
    return x_adv


def transfer_section(context: Context, steps: int) -> Section:
    """Accuracy on each other model's examples of all samples, beside that model's own accuracy."""
    rows = []
    for other in context.extras.others:
        key = f"transfer#{other.digest}"
        if key not in context.journal:
            make_examples(context, other, steps, context.journal.ranks)
        found = context.journal.unit(key, lambda: _accuracies(context, other, steps))  # noqa: B023
        rows.append(TransferResult(other.name, f"PGD-{steps}", **found))
    return Section(transfer=tuple(rows))


def _accuracies(context: Context, other: EvaluatedModel, steps: int) -> dict[str, float]:
    x_adv = examples(context, other, steps)
    models = {"accuracy": context.evaluated, "accuracy_of_source": other}
    return {key: _accuracy(model, x_adv, context) for key, model in models.items()}


def _accuracy(evaluated: EvaluatedModel, x_adv: Tensor, context: Context) -> float:
    labels = context.data.test.labels[context.index]
    device, parts = device_of(evaluated.model), torch.split(x_adv, context.config.batch_size)
    predicted = torch.cat([predict_classes(evaluated.model, part.to(device)).cpu() for part in parts])
    return float((predicted == labels).double().mean())
