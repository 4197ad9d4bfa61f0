"""Decoding: every kind of file becomes the 8-bit pixels it shows, or is named."""

import math
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from iaat.data.formats import FORMATS, IMAGE_SUFFIXES
from iaat.data.image import MOST_PIXELS, decode
from iaat.data.read_item import ImageSettings, stored_input
from iaat.errors import UserError

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], dtype=np.uint8)


def colour_image(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_colour_png_is_read_exactly(tmp_path: Path) -> None:
    pixels = colour_image()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = decode(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 4, 6)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)


def test_grey_is_read_as_either(tmp_path: Path) -> None:
    pixels = colour_image()[..., 0]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png", channels=1).numpy(), pixels[None])
    assert np.array_equal(decode(tmp_path / "a.png").numpy(), np.stack([pixels] * 3))


@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128, 255, 255])], ids=["opaque", "index", "bytes"])
def test_palette_gives_its_colours(tmp_path: Path, transparency: int | bytes | None) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 3]], dtype=np.uint8)).convert("P")
    image.putpalette(COLOURS.tobytes())
    extra = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **extra)
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "P"
    altered: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode(tmp_path / "a.png", background=(0, 0, 100), altered=altered)
    opacity = {None: [255] * 4, 0: [0, 255, 255, 255]}.get(transparency, list(bytes([0, 128, 255, 255])))  # type: ignore[arg-type]
    share = np.array(opacity)[:, None] / 255
    expected = COLOURS * share + np.array([0, 0, 100]) * (1 - share)
    assert np.abs(decoded.permute(1, 2, 0).reshape(4, 3).numpy() - expected).max() <= 1
    assert altered == (set() if transparency is None else {"transparent"})


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    words = np.array([[0, 128, 129, 256], [32768, 65535, 65406, 65407]], dtype=np.uint16)
    Image.fromarray(words).save(tmp_path / f"a.{suffix}")
    expected = [[round(int(word) * 255 / 65535) for word in row] for row in words]
    assert expected == [[0, 0, 1, 1], [128, 255, 254, 255]]
    assert decode(tmp_path / f"a.{suffix}", channels=1)[0].tolist() == expected
    assert decode(tmp_path / f"a.{suffix}")[2].tolist() == expected


def test_cmyk_jpeg_gives_its_colour(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.mode == "CMYK"
    difference = decode(tmp_path / "a.jpg").int() - torch.tensor([255, 0, 0]).view(3, 1, 1)
    assert difference.abs().max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (200, 10, 90)])
def test_transparent_pixels_show_the_background(
    tmp_path: Path, mode: str, channels: int, background: tuple[int, int, int]
) -> None:
    grey = np.where(np.arange(24).reshape(4, 6) % 2, 250, 0).astype(np.uint8)
    opacity = np.repeat(np.array([[0], [100], [200], [255]], dtype=np.uint8), 6, axis=1)
    image = Image.fromarray(grey).convert(mode)
    image.putalpha(Image.fromarray(opacity))
    image.save(tmp_path / "a.png")
    share = opacity / 255.0
    behind = background if channels == 3 else (np.dot(background, (0.299, 0.587, 0.114)),)
    expected = np.stack([grey * share + (1 - share) * level for level in behind])
    altered: set[str] = set()
    decoded = decode(tmp_path / "a.png", channels=channels, background=background, altered=altered)  # type: ignore[arg-type]
    assert np.abs(decoded.numpy() - expected).max() <= 1.5
    assert altered == ({"transparent", "grey"} if channels == 1 and mode == "RGBA" else {"transparent"})


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    pixels = colour_image()
    image = Image.fromarray(pixels)
    image.putalpha(255)
    image.save(tmp_path / "a.png")
    altered: set[str] = set()
    assert np.array_equal(decode(tmp_path / "a.png", altered=altered).permute(1, 2, 0).numpy(), pixels)
    assert altered == set()


def test_a_transparent_colour_of_a_plain_image_shows_the_background(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[9, 8, 7], [1, 2, 3]]], dtype=np.uint8)).save(tmp_path / "a.png", transparency=(9, 8, 7))
    assert decode(tmp_path / "a.png")[:, 0].T.tolist() == [[255, 255, 255], [1, 2, 3]]
    words = np.array([[600, 65535]], dtype=np.uint16)
    Image.fromarray(words).save(tmp_path / "b.png", transparency=600)
    assert decode(tmp_path / "b.png", channels=1, background=(7, 7, 7))[0].tolist() == [[7, 255]]


