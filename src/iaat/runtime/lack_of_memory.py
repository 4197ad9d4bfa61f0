"""Errors of memory that is exhausted, on any device."""

from __future__ import annotations

import sys

_OF_CPU = ("not enough memory", "can't allocate memory")
"""What PyTorch says on the CPU, where its error is a plain RuntimeError."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory; PyTorch is not imported for it."""
    of_torch = getattr(sys.modules.get("torch"), "OutOfMemoryError", MemoryError)
    if isinstance(error, (MemoryError, of_torch)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_CPU)
