"""Small real image files of every format that is read, in the modes that each can hold: where the fuzzers begin."""

import io
from functools import cache
from itertools import product

import numpy as np
from PIL import Image

_FORMATS = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpeg": ("L", "RGB", "CMYK"),
    "gif": ("1", "L", "P", "RGB"),
    "bmp": ("1", "L", "P", "RGB"),
    "tiff": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    "webp": ("RGB", "RGBA"),
    "ppm": ("1", "L", "RGB", "I;16"),
}
_MORE = {
    "jpeg": ({"progressive": True}, {"comment": b"a comment", "quality": 20}),
    "tiff": ({"compression": "tiff_lzw"}, {"compression": "packbits"}, {"compression": "tiff_adobe_deflate"}),
    "webp": ({"lossless": True},),
}
SIDES = (7, 5)


@cache
def image_files() -> dict[str, bytes]:
    """File contents by a name that says format, mode and variant."""
    files = {}
    for kind, modes in _FORMATS.items():
        for mode, (variant, more) in product(modes, enumerate(({}, *_MORE.get(kind, ())))):
            files[f"{mode.replace(';', '')}-{variant}.{kind}"] = _encoded(picture(mode), kind, **more)
    frames = [picture("P").rotate(angle) for angle in (0, 90, 180)]
    for kind in ("gif", "png", "webp", "tiff"):
        files[f"frames.{kind}"] = _encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        files[f"turned-{turn}.jpeg"] = _encoded(picture("RGB"), "jpeg", exif=exif)
    return {**files, **_run_lengths()}


def picture(mode: str) -> Image.Image:
    """A picture of noise of one mode."""
    width, height = SIDES
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    if mode in ("I", "F"):
        return Image.fromarray(noise[..., 0].astype(np.int32 if mode == "I" else np.float32))
    return Image.fromarray(noise, "RGBA").convert("RGB").convert(mode)


def _encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def _run_lengths() -> dict[str, bytes]:
    """BMP with run lengths, and a text PPM: read by decoders of their own, and not written by Pillow."""
    bmp = _encoded(picture("L"), "bmp")
    header = bytearray(bmp[: int.from_bytes(bmp[10:14], "little")])
    runs = b"".join(bytes((7, grey, 0, 0)) for grey in (0, 50, 100, 150, 200)) + b"\x00\x01"

    def with_method(number: int, bits: int) -> bytes:
        header[30], header[28] = number, bits
        return bytes(header) + runs

    return {
        "runs-1.bmp": with_method(1, bits=8),
        "runs-2.bmp": with_method(2, bits=4),
        "text.ppm": b"P3\n2 2\n255\n" + b"1 2 3 " * 4,
        "text.pbm": b"P1\n2 2\n1 0 0 1\n",
        "floats.pfm": b"Pf\n1 1\n-1.0\n\x00\x00\x80?",
    }
