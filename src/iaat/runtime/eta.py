"""Progress of long work and the time that is left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from iaat.runtime.text import format_duration

_LONGEST_PAUSE = 600.0
_SHARE = 20
"""A plain line may come after a twentieth of the time so far."""


class WorkPart(NamedTuple):
    """A part of larger work: its name, and where it begins and ends as fractions of that work."""

    name: str
    begin: float
    end: float


@dataclass(slots=True, eq=False)
class TrackedWork:
    """Tracked work with its progress.

    Attributes:
        what: Its name.
        parts: What it is in, the outermost first.
        total: Units of all of it.
        whole: Whether it makes up the parts it is in.
        begun: When it began, on the clock that only goes forward.
        done: Units that are finished.
        item: Units of the item that is worked on.
        within: Small steps taken within the item.
        most: How many there are at most; None: not known.
        unit: What they are called.
    """

    what: str
    parts: tuple[WorkPart, ...]
    total: int
    whole: bool
    begun: float
    done: int = 0
    item: int = 0
    within: int = 0
    most: int | None = None
    unit: str = ""

    def begin_item(self, size: int) -> None:
        """Begin an item of so many units."""
        self.item, self.within, self.most, self.unit = size, 0, None, ""

    def end_item(self) -> None:
        """The item is finished."""
        self.done += self.item
        self.begin_item(0)

    @property
    def fraction(self) -> float:
        """Fraction that is done, of the larger work where this work makes it up."""
        inner = 1.0
        if self.total:
            started = min(self.within / self.most, 1.0) if self.most else 0.0
            inner = (self.done + started * self.item) / self.total
        for part in reversed(self.parts if self.whole else ()):
            inner = part.begin + inner * (part.end - part.begin)
        return inner

    @property
    def name(self) -> str:
        """What is worked on, such as `run 3/6, epoch 5/12`."""
        return ", ".join([*(part.name for part in self.parts), *([self.what] if self.what else [])])

    @property
    def counts(self) -> str:
        """What is done of it, such as `128/1000, query 1,204/5,003`."""
        of = "" if self.most is None else f"/{self.most:,}"
        return f"{self.done}/{self.total}" + (f", {self.unit} {self.within:,}{of}" if self.within else "")

    @property
    def rate(self) -> str:
        """Units a second."""
        seconds = time.monotonic() - self.begun
        return f"{self.done / seconds:.0f}/s" if self.done and seconds > 0 else ""

    def line(self, left: float | None) -> str:
        """All of it in one line."""
        return ", ".join(filter(None, (f"{self.name}: {self.counts}", self.rate, time_left(left))))


def time_left(seconds: float | None) -> str:
    """Such as `14 min left`; nothing where it is not known."""
    return "" if seconds is None else f"{format_duration(round(seconds))} left"


class Pace:
    """Decides when plain progress lines are due, at first every `interval` seconds, and estimates the time left."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._begun = self._said = time.monotonic()
        self._origin: tuple[float, float] | None = None
        """When the first work that makes up larger work began, and the fraction that was done then."""

    def begin(self, shown: TrackedWork) -> None:
        """Record the beginning of work."""
        if shown.whole and self._origin is None:
            self._origin = shown.begun, shown.fraction

    def left(self, shown: TrackedWork) -> float | None:
        """Estimated seconds left; None where nothing is known."""
        begun, before = (shown.begun, 0.0) if not shown.whole or self._origin is None else self._origin
        gained = shown.fraction - before
        return None if gained <= 0 else (time.monotonic() - begun) * (1 - shown.fraction) / gained

    def due(self) -> bool:
        """Whether it is time for a plain line; if so, it counts as written."""
        now = time.monotonic()
        longer = min((now - self._begun) / _SHARE, _LONGEST_PAUSE)
        if now - self._said < (max(self._interval, longer) if self._interval else 0.0):
            return False
        self._said = now
        return True
