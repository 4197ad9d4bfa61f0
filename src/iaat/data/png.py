"""PNG files without what is not the picture: a text that is damaged or large must not cost the image."""

import struct
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
"""Chunks that decide the pixels, and the one with the camera's orientation."""


def is_png(file: Path | bytes) -> bool:
    """Whether a file, or what it holds, begins as a PNG does."""
    if isinstance(file, bytes):
        return file.startswith(_SIGNATURE)
    with file.open("rb") as opened:
        return opened.read(len(_SIGNATURE)) == _SIGNATURE


def without_metadata(content: bytes) -> bytes:
    """A PNG with only the chunks that decide its pixels; what is damaged beyond that is left to the decoder."""
    parts, place = [_SIGNATURE], len(_SIGNATURE)
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 12 + length
        if content[place + 4 : place + 8] in _KEPT:
            parts.append(content[place:end])
        place = end
    return b"".join(parts)
