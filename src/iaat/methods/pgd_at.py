"""PGD adversarial training: one radius for every sample, or a table of radii."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.methods.adversarial_loss import AdversarialLoss, AdversarialLossConfig
from iaat.methods.adversarial_training import uniform_radii
from iaat.methods.base import StepContext
from iaat.radius import RadiiTable
from iaat.runtime.json_files import UserPath
from iaat.types import Batch

_COLUMNS = ("index", "label", "radius")
"""Tensors of a table of radii in the state of a run that has not begun to use it."""


@dataclass(frozen=True, kw_only=True)
class PGDATConfig(AdversarialLossConfig):
    """Settings of PGD adversarial training."""

    radii: UserPath | None = None
    """Fixed radii to train at: a run folder with radii.parquet, or a Parquet file such as `iaat radii
    RUN --out FILE` writes; samples it does not list have `radius`. null: all samples have `radius`."""
    shuffle_radii: bool = False
    """Give the radii of `radii` to its samples in random order, another one for each seed: a control for what the
    values are worth without their assignment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shuffle_radii and self.radii is None:
            raise UserError("method.shuffle_radii = true: there is nothing to shuffle; set method.radii, too")
        if self.soft_by_radius and self.radii is None and not self.ramp:
            raise UserError(
                "method.soft_by_radius = true: all samples are attacked at method.radius, where no label is softened; "
                "set method.radii, or train with method iaat"
            )

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs; infinite where a file has the radii."""
        return super().largest_radius(epochs) if self.radii is None else math.inf

    def without_files(self) -> Self:
        """These settings with one radius for all samples, and steps of the same passes."""
        if self.radii is None:
            return self
        return replace(self, radii=None, shuffle_radii=False, soft_by_radius=False)

    def radii_files(self) -> dict[str, str]:
        """The file of fixed radii."""
        return {} if self.radii is None else {"method.radii": self.radii}


class PGDAT(AdversarialLoss):
    """Minimise the cross-entropy of adversarial examples of one radius, or of the radii in a table.

    Source: Madry et al. 2018 (arXiv 1706.06083), eq. 2.1.

    Example:
        >>> from iaat.methods import PGDAT, PGDATConfig
        >>> method = PGDAT(PGDATConfig(steps=5), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=6, backward=6)
    """

    Config: ClassVar[type[Any]] = PGDATConfig
    config: PGDATConfig

    def __init__(self, config: PGDATConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        self._size, self._device = size, device
        self._table: RadiiTable | None = None
        """Radii of the file, until the first step shuffles them by its seed."""
        self._fixed: Tensor | None = None

    def begin(self) -> None:
        """Read the file of fixed radii: what becomes of the file later is nothing to the run.

        Without this call it is read at the first step, or not at all where `load_state_dict` gives the radii.

        Raises:
            UserError: there is no such file, it is no table of radii, or one of other data or of another norm.
        """
        if self.config.radii is None:
            return
        table = RadiiTable.read(self.config.radii)
        table.check_norm("method.radii", self.config.norm)
        table.check_size(self._size)
        self._table = table

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """The radius of the settings, or those of the table, `[B]`."""
        if self.config.radii is None:
            return uniform_radii(batch, self.config.radius)
        if self._fixed is None:  # the first step
            table = self._read_table()
            if self.config.shuffle_radii:
                table = table.shuffled(0 if context.generator is None else context.generator.initial_seed())
            self._fixed, self._table = table.dense(self._size, self.config.radius).to(self._device), None
        return self._fixed[batch.index]

    def _read_table(self) -> RadiiTable:
        if self._table is None:
            self.begin()
        assert self._table is not None
        return self._table

    def _check_first(self, batch: Batch) -> None:
        if self.config.radii is not None and self._fixed is None:
            self._read_table().check_batch(batch.index, batch.y)

    def state_dict(self) -> dict[str, Any]:
        """The state of the guard, and the radii, so that a resumed run keeps those it began with."""
        radii: dict[str, Any] = {}
        if self._fixed is not None:
            radii["fixed"] = self._fixed
        elif self._table is not None:
            radii["table"] = {name: getattr(self._table, name) for name in _COLUMNS}
        return {**super().state_dict(), **radii}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        super().load_state_dict(state)
        self._fixed = state["fixed"].to(self._device) if "fixed" in state else None
        if "table" in state:  # older versions read the file where natural training ended
            columns = {name: state["table"][name].cpu() for name in _COLUMNS}
            self._table = RadiiTable(str(self.config.radii), **columns, norm=self.config.norm)
