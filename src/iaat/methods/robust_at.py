"""Outcomes that the authors' rule asks for: whether samples are robust at two radii, with as few attacks as decide."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks import mixes_samples, padded_rows, predict_classes
from iaat.methods.base import StepContext
from iaat.methods.training_attacks import Attacker
from iaat.types import Batch


def robust_at(
    attacker: Attacker,
    model: nn.Module,
    batch: Batch,
    radii: tuple[Tensor, Tensor],
    clean_correct: Tensor,
    context: StepContext,
) -> tuple[Tensor, Tensor]:
    """Whether the model is correct under attack at the lower and at the higher radius, as far as the rule asks.

    The radius of a misclassified clean sample decays whatever an attack finds. The lower radius matters only where the
    attack succeeds at the higher one, and at radius 0 the clean outcome is known. Where a sample's logits do not depend
    on the others in the batch, such attacks are left out and count as successful, which changes no decision. Random
    starts and then targets are drawn for the whole batch, at the lower radius first, whoever is attacked.

    Args:
        attacker: The attack.
        model: The model.
        batch: Clean inputs and labels.
        radii: The lower and the higher radii, `[B]` each.
        clean_correct: Bool `[B]`, correct on the clean sample.
        context: Gives the source of the random starts.

    Returns:
        Two of bool `[B]`.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithm 2.
    """
    starts = [attacker.random_start(batch.x, radius, context.generator) for radius in radii]
    targets = [attacker.random_targets(batch.y, context.generator) for _ in radii]

    def correct_at(which: int, asked: Tensor) -> Tensor:
        """Bool `[B]`: asked for, and correct under the attack at one of the radii."""
        rows = padded_rows(asked)
        correct = torch.zeros_like(asked)
        if len(rows):  # not every model takes an empty batch
            some = batch.rows(rows)
            drawn = targets[which]
            x_adv = attacker.attack(
                model,
                some,
                radii[which][rows],
                context.generator,
                x_init=starts[which][rows],
                targets=None if drawn is None else drawn[rows],
            )
            correct[rows] = predict_classes(model, x_adv, attacker.config.mode) == some.y
        return correct & asked

    if mixes_samples(model, attacker.config.mode):
        everyone = torch.ones_like(clean_correct)
        above = correct_at(1, everyone)
        return correct_at(0, everyone), above
    above = correct_at(1, clean_correct)
    unharmed = clean_correct & (radii[0] == 0)
    return correct_at(0, clean_correct & ~above & (radii[0] > 0)) | unharmed, above
