"""PNG files without their metadata: a damaged or large text must not cost the image."""

import struct

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
"""Chunks that decide the pixels, and the one with the camera's orientation."""


def is_png(content: bytes) -> bool:
    """Whether a file begins as a PNG."""
    return content.startswith(_SIGNATURE)


def without_metadata(content: bytes) -> bytes:
    """PNG with only the chunks that decide its pixels; other damage is left to the decoder."""
    parts, place = [_SIGNATURE], len(_SIGNATURE)
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 12 + length
        if content[place + 4 : place + 8] in _KEPT:
            parts.append(content[place:end])
        place = end
    return b"".join(parts)
