"""`Reporter`: messages and progress of a command; a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from iaat.runtime.eta import Pace, TrackedWork, WorkPart
from iaat.runtime.text import printable

if TYPE_CHECKING:
    from iaat.runtime.progress_bar import Bar

T = TypeVar("T")

TABLE_WIDTH = 160
"""Columns that tables may take where the output is no terminal and COLUMNS is not set."""

_OFTEN = 0.1
"""Seconds between two looks of the bar at a counter."""


class _Printable:
    """A rich renderable without control characters and characters that the terminal cannot show."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            text = segment.text if segment.control else printable(segment.text, encoding=console.encoding)
            yield segment._replace(text=text)


class Reporter:
    """Progress and messages of one command.

    On a terminal `track` draws a bar with rate and time left. Elsewhere it draws nothing, and a line says how far the
    work is: every `interval` seconds at first, more rarely the longer it goes on, every ten minutes at last. When quiet
    there is neither. Results are always printed. Text shows as it is: it is no markup, and what a terminal would obey
    is shown instead.

    Args:
        quiet: Only print results.
        console: Where to print; standard output by default.
        interval: Seconds between plain progress lines.

    Attributes:
        shown_notices: Notices about data shown so far, inside of `notices_once`; else None.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None, interval: float = 30.0) -> None:
        self.quiet = quiet
        self.shown_notices: set[str] | None = None
        # Off a terminal rich assumes 80 columns, which costs the tables some.
        known = sys.stdout.isatty() or "COLUMNS" in os.environ
        self.console = console or Console(highlight=False, emoji=False, width=None if known else TABLE_WIDTH)
        self._pace = Pace(interval)
        self._parts: list[WorkPart] = []
        self._shown: list[TrackedWork] = []
        self._bar: Bar | None = None
        self._said_once: set[str] = set()

    def say(self, text: str) -> None:
        """Print a message; nothing when quiet."""
        if not self.quiet:
            self._print_text(text)

    def say_once(self, text: str) -> None:
        """Print a message, which is prose, unless it has been printed; nothing when quiet."""
        if not self.quiet and text not in self._said_once:
            self._said_once.add(text)
            self._print_text(Text(text))

    def has_said(self, text: str) -> bool:
        """Whether `say_once` has printed this."""
        return text in self._said_once

    def result(self, text: RenderableType) -> None:
        """Print a result; also when quiet. A `Text` is prose: on a terminal its lines end between words."""
        if isinstance(text, str | Text):
            self._print_text(text)
        else:
            self.console.print(_Printable(text), markup=False, emoji=False, crop=False)

    def next_step(self, *words: str) -> None:
        """Print the command to type next; nothing when quiet."""
        self.say(f"next: {shlex.join(words)}")

    def _print_text(self, text: str | Text) -> None:
        plain, style = (text, None) if isinstance(text, str) else (text.plain, text.style)
        shown = printable(plain, encoding=self.console.encoding)
        # Commands and paths are left to the terminal, which copies them in one piece.
        soft_wrap = isinstance(text, str) or not self.console.is_terminal
        self.console.print(shown, style=style, markup=False, emoji=False, soft_wrap=soft_wrap)

    @contextmanager
    def notices_once(self) -> Iterator[None]:
        """Context in which runs on the same data show what they have to say of it once."""
        before, self.shown_notices = self.shown_notices, set()
        try:
            yield
        finally:
            self.shown_notices = before

    @contextmanager
    def part(self, what: str, number: int, of: int, span: tuple[float, float] | None = None) -> Iterator[None]:
        """Context in which tracked work is part `number`, from 1, of `of` of larger work, such as epoch 5 of 12.

        `span` is where it begins and ends, as fractions of the work around it; by default all parts are alike.
        """
        begin, end = ((number - 1) / of, number / of) if span is None else span
        before = self._parts
        self._parts = [*before, WorkPart(f"{what} {number}/{of}", begin, end)]
        try:
            yield
        finally:
            self._parts = before

    def track(
        self,
        items: Iterable[T],
        *,
        total: int,
        what: str = "",
        size: Callable[[T], int] = lambda _: 1,
        whole: bool = False,
    ) -> Iterator[T]:
        """Yield `items` while showing how many of `total` units are done, `size(item)` units each.

        Args:
            what: Name of the work, beside the parts it is in.
            whole: The work makes up the parts that it is in, so the time left is that of all of them, and the bar
                counts the whole.
        """
        if self.quiet:
            yield from items
            return
        shown = TrackedWork(what, tuple(self._parts), total, whole, time.monotonic())
        self._pace.begin(shown)
        self._shown.append(shown)
        try:
            with self._drawn(shown):
                for item in items:
                    shown.begin_item(size(item))
                    yield item
                    shown.end_item()
                    self._look()
        finally:
            self._shown.remove(shown)

    def counter(self, unit: str, most: int | None = None) -> Callable[[], None]:
        """A function that counts small steps within the item that is tracked, at no cost to speak of.

        Args:
            unit: What is counted, such as `query`.
            most: How many there are at most; None: not known.
        """
        if self.quiet or not self._shown:
            return lambda: None
        shown = self._shown[-1]
        shown.within, shown.most, shown.unit = 0, most, unit
        looked = time.monotonic()

        def count() -> None:
            nonlocal looked
            shown.within += 1
            if (now := time.monotonic()) - looked >= _OFTEN:
                looked = now
                self._look()

        return count

    def _look(self) -> None:
        """Show how far the work is, if it is time to."""
        shown = self._shown[-1]
        left = self._pace.left(shown)
        if self._bar is not None:
            self._bar.show(shown, left)
        elif not self.console.is_terminal and shown.done < shown.total and self._pace.due():
            self.say(shown.line(left))

    @contextmanager
    def _drawn(self, shown: TrackedWork) -> Iterator[None]:
        """A bar while the context is open, on a terminal; within another work that has one, none of its own."""
        if not self.console.is_terminal or self._bar is not None:
            yield
            return
        from iaat.runtime.progress_bar import Bar  # takes long to import, and most commands need none

        bar = Bar(self.console)
        bar.show(shown, None)
        with bar:
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None
