"""Single corruptions against closed forms, scipy, Pillow and slow walks over pixels."""

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from iaat.corruptions import SEVERITIES, corrupt
from iaat.corruptions.blur import _copied_from, disk
from iaat.corruptions.canny import edges
from iaat.corruptions.constants import constant
from iaat.corruptions.draws import Draws
from iaat.corruptions.fractal import plasma
from iaat.corruptions.resampling import streaked, zoomed
from iaat.corruptions.spatter import equalized

every_severity = pytest.mark.parametrize("severity", SEVERITIES)
every_set = pytest.mark.parametrize("constants", ["cifar", "tiny-imagenet", "imagenet"])


def random_images(batch, height, width, channels=3):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, channels, height, width), dtype=np.uint8))


def corrupted(clean, name, severity, constants="cifar"):
    return corrupt(
        clean, name=name, severity=severity, index=torch.arange(len(clean)), seed=3, constants=constants
    ).numpy()


def cut(values):
    """Levels as the published files have them."""
    return np.floor(np.clip(values, 0, 1) * 255 + 1e-3) / 255


def assert_within_a_level(actual, expected, share=1e-3):
    """Equal, but for a small share of values that rounding takes to the next level."""
    difference = np.abs(actual - cut(expected)) * 255
    assert difference.max() < 1.01
    assert (difference > 0.5).mean() <= share


# Noise


@every_set
@every_severity
def test_gaussian_noise_has_its_standard_deviation(severity, constants):
    (sigma,) = constant(constants, "gaussian_noise", severity)
    clean = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    images = corrupted(clean, "gaussian_noise", severity, constants)
    expected = cut(128 / 255 + sigma * np.random.default_rng(1).standard_normal(400_000))
    assert images.mean() == pytest.approx(expected.mean(), abs=0.005)
    assert images.std() == pytest.approx(expected.std(), rel=0.01)
    for level in (0.25, 0.4, 0.6, 0.75):
        assert (images < level).mean() == pytest.approx((expected < level).mean(), abs=0.01)


@every_set
@every_severity
def test_shot_noise_has_the_variance_of_counts(severity, constants):
    (photons,) = constant(constants, "shot_noise", severity)
    level = 51 / 255
    clean = torch.full((40, 3, 32, 32), 51, dtype=torch.uint8)
    images = corrupted(clean, "shot_noise", severity, constants)
    counts = np.random.default_rng(1).poisson(level * photons, 200_000) / photons
    expected = cut(counts)
    assert images.mean() == pytest.approx(expected.mean(), rel=0.01)
    assert images.std() == pytest.approx(expected.std(), rel=0.01)
    assert np.isin((images * 255).round(), (cut(np.arange(200) / photons) * 255).round()).all()


@every_severity
def test_impulse_noise_replaces_a_fraction_by_black_and_white(severity):
    (share,) = constant("imagenet", "impulse_noise", severity)
    images = corrupted(torch.full((40, 3, 32, 32), 100, dtype=torch.uint8), "impulse_noise", severity, "imagenet")
    assert set(np.unique((images * 255).round())) == {0, 100, 255}
    assert (images == 0).mean() == pytest.approx(share / 2, rel=0.05)
    assert (images == 1).mean() == pytest.approx(share / 2, rel=0.05)


@every_severity
def test_speckle_noise_grows_with_brightness(severity):
    (sigma,) = constant("cifar", "speckle_noise", severity)
    for level in (25, 127):
        images = corrupted(torch.full((40, 3, 32, 32), level, dtype=torch.uint8), "speckle_noise", severity)
        assert images.std() == pytest.approx(np.hypot(sigma * level / 255, 0.29 / 255), rel=0.03)
    assert corrupted(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "speckle_noise", severity).max() == 0


# Blur


@every_set
@every_severity
def test_gaussian_blur_is_that_of_scipy(severity, constants):
    (sigma,) = constant(constants, "gaussian_blur", severity)
    clean = random_images(2, 30, 40)
    expected = np.stack(
        [[ndimage.gaussian_filter(each / 255.0, sigma, mode="nearest") for each in image] for image in clean.numpy()]
    )
    assert_within_a_level(corrupted(clean, "gaussian_blur", severity, constants), expected)


