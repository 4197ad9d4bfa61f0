"""What the present epoch has come to so far: saved, so that training can go on within it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from iaat.runs.checkpoint_fields import check_alike
from iaat.runtime.distributed import Ranks
from iaat.runtime.passes import Passes
from iaat.train.meters import Averages


@dataclass(slots=True)
class WatchLog:
    """What the checks of a method's guard have come to.

    Attributes:
        gaps: The gap each check saw.
        backed_off: Steps trained with the guard's remedy.
        passes: Passes of the checks.
    """

    gaps: list[float] = field(default_factory=list)
    backed_off: int = 0
    passes: Passes = field(default_factory=Passes)


@dataclass(slots=True)
class Tally:
    """One epoch so far.

    Attributes:
        steps: Batches trained on.
        lr: Learning rate of the epoch's first step; None before it.
        seconds: Time spent on it before the process that trains now.
        averages: Sums of what the epoch's record has means of.
        passes: Passes of the whole network, those of the guard's checks included.
        watch: What the guard's checks have come to.
        skipped: Steps that were not taken because their numbers were not finite.
    """

    steps: int = 0
    lr: float | None = None
    seconds: float = 0.0
    averages: Averages = field(default_factory=Averages)
    passes: Passes = field(default_factory=Passes)
    watch: WatchLog = field(default_factory=WatchLog)
    skipped: int = 0

    def over(self, ranks: Ranks) -> Tally:
        """That of all processes together: their samples and passes; what they agree on is as it is in each."""
        if not ranks.several:
            return self
        passes = [self.passes.forward, self.passes.backward, self.watch.passes.forward, self.watch.passes.backward]
        forward, backward, *checks = ranks.sum_(torch.tensor(passes, dtype=torch.float64)).tolist()
        return replace(
            self,
            averages=self.averages.over(ranks),
            passes=Passes(forward, backward),
            watch=replace(self.watch, passes=Passes(*checks)),
        )

    def clear_own(self) -> None:
        """Forget what processes add up, which another one goes on from; keep what they agree on."""
        self.averages.clear()
        self.passes, self.watch.passes = Passes(), Passes()

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain values."""
        return {
            **{key: getattr(self, key) for key in ("steps", "lr", "seconds", "skipped")},
            "averages": self.averages.state_dict(),
            "passes": asdict(self.passes),
            "watch": asdict(self.watch),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tally:
        """The tally that `state_dict` has described."""
        own = cls().state_dict()
        check_alike({**state, "watch": {**state["watch"], "gaps": []}}, own)
        tally = cls(**{key: state[key] for key in ("steps", "lr", "seconds", "skipped")})
        tally.averages.load_state_dict(state["averages"])
        tally.passes = Passes(**state["passes"])
        watch = dict(state["watch"])
        tally.watch = WatchLog(list(watch["gaps"]), watch["backed_off"], Passes(**watch["passes"]))
        return tally
