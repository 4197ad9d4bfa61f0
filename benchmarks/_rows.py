"""Candidates of a comparison: what runs, what it is compared with, and why it may not run here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from _measure import NOT_INSTALLED, Spread, Timing, compare, passes_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from iaat.errors import UserError
from iaat.runtime.passes import Passes


@dataclass(slots=True)
class Row:
    """One candidate.

    Attributes:
        name: What people read, unique together with `precision`.
        precision: `fp32` or `bf16`.
        make: Builds what is timed; raises where it cannot.
        model: What its passes are counted on.
        samples: Samples of one call.
        floor: Key of the bare passes it is compared with, if any.
        note: Why it did not run, or what to know of it.
        facts: More plain values for the result file.
        countable: False where hooks would change what runs.
        flops: Floating point operations of one call, a multiplication and an addition being two; counted where None.
    """

    name: str
    precision: str
    make: Callable[[], Callable[[], object]]
    model: nn.Module
    samples: int
    floor: str | None = None
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    countable: bool = True
    flops: float | None = None
    passes: Passes | None = None
    timing: Timing | None = None

    @property
    def key(self) -> str:
        """Name and precision."""
        return key_of(self.name, self.precision)


def key_of(name: str, precision: str) -> str:
    """What identifies a row."""
    return f"{name} ({precision})"


def measure(rows: Sequence[Row], *, rounds: int, device: torch.device, only: str, keep: Sequence[str]) -> list[Row]:
    """Count the passes of each row, then time them all in turns; a row that cannot run says why and is not timed.

    Args:
        rows: Candidates.
        rounds: Timed rounds.
        device: Where they run.
        only: Regular expression for the keys wanted; all where empty.
        keep: Keys measured whatever `only` says, being references.

    Returns:
        The rows wanted.
    """
    rows = [row for row in rows if row.key in keep or re.search(only, row.key)]
    work = {}
    for row in rows:
        try:
            run = row.make()
            row.passes = _counted(row, run)
        except ModuleNotFoundError as error:
            row.note = NOT_INSTALLED if _is_peer(error) else f"failed: {error}"
        except Exception as error:  # a peer, a compiler or an option that this machine or version lacks
            text = str(error).strip().splitlines() or [type(error).__name__]
            row.note = f"{'not offered' if isinstance(error, UserError) else 'failed'}: {text[0]}"
        else:
            work[row.key] = run
    # Counting has been the warm-up of each of them.
    timings = {timing.name: timing for timing in compare(work, rounds=rounds, device=device, warmup=0)}
    for row in rows:
        row.timing = timings.get(row.key)
    return rows


def _counted(row: Row, run: Callable[[], object]) -> Passes | None:
    if not row.countable:
        run()
        return None
    with FlopCounter() as counter:
        passes = passes_of(row.model, run, row.samples)
    row.flops = counter.total
    return passes


def counted_flops(run: Callable[[], object]) -> float:
    """Floating point operations of one call, a multiplication and an addition being two."""
    with FlopCounter() as counter:
        run()
    return counter.total


class FlopCounter(TorchDispatchMode):
    """Counts operations by PyTorch's formulas; its own counter also follows modules, which fails in autograd.grad."""

    total = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call the operation, and add what its formula gives; operations without one are element by element."""
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


_PEAK = "matrix multiplication"
_SIDE = 2048
"""Rows and columns of the matrices that the peak is measured on."""


def peak_row(model: nn.Module, precision: str, device: torch.device) -> Row:
    """The fastest that the processor multiplies: two large square matrices."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    matrices = torch.full((2, _SIDE, _SIDE), 0.5, dtype=kind, device=device)
    row = Row(_PEAK, precision, lambda: lambda: torch.mm(*matrices), model, 1, countable=False)
    row.flops = 2 * _SIDE**3
    return row


def share_of_peak(rows: Sequence[Row], row: Row) -> Spread | None:
    """Operations a second of a row as a fraction of the peak's of its precision; None where one was not timed."""
    timed, peak_key = by_key(rows), key_of(_PEAK, row.precision)
    if row.key not in timed or peak_key not in timed or not row.flops:
        return None
    peak = timed[peak_key]
    assert peak.flops is not None
    share = _timing(peak).ratio(_timing(row))
    return Spread(*(row.flops / peak.flops * each for each in (share.median, share.low, share.high)))


def _is_peer(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in {"torchattacks", "foolbox", "adv_lib", "art", "visdom", "eagerpy"}


def by_key(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows that were timed."""
    return {row.key: row for row in rows if row.timing is not None}


def ratio(rows: Sequence[Row], top: str, bottom: str) -> Spread | None:
    """How many times as long `top` takes as `bottom`; None where one of them was not timed."""
    timed = by_key(rows)
    if top not in timed or bottom not in timed:
        return None
    return _timing(timed[top]).ratio(_timing(timed[bottom]))


def fastest(rows: Sequence[Row], keys: Sequence[str]) -> str | None:
    """The key of smallest median among `keys`; None where none was timed."""
    timed = by_key(rows)
    found = [key for key in keys if key in timed]
    return min(found, key=lambda key: _timing(timed[key]).spread.median, default=None)


def record(row: Row, ratios: dict[str, Spread | None]) -> dict[str, Any]:
    """A row for the result file."""
    values: dict[str, Any] = {"name": row.name, "precision": row.precision, "note": row.note, **row.facts}
    if row.passes is not None:
        values["passes"] = {"forward": row.passes.forward, "backward": row.passes.backward}
    if row.flops:
        values["flops"] = row.flops
    if row.timing is not None:
        values["seconds"] = list(row.timing.seconds)
        values["median_s"] = row.timing.spread.median
    for name, spread in ratios.items():
        if spread is not None:
            values[name] = {"median": spread.median, "low": spread.low, "high": spread.high}
    return values


def cells(row: Row, ratios: dict[str, Spread | None]) -> list[str]:
    """A row for the table: name, precision, passes, milliseconds or why there are none, ratios."""
    passes = "" if row.passes is None else f"{row.passes.forward:.4g}F {row.passes.backward:.4g}B"
    time = row.note.partition(":")[0] if row.timing is None else f"{1000 * row.timing.spread.median:.1f}"
    shown = ["" if each is None else f"{each.median:.3f} [{each.low:.2f}, {each.high:.2f}]" for each in ratios.values()]
    return [row.name, row.precision, passes, time, *shown]


def notes(rows: Sequence[Row]) -> list[str]:
    """What is to be said of rows below the table."""
    return [f"{row.key}: {row.note}" for row in rows if row.note]


def _timing(row: Row) -> Timing:
    assert row.timing is not None
    return row.timing
