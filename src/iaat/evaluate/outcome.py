"""Outcome of an evaluation for each sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iaat.evaluate.results import StageResult
from iaat.runtime.passes import Passes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of an evaluation for each of n samples; tensors `[n]` on the CPU, in the order of `index`.

    Attributes:
        index: Position of the sample in its data set.
        label: Its class.
        clean: Predicted class of the clean sample.
        adversarial: Predicted class of its adversarial example, else under the last attack on it; -1 if not known.
        misclassified_by: `clean`, the name of the first stage that got it misclassified, or `none`.
        perturbation_norm: Norm of its smallest adversarial perturbation, 0 where `clean`; NaN where none was found.
        stages: What each stage did, the clean one first.
    """

    index: Tensor
    label: Tensor
    clean: Tensor
    adversarial: Tensor
    misclassified_by: list[str]
    perturbation_norm: Tensor
    stages: tuple[StageResult, ...]

    @property
    def attacks(self) -> tuple[str, ...]:
        """The attacks in their order, the stages of one counted as one."""
        return tuple(dict.fromkeys(stage.name.partition("/")[0] for stage in self.stages[1:]))

    @property
    def passes(self) -> Passes:
        """Forwards and backwards per sample that the evaluation took."""
        n = len(self.misclassified_by)
        return Passes(
            sum(stage.passes.forward for stage in self.stages) / n,
            sum(stage.passes.backward for stage in self.stages) / n,
        )

    def correct_after(self, name: str) -> Tensor:
        """`[n]` bool: correct after `clean`, or after the attack or stage of that name and all before it."""
        names = [stage.name for stage in self.stages]
        last = max(number for number, each in enumerate(names) if name in (each, each.partition("/")[0]))
        done = set(names[: last + 1])
        return torch.tensor([each not in done for each in self.misclassified_by])

    def accuracy(self, name: str) -> float:
        """Fraction of the samples that are correct after an attack or stage and all before it."""
        return float(self.correct_after(name).double().mean())

    def worst(self) -> float:
        """Accuracy in the worst case over all stages."""
        return self.accuracy(self.stages[-1].name)


def with_stage(
    outcome: Outcome, name: str, norm: Tensor, prediction: Tensor, *, samples: int, passes: Passes, seconds: float
) -> Outcome:
    """The outcome with one more stage: what a section of the evaluation found beside the attacks.

    Args:
        outcome: After the attacks.
        name: Name of the stage.
        norm: `[n]` norm of the smallest adversarial perturbation within the radius that it found; NaN where none.
        prediction: `[n]` class predicted there; -1 if not known.
        samples: How many samples it looked at.
        passes: Passes it took.
        seconds: Wall time it took.
    """
    new = outcome.correct_after(outcome.stages[-1].name) & ~norm.isnan()
    stage = StageResult(name, samples, int(new.sum()), passes, seconds)
    return replace(
        outcome,
        perturbation_norm=torch.fmin(outcome.perturbation_norm, norm),
        adversarial=torch.where(new, prediction, outcome.adversarial),
        misclassified_by=[name if n else old for n, old in zip(new.tolist(), outcome.misclassified_by, strict=True)],
        stages=(*outcome.stages, stage),
    )
