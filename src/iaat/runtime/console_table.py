"""Tables in the one style of the command line, which show every figure whole at any width.

Where a table is too wide, these are tried in turn: the parts of a cell under one another, such as an interval under its
value; some columns left out, in the order that the table states, and named below it; a block of lines a row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from iaat.runtime.text import one_line, printable

CellText = str | tuple[str, ...]
"""Text, or the parts of it that may stand under one another: `("51.53", "[36.2, 48.5]")`."""

_GAP = 2
"""Blanks between the columns of a narrow table."""

_NAME = 16
"""Columns that a name has before it is broken, where there is little room."""

_TEXT = 20
"""Columns that text has at least before a table becomes blocks."""

_NARROWEST_NOTE = 60


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        heading: What stands above it.
        justify: `right` for figures, which are never broken; `left` for text, which wraps.
        no_wrap: Text that is broken only where there is little room, such as a name.
        drop: When it is left out, 1 the first; 0: never.
    """

    heading: str
    justify: Literal["left", "right"]
    no_wrap: bool
    drop: int

    @property
    def line(self) -> str:
        """The heading in one line."""
        return self.heading.replace("\n/", "/").replace("\n", " ")

    def least(self, natural: int, *, stacked: bool) -> int:
        """The least width of the column, `natural` being that of its longest cell or word of the heading."""
        if self.justify == "right":
            return natural
        if self.no_wrap:
            return min(natural, _NAME) if stacked else natural
        return min(natural, _TEXT)


class _Layout(NamedTuple):
    """Which columns of a table are shown, and whether parts of cells stand under one another."""

    shown: Sequence[int]
    stacked: bool

    @property
    def overhead(self) -> int:
        """Columns of the terminal that no column of the table gets."""
        return _GAP * (len(self.shown) - 1) if self.stacked else 3 * len(self.shown) + 1


