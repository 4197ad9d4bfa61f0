"""Tables in the one style of the command line."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from iaat.printable import one_line, printable


class _PlainTable(Table):
    """A table whose rows are text and not markup, and whose cells are one line each."""

    def add_row(self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False) -> None:
        shown = (one_line(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, style=style, end_section=end_section)


def plain_table(title: str, caption: str | None = None) -> Table:
    """An empty table in the one style of the command line, which shows text of users as it is."""
    return _PlainTable(
        # A string would be read as markup.
        title=Text(printable(title)),
        caption=None if caption is None else Text(printable(caption), style="table.caption"),
        title_justify="left",
        caption_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
    )