@pytest.mark.parametrize(("radius", "pixels"), [(0.3, 1), (1, 5), (1.5, 9), (3, 29), (4, 49)])
def test_a_disk_covers_the_pixels_within_its_radius(radius, pixels):
    kernel = disk(radius, 0.01)  # so little softness that there is none
    assert (kernel > 0).sum() == pixels
    np.testing.assert_allclose(kernel[kernel > 0], 1 / pixels, rtol=1e-6)
    np.testing.assert_array_equal(kernel, kernel.T)
    assert disk(radius, 0.5).sum() == pytest.approx(1)


def test_the_softness_of_a_disk_is_a_gaussian_of_three_taps():
    side = np.exp(-2)  # exp(-1 / (2 * 0.5 ** 2))
    taps = np.array([side, 1, side]) / (1 + 2 * side)
    np.testing.assert_allclose(disk(0.3, 0.5), np.outer(taps, taps), rtol=1e-6)


@every_severity
def test_zoom_blur_is_the_mean_of_zooms_by_scipy(severity):
    clean = random_images(1, 32, 32)
    image = clean[0].numpy() / 255.0
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][severity - 1], 0.01)
    total = image.copy()
    for factor in factors:
        crop = int(np.ceil(32 / factor))
        top = (32 - crop) // 2
        zoom = ndimage.zoom(image[:, top : top + crop, top : top + crop], (1, factor, factor), order=1)
        trim = (zoom.shape[1] - 32) // 2
        total += zoom[:, trim : trim + 32, trim : trim + 32]
    assert_within_a_level(corrupted(clean, "zoom_blur", severity)[0], total / (len(factors) + 1))


def test_a_zoom_treats_rows_and_columns_alike_and_none_is_none():
    image = np.random.default_rng(0).random((20, 31), dtype=np.float32)
    np.testing.assert_allclose(zoomed(image, 1.7), zoomed(image.T, 1.7).T, atol=1e-6)
    np.testing.assert_array_equal(zoomed(image, 1.0), image)
    assert zoomed(np.ones((8, 8), dtype=np.float32), 4.5) == pytest.approx(1)


@pytest.mark.parametrize("degrees", [-120, -45, -10, 0, 30, 90])
def test_a_streak_is_the_weighted_sum_of_pixels_on_a_line(degrees):
    image = np.random.default_rng(0).random((2, 12, 9), dtype=np.float32)
    weights = np.exp(-(np.arange(13) ** 2) / (2 * 2.5**2))
    expected = np.zeros_like(image)
    for row in range(12):
        for column in range(9):
            for step, weight in enumerate(weights / weights.sum()):
                down = int(np.ceil(step * np.sin(np.deg2rad(degrees)) - 0.5))
                right = int(np.ceil(step * np.cos(np.deg2rad(degrees)) - 0.5))
                expected[:, row, column] += weight * image[:, np.clip(row + down, 0, 11), np.clip(column + right, 0, 8)]
    actual = streaked(image, radius=6, sigma=2.5, degrees=degrees)
    np.testing.assert_allclose(actual, expected, atol=0.51 / 255)


@pytest.mark.parametrize(("reach", "shape"), [(1, (8, 8)), (2, (12, 9)), (4, (17, 14)), (4, (8, 8))])
def test_glass_blur_copies_as_a_walk_over_the_pixels_does(reach, shape):
    height, width = shape
    moves = np.random.default_rng(0).integers(-reach, reach, (3, 2, *shape))
    for sample, source in zip(moves, _copied_from(moves, reach), strict=True):
        walked = np.arange(height * width).reshape(shape)
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                down, right = sample[:, row, column]
                walked[row, column] = walked[row + down, column + right]
        np.testing.assert_array_equal(source, walked.ravel())


# Light and colour


@every_set
@every_severity
def test_contrast_draws_towards_the_mean_of_each_channel(severity, constants):
    (factor,) = constant(constants, "contrast", severity)
    clean = random_images(2, 12, 17)
    x = clean.numpy() / 255.0
    mean = x.mean(axis=(2, 3), keepdims=True)
    assert_within_a_level(corrupted(clean, "contrast", severity, constants), mean + factor * (x - mean))


def by_colorsys(clean, change):
    """Change hue, saturation and value pixel by pixel with the standard library."""
    x = clean.numpy().transpose(0, 2, 3, 1) / 255.0
    changed = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in x.reshape(-1, 3)]
    return np.array(changed).reshape(x.shape).transpose(0, 3, 1, 2)


def with_special_colours():
    clean = random_images(1, 12, 12)
    for column, color in enumerate([(0, 0, 0), (255, 255, 255), (90, 90, 90), (255, 0, 0), (0, 255, 255), (7, 7, 0)]):
        clean[0, :, 0, column] = torch.tensor(color, dtype=torch.uint8)
    return clean


