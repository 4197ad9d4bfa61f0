"""Safety check of pickles of `torch.save`: the names in them, before anything is unpickled."""

from __future__ import annotations

import mmap
import pickle
import pickletools
import re
import warnings
from collections.abc import Iterator
from typing import IO, cast

import torch

_ARCHIVE = b"PK\x03\x04"
_LEGACY_PICKLES = 5
"""Pickles in a file of the oldest form: a number, the version, the system, the content, the storages' keys."""

_GROWING = {"hex", "base64", "uu", "quopri", "quotedprintable", "rot13"}
_GROWING |= {f"{name}codec" for name in _GROWING}
"""Codecs that make more bytes of bytes, again and again; and the one that could spell their names."""

_MOST_IN_TUPLE = 100_000

_NEEDED = re.compile(
    r"""collections\ (OrderedDict|Counter)
    | (builtins|__builtin__)\ (set|complex)
    | _codecs\ encode
    | torch(\.\w+)*\ (?!\w+Tensor$)\w+  # of which PyTorch has a list; a tensor made by its class has any size
    """,
    re.VERBOSE,
)


def check_names(file: IO[bytes]) -> None:
    """Refuse a pickle that names more than tensors and plain values need, such as `bytearray` of any length.

    PyTorch's own list of names keeps code from being run, but some of them allocate as much memory as the file asks
    for. What was given to `torch.serialization.add_safe_globals` is accepted.

    Args:
        file: Of `torch.save`, in either form; read from its beginning.

    Raises:
        pickle.UnpicklingError: naming the first one that is not accepted, as PyTorch does, behind the word GLOBAL.
        Exception: the file is damaged, or is none of `torch.save`.
    """
    added = {
        each[1] if isinstance(each, tuple) else f"{each.__module__}.{each.__qualname__}"
        for each in torch.serialization.get_safe_globals()
    }
    for name, growing in _named(file):
        accepted = _NEEDED.fullmatch(name) or name.replace(" ", ".", 1) in added
        if not accepted or (name == "_codecs encode" and growing):
            raise pickle.UnpicklingError(f"GLOBAL {name.replace(' ', '.')}")


def _named(file: IO[bytes]) -> Iterator[tuple[str, list[str]]]:
    """Yield every name in the pickles, with the growing codecs among the texts of its pickle."""
    for each in _pickles(file):
        names, growing, tuples = [], [], _Tuples()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in a damaged name
            for operation, argument, _ in pickletools.genops(each):
                tuples.follow(operation, argument)
                if operation.name == "GLOBAL":
                    names.append(str(argument))
                elif isinstance(argument, str) and _grows(argument):
                    growing.append(argument)
        yield from ((name, growing) for name in dict.fromkeys(names))


def _pickles(file: IO[bytes]) -> Iterator[bytes | IO[bytes]]:
    """Yield the pickles in a file, as PyTorch finds them."""
    file.seek(0)
    start = file.read(len(_ARCHIVE))
    file.seek(0)
    if start == _ARCHIVE:
        # PyTorch's own reader: another one may find another record of that name.
        yield torch._C.PyTorchFileReader(file).get_record("data.pkl")
        return
    # Of a mapped file no more than there is can be read, whatever length is claimed.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _ in range(_LEGACY_PICKLES):
            yield cast("IO[bytes]", content)


def _grows(text: str) -> bool:
    return re.sub("[^a-z0-9]", "", text.lower()) in _GROWING


class _Tuples:
    """Size of each tuple that a pickle makes, with nested values counted each time they occur.

    A tuple as a key is hashed with all its content each time: one of a few bytes could take hours.
    """

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[object, int] = {}
        self._operations = 0

    def follow(self, operation: pickletools.OpcodeInfo, argument: object) -> None:
        """Take the next operation.

        Raises:
            pickle.UnpicklingError: a tuple holds far more values than the pickle has.
            IndexError: no pickle has this operation here.
        """
        self._operations += 1
        match operation.name:
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo.get(argument, 1))
            case "MARK":
                self._marks.append(len(self._stack))
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                held = 1 + sum(self._taken(self._marks.pop() if name == "TUPLE" else len(self._stack) - int(name[-1])))
                if held > max(_MOST_IN_TUPLE, self._operations):
                    raise pickle.UnpicklingError("GLOBAL builtins.tuple")
                self._stack.append(held)
            case _:
                before = operation.stack_before
                if pickletools.markobject in before:
                    self._taken(self._marks.pop())
                    before = before[: before.index(pickletools.markobject)]
                self._taken(len(self._stack) - len(before))
                self._stack += [1] * len(operation.stack_after)

    def _taken(self, start: int) -> list[int]:
        if start < 0:
            raise IndexError("a pickle takes more than there is")
        taken = self._stack[start:]
        del self._stack[start:]
        return taken
