"""What long work shows: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from iaat.printable import one_line, printable

T = TypeVar("T")

TABLE_WIDTH = 140
"""Columns that tables may take where the output is no terminal and COLUMNS is not set."""


class _Printable:
    """Anything that rich renders, with what a terminal would obey or cannot show replaced."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            text = segment.text if segment.control else printable(segment.text, encoding=console.encoding)
            yield segment._replace(text=text)


class Reporter:
    """Progress and messages of one command.

    On a terminal `track` draws a bar with rate and time left. Elsewhere, or when quiet, it draws nothing, and a line
    says every `interval` seconds how far the work is (never when quiet). Results are always printed. Text shows as it
    is: it is no markup, and what a terminal would obey is shown instead.

    Args:
        quiet: Only print results.
        console: Where to print; standard output by default.
        interval: Seconds between plain progress lines.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None, interval: float = 30.0) -> None:
        self.quiet = quiet
        # Off a terminal rich assumes 80 columns, which costs the tables some.
        known = sys.stdout.isatty() or "COLUMNS" in os.environ
        self.console = console or Console(highlight=False, emoji=False, width=None if known else TABLE_WIDTH)
        self.interval = interval

    def say(self, text: str) -> None:
        """A message on the way; nothing when quiet."""
        if not self.quiet:
            self._print_text(text)

    def result(self, text: RenderableType) -> None:
        """What the command was run for; always printed."""
        if isinstance(text, str | Text):
            self._print_text(text)
        else:
            self.console.print(_Printable(text), markup=False, emoji=False, crop=False)

    def next_step(self, *words: str) -> None:
        """The command to type next, as the last line; nothing when quiet."""
        self.say(f"next: {shlex.join(words)}")

    def _print_text(self, text: str | Text) -> None:
        plain, style = (text, None) if isinstance(text, str) else (text.plain, text.style)
        shown = printable(plain, encoding=self.console.encoding)
        self.console.print(shown, style=style, markup=False, emoji=False, soft_wrap=True)

    def track(
        self, items: Iterable[T], *, total: int, what: str, size: Callable[[T], int] = lambda _: 1
    ) -> Iterator[T]:
        """Yield `items` while showing how many of `total` units are done, `size(item)` units each."""
        if self.quiet:
            yield from items
        elif self.console.is_terminal:
            yield from self._bar(items, total, what, size)
        else:
            yield from self._lines(items, total, what, size)

    def _bar(self, items: Iterable[T], total: int, what: str, size: Callable[[T], int]) -> Iterator[T]:
        from iaat.progress_bar import progress_bar  # takes long to import, and most commands need none

        with progress_bar(self.console) as progress:
            task = progress.add_task(one_line(what, encoding=self.console.encoding), total=total)
            for item in items:
                yield item
                progress.advance(task, size(item))

    def _lines(self, items: Iterable[T], total: int, what: str, size: Callable[[T], int]) -> Iterator[T]:
        begun = said = time.monotonic()
        done = 0
        for item in items:
            yield item
            done += size(item)
            now = time.monotonic()
            if now - said >= self.interval and done < total:
                rate = done / (now - begun)
                self.say(f"{what}: {done}/{total}, {rate:.0f}/s, {(total - done) / rate:.0f} s left")
                said = now
