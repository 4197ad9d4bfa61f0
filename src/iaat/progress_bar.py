"""The live bar of long work on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from iaat.pacing import Shown, time_left
from iaat.printable import one_line


class Bar:
    """A bar with name, counts, rate and time left, gone when its context is left."""

    def __init__(self, console: Console) -> None:
        columns = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("what", "counts", "rate", "left")]
        columns[2].style, columns[3].style = "progress.data.speed", "progress.remaining"
        self._progress = Progress(columns[0], BarColumn(), *columns[1:], console=console, transient=True)
        self._task = self._progress.add_task("", total=1.0, what="", counts="", rate="", left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, shown: Shown, left: float | None) -> None:
        """Draw how far the work is, at the next moment the terminal is drawn."""
        name = one_line(shown.name, encoding=self._progress.console.encoding)
        self._progress.update(
            self._task,
            completed=shown.fraction,
            what=name,
            counts=shown.counts,
            rate=shown.rate,
            left=time_left(left),
        )
