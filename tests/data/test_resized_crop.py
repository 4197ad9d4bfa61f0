"""Random-resized crops: torchvision's law and pixels, keyed by sample; and the two sizes of evaluation."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from iaat.data import Augmentation, DataConfig, StreamingSource, augment, build_data, read_dataset_info
from iaat.data.image import decode
from iaat.data.resized_crop import DRAWS, crop_box
from iaat.errors import UserError
from iaat.runtime.rng import derive_seed, keyed_uniform, preserved_globals

SHARE = 0.08


def draws(n: int, seed: int = 0, epoch: int = 0) -> list[list[float]]:
    return keyed_uniform(derive_seed(seed, "resized crop"), epoch, torch.arange(n), DRAWS).tolist()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Waves with some noise on them: content at every place, as in a photograph."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([128 + 90 * np.sin(x / 9 + phase) * np.cos(y / 13 - phase) for phase in range(3)], axis=-1)
    waves += np.random.default_rng(0).normal(0, 8, waves.shape)
    return Image.fromarray(waves.clip(0, 255).astype(np.uint8)).convert(mode)


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.atleast_3d(np.array(image)).transpose(2, 0, 1).copy())


@pytest.mark.parametrize(("width", "height"), [(500, 375), (60, 140)])
def test_areas_shapes_and_places_have_torchvisions_law(width: int, height: int) -> None:
    n, image = 3000, torch.empty(3, height, width)
    ours = np.array([crop_box(width, height, row, smallest=SHARE) for row in draws(n)])
    ours = np.stack([ours[:, 0], ours[:, 1], ours[:, 2] - ours[:, 0], ours[:, 3] - ours[:, 1]], axis=1)
    with preserved_globals():
        torch.manual_seed(0)
        theirs = np.array([RandomResizedCrop.get_params(image, [SHARE, 1.0], [3 / 4, 4 / 3]) for _ in range(n)])
    theirs = theirs[:, [1, 0, 3, 2]]
    for measure in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 2] / box[:, 3],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] / np.maximum(1, width - box[:, 2]),
    ):
        assert ks_2samp(measure(ours), measure(theirs)).pvalue > 1e-3
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= width).all()
    assert (ours[:, 1] + ours[:, 3] <= height).all()


@pytest.mark.parametrize(("width", "height"), [(900, 10), (10, 900), (64, 3), (4, 3), (3, 4), (1, 1)])
def test_an_image_that_no_attempt_fits_is_cut_at_its_centre_as_by_torchvision(width: int, height: int) -> None:
    # All of the area, but as wide and as high as the ratios allow: nothing but the image itself would fit.
    wide = crop_box(width, height, [1.0, 1.0] * 10 + [0.0, 0.0], smallest=1.0)
    tall = crop_box(width, height, [1.0, 0.0] * 10 + [0.0, 0.0], smallest=1.0)
    top, left, high, across = RandomResizedCrop.get_params(torch.empty(3, height, width), [4.0, 4.0], [3 / 4, 4 / 3])
    assert (left, top, left + across, top + high) in (wide, tall)
    if max(width, height) > 2 * min(width, height):
        assert wide == tall


def test_small_images_keep_a_pixel() -> None:
    for width, height in ((1, 1), (1, 7), (2, 1), (3, 3)):
        for row in draws(50):
            left, top, right, bottom = crop_box(width, height, row, smallest=SHARE)
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


@pytest.mark.parametrize("name", ["rgb.png", "grey.png", "rgb.jpg", "turned.jpg", "turned.tif", "palette.gif"])
def test_the_part_of_a_file_is_resized_as_by_torchvision(tmp_path: Path, name: str) -> None:
    mode = {"grey.png": "L", "palette.gif": "P"}.get(name, "RGB")
    exif = Image.Exif()
    exif[0x0112] = 6 if name.startswith("turned") else 1
    noise(61, 47, mode).save(tmp_path / name, **({} if name.endswith("gif") else {"exif": exif}))
    whole = F.to_pil_image(decode(tmp_path / name))
    assert whole.size == ((47, 61) if name.startswith("turned") else (61, 47))
    for row in draws(5):
        left, top, right, bottom = crop_box(*whole.size, row, smallest=SHARE)
        expected = F.resized_crop(whole, top, left, bottom - top, right - left, [20, 20], antialias=True)
        found = decode(tmp_path / name, size=20, crop=partial(crop_box, draws=row, smallest=SHARE))
        assert torch.equal(found, pixels(expected))
        content = (tmp_path / name).read_bytes()
        assert torch.equal(decode(content, size=20, crop=partial(crop_box, draws=row, smallest=SHARE)), found)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photograph_is_decoded_smaller_and_looks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    asked: list[Any] = []
    draft = JpegImagePlugin.JpegImageFile.draft
    monkeypatch.setattr(
        JpegImagePlugin.JpegImageFile, "draft", lambda image, *words: asked.append(draft(image, *words)) or asked[-1]
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise(401, 301).resize((1203, 901)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    whole = F.to_pil_image(decode(tmp_path / "a.jpg"))
    for box in ((0, 0, 801, 803), (100, 37, 900, 900), (3, 5, 870, 333)):
        left, top, right, bottom = box
        expected = F.resized_crop(whole, top, left, bottom - top, right - left, [40, 40], antialias=True)
        found = decode(tmp_path / "a.jpg", size=40, crop=lambda *_, box=box: box)
        difference = (found.int() - pixels(expected).int()).abs().double()
        assert difference.mean() < 2
        assert difference.max() < 16
    assert [scaled[1][2] for scaled in asked] == [1203 / 4, 1203 / 4, 1203 / 2]


def photographs(make_folder: Callable[..., Path]) -> Path:
    """An image folder of images of several sizes, none like another."""
    root = make_folder(per_class=12)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        noise(30 + number % 7, 24 + number % 5).rotate(number).save(path)
    return root


def data(root: Path, **settings: Any) -> Any:
    return build_data(DataConfig(name="folder", root=str(root), size=16, **settings), seed=0)


def by_index(batches: Any) -> Tensor:
    found = list(batches)
    x, index = (torch.cat([getattr(batch, name) for batch in found]) for name in ("x", "index"))
    return x[index.argsort()]


def test_training_crops_depend_on_seed_epoch_and_index_alone(make_folder: Callable[..., Path]) -> None:
    root = photographs(make_folder)
    read = data(root, resized_crop=SHARE)
    assert isinstance(read.train, StreamingSource)
    everything = torch.arange(24)
    order = list(everything[torch.randperm(24, generator=torch.Generator().manual_seed(0))].split(7))
    expected = by_index(read.train.batches(order, augment=(3, 2)))
    for index in range(24):
        with Image.open(root / read.train.paths[index]) as image:
            left, top, right, bottom = crop_box(*image.size, draws(24, 3, 2)[index], smallest=SHARE)
            part = F.resized_crop(image, top, left, bottom - top, right - left, [16, 16], antialias=True)
        assert torch.equal(expected[index], pixels(part) / 255)
    with_workers = data(root, resized_crop=SHARE, workers=2).train
    assert torch.equal(by_index(with_workers.batches([everything], augment=(3, 2))), expected)
    for batch in read.train.batches(order[2:], augment=(3, 2)):  # resumed
        assert torch.equal(batch.x, expected[batch.index])
    for key in ((3, 3), (4, 2)):
        other = by_index(read.train.batches(order, augment=key))
        assert not any(torch.equal(one, two) for one, two in zip(other, expected, strict=True))


def test_what_is_not_trained_on_is_not_cropped(make_folder: Callable[..., Path]) -> None:
    root = photographs(make_folder)
    cropped, plain = data(root, resized_crop=SHARE), data(root, stream=False)
    assert cropped.train.fingerprint == plain.train.fingerprint
    assert torch.equal(cropped.mean, plain.mean)
    assert torch.equal(cropped.std, plain.std)
    for one, two, index in (
        (cropped.train, plain.train, cropped.validation_index),
        (cropped.test, plain.test, cropped.test_index),
    ):
        assert torch.equal(by_index(one.batches([index])), by_index(two.batches([index])))


def test_what_else_is_done_to_a_batch_is_done_to_the_crops(make_folder: Callable[..., Path]) -> None:
    root = photographs(make_folder)
    index = torch.arange(24)
    (plain,) = data(root, resized_crop=SHARE).train.batches([index], augment=(0, 1))
    (both,) = data(root, resized_crop=SHARE, flip=True, color=0.4).train.batches([index], augment=(0, 1))
    how = Augmentation(flip=True, color=0.4)
    expected = augment((plain.x * 255).round().to(torch.uint8), how, index=index, seed=0, epoch=1)
    assert torch.equal((both.x * 255).round().to(torch.uint8), expected)


def test_a_damaged_image_is_named(make_folder: Callable[..., Path]) -> None:
    root = photographs(make_folder)
    (root / "train/dog/003.png").write_bytes(b"no image")
    train = data(root, resized_crop=SHARE, limit=20).train
    with pytest.raises(UserError, match=r"train/dog/003\.png: cannot be read as an image"):
        list(train.batches([torch.arange(24)], augment=(0, 0)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resized_crop": -0.1}, r"data\.resized_crop is -0\.1: give a fraction of the area from 0 to 1"),
        ({"resized_crop": 8.0}, r"data\.resized_crop is 8\.0"),
        ({"resized_crop": float("nan")}, r"data\.resized_crop is nan"),
        ({"resized_crop": 0.1, "size": None}, r"data\.resized_crop is 0\.1, but data\.size is not set: give"),
        ({"resized_crop": 0.1, "stream": False}, r"but data\.stream is false: .* leave data\.stream out"),
        ({"resized_crop": 0.1, "crop": 4}, r"data\.resized_crop is 0\.1, but data\.crop is 4, too: use one"),
        ({"resized_crop": 0.1, "extra": "a.npz"}, r"but data\.extra is 'a\.npz', too: extra images are whole"),
        ({"resize": 223}, r"data\.resize is 223, but data\.size is 224: give .* at least that"),
        ({"resize": 256, "size": None}, r"data\.resize is 256, but data\.size is None"),
        ({"resize": 20_000}, r"data\.resize = 20000: must be at most 10,000"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DataConfig(**{"name": "folder", "root": "somewhere", "size": 224, **settings})


@pytest.mark.parametrize("name", ["digits", "cifar10", "some.module:make"])
def test_crops_need_image_files(name: str, tmp_path: Path) -> None:
    config = DataConfig(name=name, root=str(tmp_path), size=16, resized_crop=0.1)
    message = rf"data\.resized_crop is 0\.1, but data\.name={name} is not read from image files"
    with pytest.raises(UserError, match=message):
        read_dataset_info(config)
    with pytest.raises(UserError, match=message), pytest.warns(UserWarning, match="has no effect"):
        build_data(config, seed=0)


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (20, 26), (40, 40)])
def test_resize_then_crop_is_torchvisions_rule(tmp_path: Path, width: int, height: int) -> None:
    noise(width, height).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        longer = round(32 * max(width, height) / min(width, height))
        resized = F.resize(image, [32, longer] if width >= height else [longer, 32])
        expected = pixels(F.center_crop(resized, [24, 24]))
    found = decode(tmp_path / "a.png", size=24, resize=32)
    assert torch.equal(found, expected)
    assert found.shape == (3, 24, 24)
    assert torch.equal(decode(tmp_path / "a.png", size=24, resize=24), decode(tmp_path / "a.png", size=24))


def test_a_line_of_pixels_is_not_blown_up_by_resize(tmp_path: Path) -> None:
    Image.new("L", (60_000, 1)).save(tmp_path / "a.png")
    message = r"its shorter side at data\.resize=256 15360000 x 256, .* smaller data\.resize"
    for crop in (None, partial(crop_box, draws=draws(1)[0], smallest=SHARE)):
        with pytest.raises(UserError, match=message):
            decode(tmp_path / "a.png", size=8, resize=256, crop=crop)


def test_resize_without_image_files_is_reported() -> None:
    with pytest.warns(UserWarning, match=r"data\.resize=12 has no effect with data\.name=digits"):
        build_data(DataConfig(size=8, resize=12), seed=0)