@every_set
@every_severity
def test_brightness_adds_to_the_value(severity, constants):
    (addend,) = constant(constants, "brightness", severity)
    clean = with_special_colours()
    expected = by_colorsys(clean, lambda h, s, v: (h, s, min(v + addend, 1)))
    assert_within_a_level(corrupted(clean, "brightness", severity, constants), expected, share=0.01)


@every_set
@every_severity
def test_saturate_maps_the_saturation(severity, constants):
    factor, addend = constant(constants, "saturate", severity)
    clean = with_special_colours()
    expected = by_colorsys(clean, lambda h, s, v: (h, min(s * factor + addend, 1), v))
    assert_within_a_level(corrupted(clean, "saturate", severity, constants), expected, share=0.01)


@every_severity
def test_grey_images_get_brighter_and_have_no_saturation(severity):
    (addend,) = constant("cifar", "brightness", severity)
    clean = random_images(2, 8, 8, channels=1)
    assert_within_a_level(corrupted(clean, "brightness", severity), clean.numpy() / 255.0 + addend)
    np.testing.assert_array_equal(corrupted(clean, "saturate", severity), (clean / 255).numpy())


# Weather


@every_set
def test_fog_keeps_the_brightest_value_and_hides_the_image(constants):
    clean = random_images(4, 40, 32)
    clean.clamp_(max=200)
    for severity in SEVERITIES:
        thickness, _ = constant(constants, "fog", severity)
        images = corrupted(clean, "fog", severity, constants)
        assert images.max() <= 200 / 255 + 1e-6
        # The same cloud lies on all channels: their differences only shrink.
        scale = (200 / 255) / (200 / 255 + thickness)
        difference = (images[:, 0] - images[:, 1]) - scale * (clean[:, 0].numpy() - clean[:, 1].numpy() / 1.0) / 255
        assert np.abs(difference).max() <= 1.01 / 255


def test_a_height_map_has_the_decay_it_was_given():
    draws = Draws(0, "fog", 1, range(8))
    for decay in (1.5, 3):
        clouds = plasma(draws, 32, 32, decay)
        assert clouds.min(axis=(1, 2)) == pytest.approx(0)
        assert clouds.max(axis=(1, 2)) == pytest.approx(1)
    rough, smooth = (np.abs(np.diff(plasma(draws, 32, 32, decay), axis=1)).mean() for decay in (1.2, 3))
    assert rough > 2 * smooth


