"""Standard output and error that may be closed: the work goes on without them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class LastingStream:
    """A text stream without write errors: once it cannot be written to, output is dropped.

    `on_loss` is called then, once, with the reason, which `lost` keeps; before, it is None.
    """

    def __init__(self, stream: TextIO, on_loss: Callable[[OSError], object] = lambda _: None) -> None:
        self._stream, self._on_loss = stream, on_loss
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write, where that is possible."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, where that is possible."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        if self.lost is not None:
            return
        try:
            act()
        except OSError as error:  # a broken pipe, a full disk, a terminal that is gone
            self.lost = error
            # What is buffered must go somewhere: Python writes it when it ends, and would fail anew.
            with suppress(OSError):  # no file of the system's
                _point_to_null(self._stream.fileno())
            self._on_loss(error)


@contextmanager
def lasting_streams(on_loss: Callable[[OSError], object]) -> Iterator[LastingStream]:
    """Context with a `LastingStream` as standard output and error, also where they were closed before; gives the first.

    `on_loss` is called where standard output can be written to no more.
    """
    for number in range(3):  # else the next file that is opened is taken for one of them
        try:
            os.fstat(number)
        except OSError:
            _point_to_null(number)
    old = sys.stdout, sys.stderr
    # Of a descriptor that was closed Python has None.
    out, err = [stream or os.fdopen(number, "w", encoding="utf-8") for number, stream in enumerate(old, start=1)]
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):  # an encoding that lacks a letter must not end the work either
            stream.reconfigure(errors="backslashreplace")
    lasting = LastingStream(out, on_loss), LastingStream(err)
    sys.stdout, sys.stderr = (cast("TextIO", stream) for stream in lasting)
    try:
        yield lasting[0]
    finally:
        for stream in lasting:
            stream.flush()
        sys.stdout, sys.stderr = old


def _point_to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