def test_a_bilevel_image_has_two_levels(tmp_path: Path) -> None:
    grey = np.where(np.arange(24).reshape(4, 6) % 2, 255, 0).astype(np.uint8)
    Image.fromarray(grey).convert("1").save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png").numpy(), np.stack([grey] * 3))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_range_of_levels_is_a_key_and_few_levels_are_noticed(tmp_path: Path, suffix: str) -> None:
    words = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)  # 12 bits in 16
    Image.fromarray(words).save(tmp_path / f"a.{suffix}")
    altered: set[str] = set()
    assert len(decode(tmp_path / f"a.{suffix}", channels=1, altered=altered).unique()) == 17
    assert altered == {"depth", "levels"}
    altered.clear()
    spread = decode(tmp_path / f"a.{suffix}", channels=1, max_value=4095, altered=altered)
    expected = np.array([[round(int(word) * 255 / 4095) for word in row] for row in words])
    assert np.array_equal(spread[0].numpy(), expected)
    assert altered == {"depth"}
    with pytest.raises(UserError, match=rf"a\.{suffix}: has the level 1024, outside of 0 to 1023: set data\.max_value"):
        decode(tmp_path / f"a.{suffix}", max_value=1023)


@pytest.mark.parametrize("channels", [1, 3])
def test_dark_images_are_those_of_few_levels_wherever_the_bright_pixel_is(tmp_path: Path, channels: int) -> None:
    draws = np.random.default_rng(0)
    for largest in (0, 1, 31, 32, 255):
        for _ in range(5):
            pixels = draws.integers(0, min(largest, 20) + 1, (3, 5, 3), dtype=np.uint8)
            pixels[draws.integers(3), draws.integers(5), draws.integers(3)] = largest
            pixels = pixels if channels == 3 else pixels.max(2)
            Image.fromarray(pixels).save(tmp_path / "a.png")
            altered: set[str] = set()
            decode(tmp_path / "a.png", channels=channels, altered=altered)  # type: ignore[arg-type]
            assert altered == ({"dark"} if 0 < pixels.max() < 32 else set())


def test_levels_of_8_bits_are_spread_where_they_are_few(tmp_path: Path) -> None:
    pixels = np.arange(17, dtype=np.uint8).reshape(1, 17)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    altered: set[str] = set()
    assert np.array_equal(decode(tmp_path / "a.png", channels=1, altered=altered)[0].numpy(), pixels)
    assert altered == {"dark"}
    assert decode(tmp_path / "a.png", channels=1, max_value=16)[0, 0].tolist() == [
        round(i * 255 / 16) for i in range(17)
    ]
    assert np.array_equal(decode(tmp_path / "a.png", channels=1, max_value=4095)[0].numpy(), pixels)
    with pytest.raises(UserError, match=r"a\.png: has the level 16, above 15: set data\.max_value"):
        decode(tmp_path / "a.png", max_value=15)


def colour_of_words(kind: str, words: np.ndarray) -> bytes:
    """A file of 16-bit colour `[H, W, 3]`, which Pillow cannot write."""
    height, width, _ = words.shape
    if kind == "ppm":
        return b"P6 %d %d 65535\n" % (width, height) + words.astype(">u2").tobytes()
    if kind == "png":
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in words)
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
        parts = [(name, content, zlib.crc32(name + content)) for name, content in (*chunks, (b"IEND", b""))]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
            for name, content, check in parts
        )
    pixels = words.astype("<u2").tobytes()
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 128), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(pixels))]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries)
    return head.ljust(122, b"\0") + struct.pack("<HHH", 16, 16, 16) + pixels


@pytest.mark.parametrize("kind", ["png", "tif", "ppm"])
def test_colour_of_16_bits_is_noted_and_has_no_other_range(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(colour_of_words(kind, np.array([[[4095, 0, 65535], [32768, 257, 256]]], dtype=np.uint16)))
    altered: set[str] = set()
    expected = torch.tensor([[15 if kind != "ppm" else 16, 128], [0, 1], [255, 1]], dtype=torch.uint8)
    for max_value in (None, 65535):
        assert torch.equal(decode(path, max_value=max_value, altered=altered)[:, 0], expected)
    assert altered == {"depth"}
    message = r"has levels up to 65535 in each of several channels.* data\.max_value=4095 cannot be applied"
    with pytest.raises(UserError, match=rf"a\.{kind}: {message}"):
        decode(path, max_value=4095)
    with Image.open(path) as image, pytest.raises(UserError, match=rf"item 7: {message}"):
        stored_input(image, where="item 7", images=ImageSettings(max_value=4095), altered=set())


def test_a_bilevel_image_in_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pbm").write_text("P1 2 1 0 1")
    assert decode(tmp_path / "a.pbm", channels=1, max_value=4095)[0].tolist() == [[255, 0]]


def test_numbers_without_a_range_are_read_with_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.25, 0.5]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif", channels=1, max_value=0.5)[0, 0].tolist() == [0, 128, 255]


