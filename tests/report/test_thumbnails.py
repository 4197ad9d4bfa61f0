"""Thumbnails decoded again by Pillow are what went in."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from iaat.data import InMemorySource
from iaat.errors import UserError
from iaat.report import thumbnails
from iaat.report.thumbnails import (
    as_bytes,
    perturbation_picture,
    picture_uri,
    shrink,
    source_sprites,
    sprites,
    why_no_picture,
)


def noise(count, channels, height, width):
    return np.random.default_rng(0).integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def file_of(uri):
    """The picture of a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def decoded(uri):
    """A picture as `[C, H, W]`."""
    pixels = np.array(Image.open(io.BytesIO(file_of(uri))))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def cut_out(packed, number, channels):
    sheet, place = divmod(number, packed.columns * packed.rows)
    row, column = divmod(place, packed.columns)
    x, y = column * packed.width, row * packed.height
    return decoded(packed.sheets[sheet])[:channels, y : y + packed.height, x : x + packed.width]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "height", "width"), [(1, 8, 8), (7, 32, 32), (5, 64, 17), (3, 1, 5)])
def test_sprites_hold_every_image_to_the_last_bit(count, height, width, channels):
    images = noise(count, channels, height, width)
    packed = sprites(images)
    assert (packed.height, packed.width) == (height, width)
    for number, image in enumerate(images):
        assert np.array_equal(cut_out(packed, number, channels), image)


