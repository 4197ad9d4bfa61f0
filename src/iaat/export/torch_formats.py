"""Programs of PyTorch: `torch.export` and TorchScript, with the normalisation inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from iaat.export.exportable import Exportable
from iaat.export.tracing import dynamic_batch, example_of, failures_named
from iaat.models.recorded_statistics import RECORD

RECORD_FILE = f"{RECORD}.json"
"""Extra file of a program that holds the record."""


def write_pt2(exported: Exportable, file: Path) -> None:
    """Write a model as an exported program: `[N, ...]` in [0, 1] to logits `[N, classes]`, any N.

    Raises:
        UserError: its forward cannot be exported.
    """
    with failures_named("an exported program"):
        program = torch.export.export(exported.model, (example_of(exported.model),), dynamic_shapes=dynamic_batch())
        torch.export.save(program, file, extra_files={RECORD_FILE: exported.record.text()})


def read_pt2(file: Path) -> Callable[[Tensor], Tensor]:
    """The function in an exported program."""
    return torch.export.load(file).module()


def write_torchscript(exported: Exportable, file: Path) -> str | None:
    """Write a model as TorchScript: scripted, or else traced.

    Returns:
        A note where it was traced; None where it was scripted.

    Raises:
        UserError: it can be neither scripted nor traced.
    """
    note = None
    with failures_named("TorchScript"):
        try:
            program = torch.jit.script(exported.model)
        except Exception:  # TorchScript knows a part of Python alone
            program = torch.jit.trace(exported.model, example_of(exported.model))  # type: ignore[no-untyped-call]
            note = "traced, because TorchScript does not know all of its code"
        torch.jit.save(program, file, _extra_files={RECORD_FILE: exported.record.text()})
    return note


def read_torchscript(file: Path) -> Callable[[Tensor], Tensor]:
    """The function in a TorchScript file."""
    with failures_named("TorchScript"):
        return torch.jit.load(file)  # type: ignore[no-untyped-call, no-any-return]