def exif_with_a_negative_date_of_resolution() -> bytes:
    """EXIF with orientation 6 and a signed XResolution of -72 / 1, which Pillow reads and cannot write."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x011A, 10, 1, 38)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 2) + entries + bytes(4) + struct.pack("<ii", -72, 1)
    return b"Exif\0\0" + tiff


def test_damaged_metadata_costs_no_image(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 255
    upright = np.rot90(pixels, k=-1).transpose(2, 0, 1).astype(int)
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, exif=exif_with_a_negative_date_of_resolution(), quality=95)
    with Image.open(path) as image, pytest.raises(struct.error):
        ImageOps.exif_transpose(image)
    assert np.abs(decode(path).numpy().astype(int) - upright).max() <= 10
    assert np.abs(decode(path, size=8, crop=lambda width, height: (0, 0, width, height)).shape[1] - 8) == 0
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    assert decode(path).shape == (3, 16, 32)


@pytest.mark.parametrize("chunk", [b"zTXta\0\0" + zlib.compress(bytes(1 << 26)), b"pHYs\0", b"tEXt" + bytes(1 << 21)])
def test_damaged_or_large_texts_cost_no_png(tmp_path: Path, chunk: bytes) -> None:
    path, pixels = tmp_path / "a.png", colour_image()
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    part = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    for content in (whole[:33] + part + whole[33:], whole[:-12] + part + whole[-12:]):  # before and behind the pixels
        path.write_bytes(content)
        with memory_limit(1 << 29):
            assert np.array_equal(decode(path).permute(1, 2, 0).numpy(), pixels)
            assert np.array_equal(decode(content, where="a.png").permute(1, 2, 0).numpy(), pixels)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_a_file_under_another_formats_name_is_read(tmp_path: Path) -> None:
    for kind in ("AVIF", "WEBP", "JPEG2000", "GIF"):
        with (tmp_path / "a.jpg").open("wb") as file:
            Image.new("RGB", (16, 16), (90, 90, 90)).save(file, kind)
        assert (decode(tmp_path / "a.jpg").int() - 90).abs().max() <= 3


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF image"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (b"%PDF-1.7", "a PDF"),
        (b"\n<!DOCTYPE html><html>Not found", "a web page"),
        (b"<?xml version='1.0'?><svg xmlns=''/>", "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid", r"a pointer of Git LFS.*git lfs pull"),
        (bytes(128) + b"DICM" + bytes(20), "a DICOM file"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    monkeypatch.setattr("iaat.data.image.FORMATS", ("JPEG", "PNG"))  # as with a Pillow that lacks the others
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for file in (path, content):
        with pytest.raises(UserError, match=rf"a\.jpg: it is {name}.*, which is not read here: convert it to PNG"):
            decode(file, where="a.jpg")


@pytest.mark.parametrize("kind", ["gif", "png", "tiff"])
def test_further_frames_are_noticed(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), tuple(colour)) for colour in COLOURS[:3].tolist()]
    for count, expected in ((3, {"frames"}), (1, set())):
        path = tmp_path / f"{count}.{kind}"
        frames[0].save(path, save_all=count > 1, **({"append_images": frames[1:]} if count > 1 else {}))
        altered: set[str] = set()
        assert decode(path, altered=altered)[:, 0, 0].tolist() == [255, 0, 0]
        assert altered == expected


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    # Orientation 6: the stored image must be turned by 90 degrees clockwise to be upright.
    upright = np.rot90(pixels, k=-1).transpose(2, 0, 1).astype(int)
    assert upright.shape == (3, 32, 16)
    assert np.abs(decode(tmp_path / "a.jpg").numpy().astype(int) - upright).max() <= 10


def test_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), tuple(colour)) for colour in COLOURS[:3].tolist()]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (20, 20), (10, 14), (5, 5), (10, 10)])
def test_size_gives_the_centre_square(tmp_path: Path, width: int, height: int) -> None:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    # A ramp along the longer side shows which part was kept.
    ramp = np.linspace(0, 250, max(width, height)).astype(np.uint8)
    pixels[...] = (ramp[None, :, None] if width >= height else ramp[:, None, None]) * np.ones(3, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = decode(tmp_path / "a.png", size=10)
    assert image.shape == (3, 10, 10)
    assert abs(float(image.double().mean()) - 125) < 8
    longer = max(width, height) / min(width, height)
    line = image[0, 5, :] if width >= height else image[0, :, 5]
    # The square spans 1/longer of the ramp.
    assert abs(int(line[-1]) - int(line[0]) - 250 / longer) < 35


def test_size_that_is_there_already_changes_nothing(tmp_path: Path) -> None:
    Image.fromarray(colour_image(6, 6)).save(tmp_path / "a.png")
    assert torch.equal(decode(tmp_path / "a.png", size=6), decode(tmp_path / "a.png"))


def jpeg(path: Path) -> bytes:
    Image.fromarray(colour_image(64, 64)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "text png"])
def test_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "broken.jpg"
    whole = jpeg(path)
    contents = {"truncated": whole[: len(whole) // 2], "garbage": whole[::-1], "empty": b"", "text png": b"\x89PNG\r\n"}
    path.write_bytes(contents[damage])
    with pytest.raises(UserError, match=r"broken\.jpg: cannot be read as an image \(.*repair or remove the file"):
        decode(path)


def test_pixels_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((3, 3), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: .*mode F have no defined range, .* or set data\.max_value"):
        decode(tmp_path / "a.tif")


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"a\.jpg: .*4096 pixels.*: resize the image$"):
        decode(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_cannot_ask_for_more_than_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for sides in ((20_000, 20_000), (8_200, 8_200), (100_000, 1)):
        path.write_bytes(png_that_states(*sides))
        with memory_limit(1 << 30), pytest.raises(UserError, match=r"a\.png: .*pixels.*: resize the image$"):
            decode(path)
    path.write_bytes(png_that_states(8_192, 8_192))
    with memory_limit(1 << 30), pytest.raises(UserError, match=r"a\.png: cannot be read as an image"):
        decode(path)


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """So many bytes may be added to the address space of the process."""
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is not to be read here")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "png"), ("RGBA", "png"), ("CMYK", "tif"), ("I;16", "png")])
def test_the_largest_image_takes_less_than_a_gigabyte(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    # A square of a sixteenth of the pixels is an eighth of the work, and the limit a sixteenth as well.
    side = math.isqrt(MOST_PIXELS // 16)
    Image.new(mode, (side, side)).save(path, compression="tiff_lzw")
    with memory_limit((1 << 30) // 16 + (16 << 20)):
        assert decode(path).shape == (3, side, side)


def png_that_states(width: int, height: int) -> bytes:
    """A PNG of so many pixels by its header, that holds none."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("sides", [(0, 0), (0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(tmp_path: Path, sides: tuple[int, int]) -> None:
    path = tmp_path / "a.gif"
    Image.new("L", (5, 5)).save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b",") + 5
    content[6:10] = content[start : start + 4] = struct.pack("<HH", *sides)
    path.write_bytes(content)
    for size in (None, 4):
        with pytest.raises(UserError, match=r"a\.gif: "):
            decode(path, size=size)