class PlainTable:
    """A table that is laid out when it is printed, for the width it is printed at. Cells are text and no markup.

    A title stands above it, a caption below. A table of facts and their values has no `header`.
    """

    def __init__(self, title: str, caption: str | None = None, *, header: bool = True) -> None:
        self.title, self.caption, self.header = title, caption, header
        self.columns: list[Column] = []
        self.rows: list[tuple[CellText, ...]] = []
        self._styles: list[str] = []

    def add_column(
        self, heading: str = "", *, justify: Literal["left", "right"] = "left", no_wrap: bool = False, drop: int = 0
    ) -> None:
        """Add a column; the arguments are those of `Column`."""
        self.columns.append(Column("\n".join(map(one_line, heading.split("\n"))), justify, no_wrap, drop))

    def add_row(self, *cells: CellText, style: str = "") -> None:
        """Add a row; columns that it does not reach stay empty."""
        parts = [tuple(map(one_line, (cell,) if isinstance(cell, str) else cell)) for cell in cells]
        parts += [("",)] * (len(self.columns) - len(parts))
        self.rows.append(tuple(parts))
        self._styles.append(style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if self.title:
            yield Text(printable(self.title))
        for layout in self._layouts():
            if (widths := self._widths(layout, width)) is not None:
                yield self._table(layout, widths)
                yield from self._left_out(layout, width)
                note = max(sum(widths) + layout.overhead, min(width, _NARROWEST_NOTE))
                break
        else:
            yield from self._blocks(width)
            note = width
        if self.caption:
            yield Constrain(Text(printable(self.caption), style="table.caption"), note)

    def _layouts(self) -> Iterator[_Layout]:
        """The layouts to try, the best first."""
        everything = range(len(self.columns))
        yield _Layout(everything, stacked=False)
        yield _Layout(everything, stacked=True)
        drops = {number: column.drop for number, column in enumerate(self.columns) if column.drop}
        going = sorted(drops, key=drops.__getitem__)
        for gone in range(1, len(going) + 1):
            yield _Layout([number for number in everything if number not in going[:gone]], stacked=True)

    def _widths(self, layout: _Layout, width: int) -> list[int] | None:
        """Width of each column shown; None where they do not fit."""
        natural = [self._natural(number, stacked=layout.stacked) for number in layout.shown]
        columns = [self.columns[number] for number in layout.shown]
        widths = [column.least(most, stacked=layout.stacked) for column, most in zip(columns, natural, strict=True)]
        spare = width - layout.overhead - sum(widths)
        if spare < 0:
            return None
        for place, most in enumerate(natural):
            more = min(spare, most - widths[place])
            widths[place] += more
            spare -= more
        return widths

    def _natural(self, number: int, *, stacked: bool) -> int:
        """Width of the widest line of a column, headings and cells on as many lines as they may have."""
        heading = self.columns[number].heading
        lines = (heading.split() if stacked else heading.split("\n")) if self.header else []
        for row in self.rows:
            lines += row[number] if stacked else [" ".join(row[number])]
        return max(map(cell_len, lines), default=0)

    def _table(self, layout: _Layout, widths: Sequence[int]) -> RenderableType:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_header=self.header,
            show_edge=not layout.stacked,
            pad_edge=not layout.stacked,
            padding=(0, 1, 0, 0) if layout.stacked else (0, 1),
        )
        for number, width in zip(layout.shown, widths, strict=True):
            column = self.columns[number]
            heading = _filled(column.heading, width) if layout.stacked else column.heading
            table.add_column(Text(heading), justify=column.justify, width=width, overflow="fold")
        joins = [self._join(number, width) for number, width in zip(layout.shown, widths, strict=True)]
        for row, style in zip(self.rows, self._styles, strict=True):
            cells = (join.join(row[number]) for number, join in zip(layout.shown, joins, strict=True))
            fitted = map(self._fitted, layout.shown, cells, widths)
            table.add_row(*map(Text, fitted), style=style)
        return Padding(table, (1, 0)) if layout.stacked else table

    def _join(self, number: int, width: int) -> str:
        """What stands between the parts of cells: a blank where all cells of the column fit into one line."""
        return " " if all(cell_len(" ".join(row[number])) <= width for row in self.rows) else "\n"

    def _fitted(self, number: int, cell: str, width: int) -> str:
        """Text that is too long for its column in lines, which end at a hyphen where there is one."""
        fits = self.columns[number].justify == "right" or cell_len(cell) <= width
        return cell if fits else textwrap.fill(cell, width)

    def _left_out(self, layout: _Layout, width: int) -> Iterator[RenderableType]:
        gone = [column.line for number, column in enumerate(self.columns) if number not in layout.shown]
        if gone:
            yield Constrain(Text(f"not shown in {width} columns, but in a wider terminal: {'; '.join(gone)}"), width)

    def _blocks(self, width: int) -> Iterator[RenderableType]:
        """For each row its name, and below it a line a column."""
        left = list(takewhile(lambda column: column.justify == "left", self.columns))
        names = len(left) if len(left) < len(self.columns) else 1
        longest = max((cell_len(column.line) for column in self.columns[names:]), default=0)
        first = min(longest, (width - 2 - _GAP) // 2) if self.header else 0
        for row, style in zip(self.rows, self._styles, strict=True):
            yield Text("")
            named = [" ".join(parts) for parts in row[:names]]
            further = (f", {column.line} {cell}" for column, cell in zip(self.columns[1:], named[1:], strict=False))
            if named:
                yield Text("".join((*named[:1], *further)), style=style or "bold", overflow="fold")
            block = Table.grid(padding=(0, _GAP, 0, 0))
            second = width - 2 - (first + _GAP if self.header else 0)
            for wide in (first, second) if self.header else (second,):
                block.add_column(width=wide, overflow="fold")
            for column, parts in zip(self.columns[names:], row[names:], strict=True):
                value = Text(_joined(parts, second))
                block.add_row(*([Text(column.line), value] if self.header else [value]))
            yield Padding(block, (0, 0, 0, 2))
        yield Text("")


def facts_table(title: str, caption: str | None = None) -> PlainTable:
    """An empty table of facts and their values, without headings; each row is a pair of texts."""
    table = PlainTable(title, caption, header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    return table


def _filled(heading: str, width: int) -> str:
    return textwrap.fill(heading.replace("\n", " "), max(width, 1), break_long_words=False, break_on_hyphens=False)


def _joined(parts: Sequence[str], width: int) -> str:
    line = " ".join(parts)
    return line if cell_len(line) <= width else "\n".join(parts)