def test_the_finest_noise_of_a_height_map_shrinks_by_the_square_of_the_decay():
    clouds = plasma(Draws(0, "fog", 1, range(64)), 64, 64, 2).astype(np.float64)
    deviations = []
    for step in (2, 4):  # of the centre of a square from the mean of its corners, which noise alone makes
        corners = clouds[:, ::step, ::step]
        mean = (corners[:, :-1, :-1] + corners[:, 1:, :-1] + corners[:, :-1, 1:] + corners[:, 1:, 1:]) / 4
        deviations.append((clouds[:, step // 2 :: step, step // 2 :: step][:, :-1, :-1] - mean).std())
    assert deviations[1] / deviations[0] == pytest.approx(4, rel=0.03)


@every_set
def test_snow_only_brightens_grey_places_and_falls_in_pairs(constants):
    clean = torch.full((2, 3, 32, 32), 60, dtype=torch.uint8)
    for severity in SEVERITIES:
        kept = constant(constants, "snow", severity)[6]
        images = corrupted(clean, "snow", severity, constants)
        x = 60 / 255
        ground = kept * x + (1 - kept) * (1.5 * x + 0.5)
        assert images.min() >= cut(ground) - 1e-6
        # The flakes of a flat image and of the image turned by half are the same.
        np.testing.assert_allclose(images, images[..., ::-1, ::-1], atol=1e-6)


def test_frost_mixes_image_and_texture_by_their_weights():
    dark, light = (torch.full((2, 3, 40, 40), level, dtype=torch.uint8) for level in (0, 50))
    for severity in SEVERITIES:
        image_share, frost_share = constant("cifar", "frost", severity)
        low, high = corrupted(dark, "frost", severity), corrupted(light, "frost", severity)
        assert low.max() <= frost_share + 1e-6
        assert high - low == pytest.approx(image_share * 50 / 255, abs=1.01 / 255)
        assert 0.3 < low.mean() / frost_share < 0.9
        assert low.std() / frost_share > 0.08


# Storage


@every_set
@every_severity
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(severity, constants, channels):
    (quality,) = constant(constants, "jpeg_compression", severity)
    clean = random_images(2, 24, 17, channels)
    images = corrupted(clean, "jpeg_compression", severity, constants)
    for each, image in zip(clean.numpy(), images, strict=True):
        file = io.BytesIO()
        pixels = each.transpose(1, 2, 0)
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).reshape(24, 17, channels).transpose(2, 0, 1)
        np.testing.assert_array_equal((image * 255).round(), expected)


@every_set
@every_severity
def test_pixelate_is_two_resizes_of_pillow(severity, constants):
    (factor,) = constant(constants, "pixelate", severity)
    clean = random_images(2, 24, 33)
    images = corrupted(clean, "pixelate", severity, constants)
    for each, image in zip(clean.numpy(), images, strict=True):
        picture = Image.fromarray(each.transpose(1, 2, 0))
        small = picture.resize((int(33 * factor), int(24 * factor)), Image.Resampling.BOX)
        expected = np.asarray(small.resize((33, 24), Image.Resampling.BOX)).transpose(2, 0, 1)
        np.testing.assert_array_equal((image * 255).round(), expected)


def test_an_elastic_transform_of_a_ramp_tells_where_pixels_went():
    """A ramp read at moved places has the place as its value: the moves can be measured, and are as long as said."""
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(1, 1, 64, 64).repeat(64, 1, 1, 1)
    for severity in SEVERITIES:
        length, _, corner = constant("cifar", "elastic_transform", severity)
        images = corrupted(ramp, "elastic_transform", severity)[:, 0] * 255 / 4
        moved = (images - np.arange(64))[:, 24:40, 24:40]
        bound = 64 * (2 * corner + length)
        assert np.abs(moved).max() <= bound + 1
        assert moved.mean(axis=(1, 2)).std() > 0.15 * 64 * corner


def test_the_first_elastic_transform_of_small_images_is_affine():
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(4, 1, 64, 64)
    images = corrupted(ramp, "elastic_transform", 1)[:, 0] * 255
    second = np.diff(images[:, 24:40, 24:40], n=2, axis=2)
    assert np.abs(second).max() <= 2.01  # rounding to levels alone


# Spatter


def test_edges_of_a_square_are_its_outline():
    levels = np.zeros((2, 20, 20), dtype=np.uint8)
    levels[0, 5:15, 5:15] = 200
    found = edges(levels, low=50, high=150)
    assert not found[1].any()
    assert not found[0, 8:12, 8:12].any()
    assert found[0, 8:12, 4:7].sum(axis=1).tolist() == [1, 1, 1, 1]
    assert found[0].sum() == pytest.approx(36, abs=6)


def test_weak_edges_count_where_they_reach_a_strong_one():
    levels = np.zeros((1, 20, 24), dtype=np.uint8)
    levels[0, :10, 12:] = 60  # strong: 4 * 60
    levels[0, 10:, 12:] = 30  # weak: 4 * 30, connected to it
    levels[0, :, :4] = 30  # weak, alone
    found = edges(levels, low=50, high=150)
    assert found[0, 2:18, 10:14].any(axis=1).all()
    assert not found[0, :, :8].any()


def test_equalized_counts_are_even():
    levels = np.repeat(np.array([10, 20, 30, 40, 50], dtype=np.uint8), 7).reshape(5, 7)
    assert np.unique(equalized(levels)).tolist() == [0, 64, 128, 191, 255]
    assert np.array_equal(equalized(levels[:1]), levels[:1])


@every_set
@every_severity
def test_spatter_is_water_that_adds_light_or_mud_that_hides(severity, constants):
    _, _, _, _, strength, mud = constant(constants, "spatter", severity)
    clean = torch.full((4, 3, 64, 64), 100, dtype=torch.uint8)
    levels = (corrupted(clean, "spatter", severity, constants) * 255).round()
    hit = (levels != 100).any(axis=1)
    assert 0 < hit.mean() < 0.6
    if mud:
        red, _, blue = levels.transpose(1, 0, 2, 3)[:, hit]
        assert red.min() >= 63 - 1
        assert blue.max() <= 0.2 * 100 + 0.8 * 20 + 1
    else:
        added = levels.max(axis=(2, 3)) - 100
        np.testing.assert_allclose(added[:, 2].max(), min(155, strength * 238), atol=1.01)
        np.testing.assert_allclose(added[:, 0].max(), min(155, strength * 175), atol=1.01)
        assert levels.min() >= 100
