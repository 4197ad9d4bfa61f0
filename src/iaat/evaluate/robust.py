"""Accuracy on clean and attacked samples, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iaat import rng
from iaat.attacks import attack_mode, filled_up, geometry, pgd
from iaat.data import Source, sequential_order
from iaat.evaluate.config import EvaluateConfig
from iaat.passes import Passes, count_passes
from iaat.progress import Reporter
from iaat.types import Batch

STANDING = "none"
"""`broken_by` of a sample that no attack has broken."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of each of n samples; tensors `[n]` on the CPU, in the order of `index`.

    Attributes:
        index: Position of the sample in its data set.
        label: Its class.
        clean: Predicted class of the clean sample.
        adversarial: Predicted class where it was broken, else under the last attack.
        broken_by: What broke it first: `clean` (misclassified untouched), the loss of an attack, or `none`.
        size: Norm of the perturbation that broke it, 0 where `clean`; NaN where it stands.
        attacks: Losses of the attacks in the order they were run.
        passes: Forwards and backwards per sample that the evaluation took.
    """

    index: Tensor
    label: Tensor
    clean: Tensor
    adversarial: Tensor
    broken_by: list[str]
    size: Tensor
    attacks: tuple[str, ...]
    passes: Passes

    def accuracy(self, after: str) -> float:
        """Share of samples still right after `clean`, or after the attack named and all before it."""
        stages = ("clean", *self.attacks)
        broken = stages[: stages.index(after) + 1]
        return sum(name not in broken for name in self.broken_by) / len(self.broken_by)


def attack_samples(
    model: nn.Module,
    source: Source,
    index: Tensor,
    config: EvaluateConfig,
    *,
    losses: Sequence[str],
    seed: int,
    reporter: Reporter | None = None,
) -> Outcome:
    """Attack the samples `index` `[n]` of `source` with PGD on each loss in turn; each attack meets only survivors.

    The model is in eval mode throughout, and gets its own flags back. Results are the worst case per sample over the
    clean sample, all attacks and their restarts.

    Args:
        model: Maps inputs in [0, 1] to logits.
        source: Where the samples come from, unaugmented.
        index: Which of them, at least one.
        config: Radius, norm, steps and restarts of the attacks.
        losses: Names of attack losses; none for clean accuracy only.
        seed: Of the random starts.
        reporter: Shows progress, if given.
    """
    device = next(model.parameters()).device
    generator = rng.generator(seed, "evaluate", device=device)
    batches = source.batches(sequential_order(index, config.batch_size))
    if reporter is not None:
        batches = reporter.track(batches, total=len(index), what="evaluate", size=lambda batch: len(batch.y))
    with count_passes(model) as passes, attack_mode(model, "eval"):
        parts = [_attack_batch(model, batch, config, losses, generator) for batch in batches]
    clean, adversarial, stage, size = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    names = ("clean", *losses, STANDING)
    return Outcome(
        index=index.cpu(),
        label=source.labels[index.cpu()],
        clean=clean,
        adversarial=adversarial,
        broken_by=[names[number] for number in stage.tolist()],
        size=size,
        attacks=tuple(losses),
        passes=Passes(passes.forward / len(index), passes.backward / len(index)),
    )


def _attack_batch(
    model: nn.Module, batch: Batch, config: EvaluateConfig, losses: Sequence[str], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clean prediction, adversarial prediction, number of the stage that broke each sample, size of the break."""
    clean = _predict(model, batch.x)
    right = clean == batch.y
    adversarial = clean.clone()
    stage = torch.where(right, len(losses) + 1, 0)
    size = torch.where(right, torch.nan, 0.0)
    for number, loss in enumerate(losses, start=1):
        standing = stage == len(losses) + 1
        rows = filled_up(standing)
        if not len(rows):
            break
        x, y = batch.x[rows], batch.y[rows]
        x_adv = pgd(
            model,
            x,
            y,
            radius=config.radius,
            steps=config.steps,
            step_size=config.step_size,
            norm=config.norm,
            loss=loss,
            restarts=config.restarts,
            early_stop=True,
            generator=generator,
        )
        # The attack's word is not taken: what it returns is judged again.
        prediction = _predict(model, x_adv)
        broken = standing[rows] & (prediction != y)
        adversarial[rows[standing[rows]]] = prediction[standing[rows]]
        stage[rows[broken]] = number
        size[rows[broken]] = geometry(config.norm).size(x_adv - x)[broken].to(size)
    return clean, adversarial, stage, size


def _predict(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        prediction: Tensor = model(x).argmax(dim=1)
    return prediction
