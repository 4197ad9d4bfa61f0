"""The forward of the model in training, compiled for the batches of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.runtime.text import cut

_VARIANTS = 64
"""Graphs that may be compiled of one model. It has one for each of: attack or loss, the mode of its layers, number
format, sizes of batches."""


class CompiledForward:
    """A model's forward, compiled by `torch.compile` for batches of known sizes.

    Other batches, such as the last one of an epoch and what an attack that drops samples is left with, are computed by
    the model as it is: what computes a batch depends on its size alone, so that a resumed run has the same numbers, and
    no step waits for a compiler because of a size that was not met before.

    Args:
        model: The model in training. Its hooks, weights and state stay its own.
        sizes: Numbers of samples.
    """

    def __init__(self, model: nn.Module, sizes: frozenset[int]) -> None:
        self._model, self._sizes = model, sizes
        self._plain = model.forward
        self._compiled = torch.compile(self._plain, dynamic=False)
        # Beyond PyTorch's limit of 8 it would go on without compiling, and when that is depends on where a run begins.
        torch._dynamo.config.recompile_limit = max(_VARIANTS, torch._dynamo.config.recompile_limit)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Context in which the model computes by it.

        Raises:
            UserError: within the context, where the model cannot be compiled, or there is no compiler.
        """
        self._model.forward = self
        try:
            yield
        finally:
            del self._model.forward

    def __call__(self, x: Tensor, *more: Any, **options: Any) -> Any:  # noqa: ANN401
        """The output of the model."""
        if more or options or len(x) not in self._sizes:
            return self._plain(x, *more, **options)
        try:
            return self._compiled(x)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(
                f"train.compile: the model cannot be compiled ({cut(reason, 300)}): set train.compile false; on a CPU "
                "PyTorch needs a C++ compiler, such as g++"
            ) from error

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:  # noqa: ANN401
        """A copy of the model computes by its own forward."""
        return deepcopy(self._plain, memo)
