"""The probes of the authors' rule: which samples a network resists at two radii, asked no more often than decides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks import geometry, is_correct, mixes_samples, padded_rows, per_sample
from iaat.methods.base import StepContext
from iaat.methods.inner_attack import InnerConfig
from iaat.types import Batch


def probe(
    attacks: InnerConfig,
    model: nn.Module,
    batch: Batch,
    radii: tuple[Tensor, Tensor],
    clean_right: Tensor,
    context: StepContext,
) -> tuple[Tensor, Tensor]:
    """Whether the network is right under attack at the lower and at the higher radius, as far as the rule asks.

    Clean-wrong samples have their radius decay whatever an attack finds; the lower radius matters only where the
    network gives in at the higher one, and at radius 0 the clean outcome is known. Where a sample's logits do not
    depend on the others in the batch, such probes are left out and said to have failed, which changes no decision:
    random starts and then targets are drawn for the whole batch, at the lower radius first, whoever is asked.

    Args:
        attacks: Settings of the probing attacks.
        model: The network.
        batch: Clean inputs and labels.
        radii: The lower and the higher radii, `[B]` each.
        clean_right: Bool `[B]`, right on the clean sample.
        context: Gives the source of the random starts.

    Returns:
        Two of bool `[B]`.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithm 2.
    """
    ball = geometry(attacks.norm)
    starts = [batch.x + ball.random(batch.x, per_sample(attacks.spread * r, batch.x), context.generator) for r in radii]
    picks = [attacks.picks_of(batch, context) for _ in radii]
    everyone = torch.ones_like(clean_right)
    frugal = not mixes_samples(model, attacks.mode)

    asked = clean_right if frugal else everyone
    right_above = _withstands(attacks, model, batch, radii[1], starts[1], picks[1], asked, context)
    asked = clean_right & ~right_above & (radii[0] > 0) if frugal else everyone
    right_at = _withstands(attacks, model, batch, radii[0], starts[0], picks[0], asked, context)
    return (right_at | (clean_right & (radii[0] == 0)), right_above) if frugal else (right_at, right_above)


def _withstands(
    attacks: InnerConfig,
    model: nn.Module,
    batch: Batch,
    radius: Tensor,
    start: Tensor,
    picks: Tensor | None,
    asked: Tensor,
    context: StepContext,
) -> Tensor:
    """Bool `[B]`: asked for, and right under the attack at `radius` from `start` with targets by `picks`."""
    rows = padded_rows(asked)
    if not len(rows):
        return torch.zeros_like(asked)  # not every network takes an empty batch
    some = Batch(batch.x[rows], batch.y[rows], batch.index[rows])
    chosen = None if picks is None else picks[rows]
    x_adv = attacks.attack(model, some, radius[rows], context, x_init=start[rows], picks=chosen)
    right = torch.zeros_like(asked)
    right[rows] = is_correct(model, x_adv, some.y, attacks.mode)
    return right & asked
