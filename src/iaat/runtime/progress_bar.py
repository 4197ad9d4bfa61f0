"""The live bar of long work on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from iaat.runtime.eta import TrackedWork, time_left
from iaat.runtime.text import one_line

_WIDE = 80
"""Columns of a terminal from which on the bar itself and the rate are shown beside the figures."""


def _text(name: str, style: str = "none") -> TextColumn:
    # Broken into lines where there is no room for it, and never cut.
    column = Column(no_wrap=False, overflow="fold")
    return TextColumn(f"{{task.fields[{name}]}}", style=style, markup=False, table_column=column)


class Bar(Progress):
    """A bar with name, counts, rate and time left, gone when its context is left."""

    def __init__(self, console: Console) -> None:
        what, counts = _text("what"), _text("counts")
        rate, left = _text("rate", "progress.data.speed"), _text("left", "progress.remaining")
        wide = console.width >= _WIDE
        columns = (what, BarColumn(), counts, rate, left) if wide else (what, counts, left)
        super().__init__(*columns, console=console, transient=True)
        self._task = self.add_task("", total=1.0, what="", counts="", rate="", left="")

    def show(self, shown: TrackedWork, left: float | None) -> None:
        """Draw how far the work is, at the next moment the terminal is drawn."""
        name = one_line(shown.name, encoding=self.console.encoding)
        self.update(
            self._task,
            completed=shown.fraction,
            what=name,
            counts=shown.counts,
            rate=shown.rate,
            left=time_left(left),
        )
