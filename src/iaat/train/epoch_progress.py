"""`EpochProgress`: the sums of the epoch that is going on; saved, so that training can resume within it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from iaat.runs.checkpoint_schema import check_same_types
from iaat.runs.epoch_record import EpochRecord
from iaat.runtime.distributed import Ranks
from iaat.runtime.passes import Passes
from iaat.train.meters import MeanMeters


@dataclass(slots=True)
class GuardLog:
    """Results of the checks of a method's guard.

    Attributes:
        gaps: The gap of each check.
        backed_off: Steps trained with the guard's stronger attack.
        passes: Passes of the checks.
    """

    gaps: list[float] = field(default_factory=list)
    backed_off: int = 0
    passes: Passes = field(default_factory=Passes)


@dataclass(slots=True)
class EpochProgress:
    """One epoch so far.

    Attributes:
        steps: Batches trained on.
        lr: Learning rate of the epoch's first step; None before it.
        seconds: Time spent on the epoch by earlier processes.
        meters: Sums for the means of the epoch's record.
        passes: Passes of the whole model, with those of the guard's checks.
        guard: Results of the guard's checks.
        skipped: Steps that were not taken because a number was not finite.
    """

    steps: int = 0
    lr: float | None = None
    seconds: float = 0.0
    meters: MeanMeters = field(default_factory=MeanMeters)
    passes: Passes = field(default_factory=Passes)
    guard: GuardLog = field(default_factory=GuardLog)
    skipped: int = 0

    def reduced(self, ranks: Ranks) -> EpochProgress:
        """The progress of all processes together: samples and passes are summed, the rest is equal in each."""
        if not ranks.several:
            return self
        passes = [self.passes.forward, self.passes.backward, self.guard.passes.forward, self.guard.passes.backward]
        forward, backward, *checks = ranks.sum_(torch.tensor(passes, dtype=torch.float64)).tolist()
        return replace(
            self,
            meters=self.meters.reduced(ranks),
            passes=Passes(forward, backward),
            guard=replace(self.guard, passes=Passes(*checks)),
        )

    def clear_sums(self) -> None:
        """Clear the sums that another process has restored for all."""
        self.meters.clear()
        self.passes, self.guard.passes = Passes(), Passes()

    def record(self, epoch: int, samples: int, *, guarded: bool, loss_scale: float | None) -> EpochRecord:
        """The epoch's record, as far as its training steps make it.

        Args:
            epoch: Number of the epoch, from 1.
            samples: Samples trained on in it.
            guarded: Whether the method has a guard.
            loss_scale: Scale of the loss in fp16.
        """
        means, checks = self.meters.means(), self.guard.passes
        return EpochRecord(
            epoch=epoch,
            loss=means.pop("loss", None),
            train_accuracy=means.pop("train_accuracy", None),
            trained_radius_px=means.pop("trained_radius_px", None),
            lr=self.lr,
            forwards=(self.passes.forward - checks.forward) / samples,
            backwards=(self.passes.backward - checks.backward) / samples,
            guard_gap=max(self.guard.gaps, default=None),
            guard_backed_off=self.guard.backed_off / self.steps if guarded else None,
            guard_forwards=checks.forward / samples if guarded else None,
            guard_backwards=checks.backward / samples if guarded else None,
            skipped_steps=self.skipped or None,
            loss_scale=loss_scale,
            metrics=means,
        )

    def state_dict(self) -> dict[str, Any]:
        """The progress as tensors and plain values."""
        return {
            **{key: getattr(self, key) for key in ("steps", "lr", "seconds", "skipped")},
            "averages": self.meters.state_dict(),
            "passes": asdict(self.passes),
            "watch": asdict(self.guard),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> EpochProgress:
        """The progress of `state_dict`."""
        own = cls().state_dict()
        check_same_types({**state, "watch": {**state["watch"], "gaps": []}}, own)
        progress = cls(**{key: state[key] for key in ("steps", "lr", "seconds", "skipped")})
        progress.meters.load_state_dict(state["averages"])
        progress.passes = Passes(**state["passes"])
        guard = dict(state["watch"])
        progress.guard = GuardLog(list(guard["gaps"]), guard["backed_off"], Passes(**guard["passes"]))
        return progress
