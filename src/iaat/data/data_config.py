"""The `data` section of a recipe."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from iaat.data.augment import Augmentation
from iaat.errors import UserError, check_choice, did_you_mean, shown
from iaat.runtime.json_files import UserPath
from iaat.runtime.number_limits import check_numbers
from iaat.runtime.user_code import GIVEN, check_module_name

TORCHVISION_NAMES = ("cifar10", "cifar100", "svhn", "mnist")
FILE_NAMES = ("folder", "webdataset")
"""Data sets of the user's image files."""
WRITTEN_ROOTS = (*TORCHVISION_NAMES, "webdataset")
"""Data sets that write into the root: a download, or the index of tar shards."""
DEFAULT_ROOT = "data"
DATASETS = ("digits", *TORCHVISION_NAMES, *FILE_NAMES)
_ROOTS = {
    "folder": "the folder that holds train/ and test/",
    "webdataset": "the folder with train/*.tar and test/*.tar",
}
_MOST = {**dict.fromkeys(("crop", "cutout", "size", "resize"), 10_000), "workers": 1024}
"""Upper bounds of pixels and processes; above is a typing error."""
_LEAST = {
    **dict.fromkeys(("limit", "test_limit", "extra_limit", "size"), 1),
    **dict.fromkeys(("workers", "skip_damaged", "crop", "cutout"), 0),
}
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "validation_fraction": (lambda part: 0 < part < 0.5, "give one above 0 and below 0.5, e.g. 0.1"),
    "extra_ratio": (lambda part: 0 < part < 1, "give a fraction above 0 and below 1, e.g. 0.7"),
    "memory_gb": (lambda size: size > 0, "give a size in GiB above 0, e.g. 4"),
    "channels": (lambda count: count in (None, 1, 3), "give 3 for colour or 1 for grey"),
    "max_value": (lambda top: top is None or 0 < top < math.inf, "give the largest level, above 0, e.g. 4095"),
    "color": (lambda strength: 0 <= strength <= 1, "give a strength from 0 to 1"),
    "rotate": (lambda degrees: 0 <= degrees <= 180, "give degrees from 0 to 180"),
    "zoom": (lambda part: 0 <= part < 1, "give a fraction from 0 to below 1, e.g. 0.1 for 90 % to 110 %"),
    "resized_crop": (lambda part: 0 <= part <= 1, "give a fraction of the area from 0 to 1, e.g. 0.08"),
}
"""What values have to fulfil, and the advice where one does not."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Data set, splits and preparation of the samples.

    Raises:
        UserError: A value is out of its range, or `name` is not known; the message names the recipe key.
    """

    name: str = "digits"
    """Data set: digits, cifar10, cifar100, svhn, mnist, folder (train/ and test/ with one folder a class), webdataset
    (train/*.tar and test/*.tar, or train-*.tar and test-*.tar, of KEY.jpg with its class number in KEY.cls), or
    module:function, a function called with split="train" or "test" that returns a map-style dataset of (x, y). Its
    items are read once into memory, and a random transform is drawn once, unless `stream` is set."""

    root: UserPath | None = None
    """Folder with the data; None: "data" for the downloaded sets. A root with train/ and test/, both with one folder
    a class, is read as an image folder, whichever of these data sets is named, also digits."""

    download: bool = True
    """Download cifar10, cifar100, svhn or mnist into the root on first use, and keep the list of samples of a
    webdataset there; false: nothing is written there. It is false where a recipe file names the root, unless root or
    download is given on the command line."""

    limit: int | None = None
    """Number of training samples to use, drawn evenly over the classes, those for validation included (at least one of
    each class); indices stay those of the full set."""

    test_limit: int | None = None
    """Number of test samples to use, drawn evenly over the classes."""

    validation_fraction: float = 0.1
    """Fraction of the training samples, in (0, 0.5), kept out of training to select the checkpoint."""

    validation: str | None = None
    """Image files: folder beside train, such as val, with the validation samples that select the checkpoint; None: a
    validation_fraction of the training samples."""

    split_seed: int | None = 0
    """Seed of the validation split and of the limits; None: the training seed."""

    resized_crop: float = 0.0
    """Random-resized crop of ImageNet training: smallest fraction of the area, such as 0.08, of a random part of random
    shape, which is resized to size x size; 0: none. For image files with size set, which are streamed."""

    crop: int = 0
    """Random crop of the original size after padding each side by this many pixels; 0: none."""

    padding: Literal["reflect", "zeros"] = "reflect"
    """How the border is padded for the random crop: mirrored, or with zeros."""

    flip: bool = False
    """Mirror left and right with probability 1/2."""

    cutout: int = 0
    """Side in pixels of a square made grey at a random place of each image; 0: none."""

    color: float = 0.0
    """Strength in [0, 1] of random brightness, contrast and saturation: each factor is uniform in 1 ± color / 2."""

    rotate: float = 0.0
    """Largest random rotation in degrees, either way."""

    zoom: float = 0.0
    """Largest random change of size as a fraction, either way, below 1; beyond its border the image is mirrored."""

    size: int | None = None
    """Image files: resize the shorter side to this many pixels and crop the centre square; None: as stored."""

    resize: int | None = None
    """Image files: resize the shorter side to this many pixels, such as 256, before the centre square of size, such as
    224, is cropped; None: to size itself."""

    channels: Literal[1, 3] | None = None
    """3 reads images in colour, 1 in grey; None: image files in colour, PIL images of module:function each as it is."""

    background: str = "white"
    """Colour that transparent pixels of images are composed on, such as white, black or '#808080'."""

    max_value: float | None = None
    """Largest level of the images, such as 4095 for 12 bits stored in 16, which becomes 255; None: 255 for 8 bits and
    65535 for 16 bits. A level above 255 leaves images of 8 bits as they are."""

    cache: UserPath | None = None
    """Image files: folder to keep decoded images in, from which later starts, and each epoch of streamed data, read
    them in place of the files. An image takes channels x height x width bytes. Images with a file that has changed are
    decoded again. To be typed: a folder that a recipe file names is read, but not written. null: none."""

    skip_damaged: int = 0
    """Number of unreadable samples to skip, which are listed in the run folder; 0: stop at the first."""

    stream: bool | None = None
    """Read samples from disk in every epoch instead of once into memory; None: only if they exceed memory_gb."""

    memory_gb: float = 4.0
    """Largest training and test set together, decoded, to keep in memory (GiB, on the training device). Extra images
    count, and are always kept there."""

    workers: int = 0
    """Reader processes when samples are streamed; 0: the main process reads."""

    extra: UserPath | None = None
    """File with extra training images, such as generated ones: a .npz with image (uint8 [N, H, W, C]) and label (class
    numbers in the order of the data set's classes); null: none. They fill up the batches and are never validated on."""

    extra_ratio: float = 0.7
    """Fraction of each batch, in (0, 1), that is taken from the extra images."""

    extra_limit: int | None = None
    """Number of extra images to use, drawn evenly over their classes; indices stay those of the whole file."""

    relabel: UserPath | None = None
    """CSV file with decisions on labels, as the page of iaat report saves it: columns index or path, label, new_label
    and decision. Rows that say relabel change the label of a training sample, those for validation that were drawn
    from the training set included; keep and unsure change nothing. null: none."""

    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments that module:function is called with, next to split."""

    given: Any = field(default=None, compare=False, repr=False, metadata={"setting": False})
    """`GivenData` where the name is `GIVEN`; no key of a recipe."""

    may_write_cache: bool = field(default=True, compare=False, repr=False, metadata={"setting": False})
    """Whether `cache` was typed, and not named by a file; no key of a recipe."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.name in _ROOTS and self.root is None:
            raise UserError(f"data.root is not set: data.name={self.name} needs {_ROOTS[self.name]}")
        for key, lowest in _LEAST.items():
            value = getattr(self, key)
            if value is not None and value < lowest:
                raise UserError(f"data.{key} is {value}: give a whole number of at least {lowest}")
        for key, (fits, advice) in _RANGES.items():
            if not fits(value := getattr(self, key)):
                raise UserError(f"data.{key} is {shown(value)}: {advice}")
        check_choice(self.padding, ("reflect", "zeros"), "data.padding")
        self._check_names()
        if self.resize is not None and (self.size is None or self.resize < self.size):
            raise UserError(
                f"data.resize is {self.resize}, but data.size is {self.size}: give data.size, the square to crop, and a"
                " data.resize of at least that, e.g. 224 and 256"
            )
        self._check_resized_crop()
        check_numbers({key: value for key, value in vars(self).items() if key != "options"}, "data", _MOST)

    def _check_names(self) -> None:
        if self.background != "white":
            _ = self.background_rgb
        if self.cache is not None and not self.cache.strip():
            raise UserError("data.cache is empty: give a folder for decoded images, or leave it out")
        name = self.validation
        if name is not None and (name in ("", ".", "..") or "/" in name or "\\" in name):
            raise UserError(f"data.validation is {shown(name)}: give the name of a folder beside train, e.g. val")

    @property
    def augmentation(self) -> Augmentation:
        """What is drawn anew for each image in every epoch."""
        return Augmentation(**{each.name: getattr(self, each.name) for each in fields(Augmentation)})

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """Background as levels of red, green and blue."""
        # Imported here: recipes are read by commands that need no images.
        from PIL import ImageColor

        try:
            red, green, blue, *_ = ImageColor.getrgb(self.background)
        except ValueError as error:
            raise UserError(
                f"data.background is {shown(self.background)}: give a colour, e.g. white, black or '#808080'"
            ) from error
        return red, green, blue

    def _check_resized_crop(self) -> None:
        if not self.resized_crop:
            return
        key = f"data.resized_crop is {self.resized_crop}"
        if self.size is None:
            raise UserError(f"{key}, but data.size is not set: give the side in pixels that crops are resized to")
        if self.stream is False:
            raise UserError(
                f"{key}, but data.stream is false: crops are cut from the whole image in every epoch, so leave"
                " data.stream out"
            )
        for other in ("crop", "extra"):
            if getattr(self, other):
                fix = "use one of the two" if other == "crop" else "extra images are whole, so leave one of the two out"
                raise UserError(f"{key}, but data.{other} is {shown(getattr(self, other))}, too: {fix}")

    @property
    def reading(self) -> str:
        """What to say before the data are read."""
        return "reading data" if self.name == GIVEN else f"reading data: {self.name}"

    @property
    def is_user_function(self) -> bool:
        """Whether `name` is of the form module:function."""
        return ":" in self.name


def _check_name(name: str) -> None:
    if name in (GIVEN, *DATASETS):
        return
    module, colon, function = name.partition(":")
    if colon and not module.endswith(".py") and all(map(str.isidentifier, (*module.split("."), function))):
        return
    if colon:
        check_module_name(name, key="data.name")
        raise UserError(f"data.name is {shown(name)}: write module:function, e.g. my_package.my_data:make")
    raise UserError(
        f"data.name is {shown(name)}: give one of {', '.join(DATASETS)}, or module:function for data of your own"
        f"{did_you_mean(name, DATASETS)}"
    )


def ignored_settings(config: DataConfig, reasons: Mapping[str, str]) -> Iterator[str]:
    """A line for each of some settings that is not its default, and so was set without an effect.

    Args:
        config: The `data` section.
        reasons: Why a setting has no effect, by its key.
    """
    defaults = {field.name: field.default for field in fields(config)} | {"options": {}}
    for key, reason in reasons.items():
        if getattr(config, key) != defaults[key]:
            yield f"data.{key}={getattr(config, key)!r} has no effect {reason}"
