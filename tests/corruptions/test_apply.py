"""What every corruption owes its caller: range, levels, shape, and draws that belong to the sample."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage

from iaat.corruptions import CORRUPTIONS, EXTRA, SEVERITIES, STANDARD, corrupt
from iaat.corruptions.apply import RULES
from iaat.corruptions.constants import constant, constant_set
from iaat.errors import UserError

every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)
RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
    "elastic_transform", "speckle_noise", "spatter",
}  # fmt: skip


def pictures(batch, channels, height, width):
    """Smooth uint8 images, like photographs in that neighbouring pixels are alike."""
    noise = np.random.default_rng(0).standard_normal((batch, channels, height, width))
    smooth = ndimage.gaussian_filter(noise, 2, axes=(2, 3))
    levels = 128 + 60 * smooth / smooth.std()
    return torch.from_numpy(levels.clip(0, 255).astype(np.uint8))


def test_there_are_15_and_4_of_them_with_a_rule_each():
    assert (len(STANDARD), len(EXTRA), len(set(CORRUPTIONS))) == (15, 4, 19)
    assert tuple(RULES) == CORRUPTIONS


@every_corruption
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 8, 8), (1, 3, 96, 64), (2, 1, 9, 30)], ids=str)
def test_every_severity_gives_levels_in_range(name, shape):
    clean = pictures(*shape)
    for constants in ("cifar", "tiny-imagenet", "imagenet"):
        for severity in SEVERITIES:
            images = corrupt(
                clean, name=name, severity=severity, index=torch.arange(shape[0]), seed=0, constants=constants
            )
            assert images.shape == clean.shape
            assert images.dtype == torch.float32
            assert 0 <= images.min() <= images.max() <= 1
            assert torch.equal(images, (images * 255).round() / 255)
            # Only the saturation of a grey image leaves it as it is, and disks under a pixel leave tiny images so.
            changed = not torch.equal(images, clean / 255)
            assert changed or (name == "saturate" and shape[1] == 1) or min(shape[2:]) < 10


@every_corruption
def test_a_sample_does_not_depend_on_its_batch(name):
    clean, index = pictures(5, 3, 33, 32), torch.tensor([7, 3, 100, 0, 12])
    settings = {"name": name, "severity": 3, "seed": 1}
    whole = corrupt(clean, index=index, **settings)
    for row in range(5):
        alone = corrupt(clean[row : row + 1], index=index[row : row + 1], **settings)
        assert torch.equal(alone[0], whole[row])
    turned = corrupt(clean.flip(0), index=index.flip(0), **settings)
    assert torch.equal(turned.flip(0), whole)


@every_corruption
def test_draws_differ_by_seed_and_index_and_by_nothing_global(name):
    clean = pictures(1, 3, 32, 32).expand(2, 3, 32, 32)
    settings = {"name": name, "severity": 5}
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = corrupt(clean, index=torch.tensor([0, 1]), seed=0, **settings)
    other = corrupt(clean[:1], index=torch.tensor([0]), seed=1, **settings)[0]
    assert torch.equal(first, second) is (name not in RANDOM)
    assert torch.equal(first, other) is (name not in RANDOM)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize("constants", ["cifar", "tiny-imagenet", "imagenet"])
@pytest.mark.parametrize(
    "name",
    [
        "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "gaussian_blur", "zoom_blur",
        "brightness", "contrast", "pixelate", "jpeg_compression",
    ],
)  # fmt: skip
def test_where_the_constants_only_grow_so_does_the_distance_from_the_clean_image(name, constants):
    clean = pictures(4, 3, 64, 64)
    distances = [
        (corrupt(clean, name=name, severity=s, index=torch.arange(4), seed=0, constants=constants) - clean / 255)
        .square()
        .mean()
        .item()
        for s in SEVERITIES
    ]
    assert distances == sorted(distances)
    assert distances[-1] > 1.2 * distances[0]


@pytest.mark.parametrize("name", ["motion_blur", "snow", "frost", "fog", "glass_blur", "spatter"])
def test_the_others_are_stronger_at_the_end_than_at_the_start(name):
    clean = pictures(8, 3, 64, 64)
    low, high = (
        (corrupt(clean, name=name, severity=s, index=torch.arange(8), seed=0) - clean / 255).abs().mean()
        for s in (1, 5)
    )
    assert high > 1.2 * low


@every_corruption
def test_the_same_severity_is_stronger_by_the_constants_for_large_images(name):
    clean, distance = pictures(4, 3, 64, 64), {}
    for constants in ("cifar", "imagenet"):
        images = corrupt(clean, name=name, severity=5, index=torch.arange(4), seed=0, constants=constants)
        distance[constants] = (images - clean / 255).abs().mean()
    assert distance["imagenet"] > 1.02 * distance["cifar"]


@pytest.mark.parametrize(
    ("size", "chosen"),
    [
        ((32, 32), "cifar"),
        ((45, 300), "cifar"),
        ((46, 46), "tiny-imagenet"),
        ((64, 64), "tiny-imagenet"),
        ((119, 120), "tiny-imagenet"),
        ((120, 120), "imagenet"),
    ],
)
def test_auto_goes_by_the_shorter_side(size, chosen):
    assert constant_set("auto", *size) == constant_set("auto", *size[::-1]) == chosen
    clean = pictures(1, 3, *size)
    settings = {"name": "contrast", "severity": 2, "index": torch.tensor([0]), "seed": 0}
    assert torch.equal(corrupt(clean, **settings), corrupt(clean, constants=chosen, **settings))


def test_severities_may_be_integers_of_numpy():
    clean, settings = pictures(1, 3, 32, 32), {"name": "fog", "index": torch.tensor([0]), "seed": 0}
    assert torch.equal(corrupt(clean, severity=np.int64(2), **settings), corrupt(clean, severity=2, **settings))


def test_64_pixels_have_the_published_constants_of_their_own():
    """84 of 95 differ from those for 32 pixels; some that were looked up in make_tinyimagenet_c.py."""
    pairs = [(constant("tiny-imagenet", *each), constant("cifar", *each)) for each in product(CORRUPTIONS, SEVERITIES)]
    assert len(pairs) == 95
    assert sum(tiny != cifar for tiny, cifar in pairs) == 84
    assert constant("tiny-imagenet", "gaussian_noise", 5) == (0.18,)
    assert constant("tiny-imagenet", "defocus_blur", 4) == (2.5, 0.01)
    assert constant("tiny-imagenet", "saturate", 5) == (30, 0.2)
    assert constant("tiny-imagenet", "elastic_transform", 2) == (0.05, 0.3, 0.06)


def test_floats_and_uint8_of_the_same_image_are_the_same():
    clean = pictures(2, 3, 16, 16)
    settings = {"name": "shot_noise", "severity": 1, "index": torch.arange(2), "seed": 0}
    expected = corrupt(clean, **settings)
    assert torch.equal(corrupt(clean / 255, **settings), expected)
    assert torch.equal(corrupt(clean.double() / 255, **settings), expected)


def test_the_input_stays_as_it_was_and_an_empty_batch_comes_back_empty():
    clean = pictures(2, 3, 16, 16) / 255
    copy = clean.clone()
    for name in CORRUPTIONS:
        corrupt(clean, name=name, severity=5, index=torch.arange(2), seed=0)
        assert torch.equal(clean, copy)
        empty = corrupt(clean[:0], name=name, severity=5, index=torch.arange(0), seed=0)
        assert empty.shape == (0, 3, 16, 16)


@pytest.mark.parametrize("level", [0, 255])
@every_corruption
def test_black_and_white_images_are_no_trouble(name, level):
    clean = torch.full((1, 3, 32, 32), level, dtype=torch.uint8)
    for severity in SEVERITIES:
        images = corrupt(clean, name=name, severity=severity, index=torch.tensor([0]), seed=0)
        assert bool(images.isfinite().all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"name": "gausian_noise"}, "'gausian_noise' is not known \\(did you mean 'gaussian_noise'", id="name"
        ),
        pytest.param({"severity": 0}, "severity 0 .*1, 2, 3, 4 or 5", id="severity 0"),
        pytest.param({"severity": 6}, "severity 6", id="severity 6"),
        pytest.param({"severity": True}, "severity True", id="severity bool"),
        pytest.param({"severity": 1.0}, "severity 1.0 is not known: use 1, 2", id="severity float"),
        pytest.param({"severity": "1"}, "severity '1'", id="severity text"),
        pytest.param({"constants": "cifar10"}, "constants 'cifar10'.*cifar", id="constants"),
        pytest.param({"images": torch.zeros(2, 3, 7, 32)}, r"\[2, 3, 7, 32\].*8 x 8", id="small"),
        pytest.param({"images": torch.zeros(2, 4, 32, 32)}, r"\[2, 4, 32, 32\].*1 or 3 channels", id="channels"),
        pytest.param({"images": torch.zeros(3, 32, 32)}, r"\[3, 32, 32\].*\[B, C, H, W\]", id="no batch"),
        pytest.param({"images": torch.full((2, 3, 8, 8), 1.5)}, r"\[1.5, 1.5\].*not normalised", id="range"),
        pytest.param({"images": torch.full((2, 3, 8, 8), float("nan"))}, "nan", id="nan"),
        pytest.param({"images": torch.zeros(2, 3, 8, 8, dtype=torch.int64)}, "int64.*uint8", id="integers"),
        pytest.param({"index": torch.arange(3)}, r"index has shape \[3\].*2 images", id="length of index"),
        pytest.param({"index": torch.rand(2)}, "float32.*one integer", id="type of index"),
    ],
)
def test_mistakes_are_refused_by_name(change, message):
    settings = {
        "images": torch.zeros(2, 3, 32, 32),
        "name": "fog",
        "severity": 1,
        "index": torch.arange(2),
        "seed": 0,
        **change,
    }
    with pytest.raises(UserError, match=message):
        corrupt(settings.pop("images"), **settings)