@pytest.mark.parametrize("count", [1, 11, 12, 13, 24, 25])
def test_images_beyond_a_sheet_go_on_the_next(count, monkeypatch):
    monkeypatch.setattr(thumbnails, "_SHEET_SIDE", 70)  # 4 columns of 16 px, 3 rows of 20 px
    images = noise(count, 3, 20, 16)
    packed = sprites(images, side=20)
    assert len(packed.sheets) == -(-count // 12)
    assert all(max(decoded(sheet).shape) <= 70 for sheet in packed.sheets)
    assert all(np.array_equal(cut_out(packed, number, 3), images[number]) for number in range(count))


@pytest.mark.parametrize("webp", [True, False])
def test_the_smaller_lossless_format_is_taken(webp, monkeypatch):
    monkeypatch.setattr(thumbnails, "_WEBP", webp)
    ramp = np.linspace(0, 255, 64 * 64).reshape(1, 1, 64, 64).astype(np.uint8)
    for images in (noise(4, 3, 32, 32), ramp):
        packed = sprites(images)
        for sheet in packed.sheets:
            assert sheet.startswith("data:image/png;base64," if not webp else "data:image/")
            png = io.BytesIO()
            Image.open(io.BytesIO(file_of(sheet))).save(png, "PNG", optimize=True)
            assert len(file_of(sheet)) <= len(png.getvalue())


def test_sheets_above_the_budget_lose_detail_but_not_the_picture():
    across = np.linspace(0, 1, 48)
    smooth = 0.5 + 0.4 * np.sin(6 * across[:, None] + np.arange(12)[:, None, None, None]) * np.cos(9 * across)
    images = np.broadcast_to(smooth, (12, 3, 48, 48))
    exact = sprites(images)
    budget = sum(map(len, exact.sheets)) // 2
    packed = sprites(images, budget=budget)
    assert sum(map(len, packed.sheets)) <= budget
    assert all(np.array_equal(cut_out(exact, n, 3), as_bytes(images[n])) for n in range(12))
    error = [np.abs(cut_out(packed, n, 3).astype(int) - as_bytes(images[n])).mean() for n in range(12)]
    assert max(error) < 3


def test_floats_are_rounded_to_the_nearest_level():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    for off in (-0.4, 0.0, 0.4):
        for floats in ((levels + off) / 255, torch.tensor((levels + off) / 255, dtype=torch.float32)):
            assert np.array_equal(as_bytes(floats), levels)
    assert as_bytes(torch.tensor([-1.0, 2.0, torch.nan, torch.inf])).tolist() == [0, 255, 0, 255]
    assert as_bytes(np.float32([[0.5]])).dtype == np.uint8


@pytest.mark.parametrize(("shape", "small"), [((96, 96), (64, 64)), ((128, 64), (64, 32)), ((50, 200), (16, 64))])
def test_large_images_are_scaled_down_and_keep_their_shape(shape, small):
    images = np.full((2, 3, *shape), 77, dtype=np.uint8)
    images[1, :, :, : shape[1] // 2] = 200
    shrunk = shrink(images)
    assert shrunk.shape == (2, 3, *small)
    assert (shrunk[0] == 77).all()
    assert (shrunk[1, :, :, 0] == 200).all()
    assert (shrunk[1, :, :, -1] == 77).all()
    assert abs(float(shrunk[1].mean()) - float(images[1].mean())) < 1


def test_scaling_averages_instead_of_picking_pixels():
    checkers = np.indices((128, 128)).sum(0) % 2 * 255
    shrunk = shrink(checkers[None, None].astype(np.uint8))
    assert np.abs(shrunk.astype(int) - 128).max() <= 3  # a little more at the border, where the filter is cut


@pytest.mark.parametrize("shape", [(13,), (2, 8, 8), (4, 8, 8), (8, 8), (3, 8, 8, 8), (3, 0, 8), ()])
def test_inputs_that_are_no_images_are_refused_with_a_reason(shape):
    assert str(list(shape)) in why_no_picture(shape)
    assert sprites(np.zeros((2, *shape), dtype=np.float32)).sheets == ()
    with pytest.raises(UserError, match="are not drawn"):
        picture_uri(np.zeros(shape, dtype=np.float32))


def test_images_have_no_reason_against_them():
    assert why_no_picture((1, 8, 8)) is None
    assert why_no_picture(torch.Size([3, 224, 160])) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_single_image_is_a_png_that_decodes_to_it(channels):
    (image,) = noise(1, channels, 9, 5)
    uri = picture_uri(image)
    assert uri.startswith("data:image/png;base64,")
    assert np.array_equal(decoded(uri), image)


def test_samples_of_a_source_are_packed_in_the_order_asked_for(monkeypatch):
    monkeypatch.setattr(thumbnails, "_AT_ONCE", 2)
    images = noise(30, 3, 8, 8)
    source = InMemorySource(torch.from_numpy(images), torch.arange(30) % 2, ("a", "b"))
    packed = source_sprites(source, torch.tensor([20, 3, 7]))
    for number, index in enumerate((20, 3, 7)):
        assert np.array_equal(cut_out(packed, number, 3), images[index])
    assert source_sprites(source, torch.tensor([], dtype=torch.int64)).sheets == ()
    vectors = InMemorySource(torch.rand(30, 4), torch.arange(30) % 2, ("a", "b"))
    assert source_sprites(vectors, torch.tensor([1])).sheets == ()


def test_no_images_make_no_sheets():
    assert sprites(np.zeros((0, 3, 8, 8), dtype=np.uint8)).sheets == ()


@pytest.mark.parametrize("side", [0, -1, 4096])
def test_a_side_no_sheet_holds_is_refused(side):
    with pytest.raises(UserError, match=f"side = {side}"):
        sprites(noise(1, 3, 8, 8), side=side)


def test_integers_other_than_bytes_are_refused():
    with pytest.raises(UserError, match="int64"):
        sprites(np.zeros((1, 3, 8, 8), dtype=np.int64))


@pytest.mark.parametrize("most", [1e-40, 1e-6, 8 / 255, 1.0])
def test_a_perturbation_fills_the_contrast_around_grey(most):
    delta = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).reshape(1, 1, 5) * most
    picture, factor = perturbation_picture(delta)
    assert picture.tolist() == [[[0, 64, 128, 191, 255]]]
    assert factor == pytest.approx(0.5 / most, rel=1e-3)


def test_one_sided_and_absent_perturbations_keep_grey_as_zero():
    picture, factor = perturbation_picture(np.float32([[[0.0, 0.25]]]))
    assert (picture.tolist(), factor) == ([[[128, 255]]], 2.0)
    picture, factor = perturbation_picture(torch.zeros(3, 2, 2))
    assert (set(picture.flatten().tolist()), factor) == ({128}, 1.0)
    assert perturbation_picture(torch.tensor([[[torch.nan, 0.1]]]))[0].tolist() == [[[128, 255]]]


def test_read_only_arrays_are_left_as_they_are():
    images = noise(2, 3, 8, 8)
    images.setflags(write=False)
    assert np.array_equal(cut_out(sprites(images), 1, 3), images[1])
    assert np.array_equal(shrink(torch.from_numpy(images.copy())), images)
