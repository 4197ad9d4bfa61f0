"""Image formats that are read, by suffix and by content, and names for others."""

import importlib
from importlib.util import find_spec

from PIL import features

_SUFFIXES_OF = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif"),
    "PNG": (".png", ".apng"),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
    "TGA": (".tga",),
}
_NEEDS = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
"""What Pillow must have been built with."""


def _is_there(name: str) -> bool:
    if name == "HEIF":  # by a package of its own, which users may have installed
        return find_spec("pillow_heif") is not None
    return name not in _NEEDS or bool(features.check(_NEEDS[name]))


FORMATS = tuple(name for name in _SUFFIXES_OF if name != "TGA" and _is_there(name))
"""What is read, whatever the suffix says: Pillow knows some fifty more, and runs Ghostscript for one of them."""
ONLY_BY_SUFFIX = {".tga": "TGA"}
"""A format without a mark of its own, for which any bytes might be taken."""
IMAGE_SUFFIXES = frozenset(suffix for name, found in _SUFFIXES_OF.items() if _is_there(name) for suffix in found)
"""Suffixes of files that are read as images, in lower case."""
UNREAD = frozenset(
    {suffix for found in _SUFFIXES_OF.values() for suffix in found} - IMAGE_SUFFIXES
    | {".arw", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".eps", ".exr", ".hdr", ".icns", ".ico", ".jxl", ".nef", ".nii"}
    | {".orf", ".pcx", ".pfm", ".psd", ".qoi", ".raf", ".raw", ".rw2", ".sgi", ".svg", ".svs", ".xbm", ".xpm"}
)
"""Suffixes of images that are not read."""

_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypavis", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC or AVIF image"),
    (4, b"ftypmsf1", "a HEIC or AVIF image"),
    (4, b"ftyp", "a video"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"JXL ", "a JPEG XL image"),
    (4, b"jP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"DDS ", "a DDS image"),
    (0, b"qoif", "a QOI image"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"icns", "an icon"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (128, b"DICM", "a DICOM file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a pointer of Git LFS to a file that was not fetched (git lfs pull)"),
)
_TEXTS = ((b"<svg", "an SVG drawing"), (b"<!doctype html", "a web page"), (b"<html", "a web page"))
_LOOKED_AT = 512


def register_plugins() -> None:
    """Register image formats that separate packages read, such as HEIF."""
    if "HEIF" in FORMATS:
        importlib.import_module("pillow_heif").register_heif_opener()


def kind_of_file(content: bytes) -> str | None:
    """Kind of a file by its first bytes, such as "an AVIF image"; None if unknown."""
    for place, mark, name in _MARKS:
        if content[place : place + len(mark)] == mark:
            return name
    start = content[:_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((name for mark, name in _TEXTS if mark in start and start.startswith(b"<")), None)