def test_a_line_of_pixels_is_not_blown_up(tmp_path: Path) -> None:
    Image.new("L", (60_000, 1)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").shape == (3, 1, 60_000)
    with pytest.raises(UserError, match=r"a\.png: .*data\.size=224 13440000 x 224, .*crop the image, or set a smaller"):
        decode(tmp_path / "a.png", size=224)


@pytest.mark.parametrize("suffix", ["eps", "pdf", "psd", "tga", "ico", "icns", "dds", "pcx", "sgi"])
def test_other_formats_are_not_tried_whatever_the_suffix_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        if suffix == "psd":
            file.write(b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + bytes(100))
        else:
            Image.new("RGB", (16, 16)).save(file, suffix)
    with pytest.raises(UserError, match=r"a\.png: (cannot be read as an image \(it is not BMP, |it is an? )"):
        decode(path)


def test_every_suffix_that_is_listed_has_its_format() -> None:
    Image.init()
    known = {suffix: Image.EXTENSION.get(suffix, "JPEG") for suffix in IMAGE_SUFFIXES}
    assert set(known.values()) <= {*FORMATS, "TGA", "MPO"}
    assert {suffix for suffix in known if suffix not in Image.EXTENSION} <= {".jfi", ".jif", ".heic", ".heif"}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to(os.devnull)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    with pytest.raises(UserError, match=r"a\.png: is no regular file: remove it"):
        decode(path)


def test_missing_files_and_broken_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    for name in ("link.png", "missing.png"):
        with pytest.raises(UserError, match=rf"{name}: there is no such file: put it back"):
            decode(tmp_path / name)
    with pytest.raises(UserError, match=r"circle\.png: may not be read \(Too many levels"):
        decode(tmp_path / "circle.png")


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied", "a.png")

    jpeg(tmp_path / "a.jpg")
    monkeypatch.setattr("iaat.data.image.open", refuse, raising=False)
    with pytest.raises(UserError, match=r"a\.jpg: may not be read \(Permission denied\): change its permissions"):
        decode(tmp_path / "a.jpg")


def test_a_name_that_is_no_text_is_read_and_named(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be read as an image"):
        decode(path)
    Image.fromarray(colour_image()).save(path)
    assert decode(path).shape == (3, 4, 6)


def test_running_out_of_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_words: object, **_more: object) -> None:
        raise MemoryError

    jpeg(tmp_path / "a.jpg")
    monkeypatch.setattr("iaat.data.image.to_tensor", greedy)
    with pytest.raises(UserError, match=r"a\.jpg: needs more memory than there is: resize"):
        decode(tmp_path / "a.jpg")
