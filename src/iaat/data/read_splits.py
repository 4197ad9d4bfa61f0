"""Choose the reader of the data section of a recipe, and check that its settings suit it."""

import warnings
from pathlib import Path

from iaat.data.builtin_datasets import digits_splits, holds_files_of, torchvision_splits
from iaat.data.data_config import (
    DEFAULT_ROOT,
    FILE_NAMES,
    TORCHVISION_NAMES,
    WRITTEN_ROOTS,
    DataConfig,
    ignored_settings,
)
from iaat.data.extra import ExtraImages
from iaat.data.given_data import given_splits, is_class_folder
from iaat.data.image_folder import folder_splits
from iaat.data.image_root import begins_image_folder, has_shards, is_image_folder
from iaat.data.raw_split import RawSplit
from iaat.data.user_function import function_splits
from iaat.data.webdataset import webdataset_splits
from iaat.errors import UserError
from iaat.runtime.user_code import GIVEN


def read_splits(config: DataConfig) -> tuple[RawSplit, RawSplit]:
    """Training and test split of a recipe, before samples are read.

    Raises:
        UserError: The data cannot be found, or not be read in the way asked for.
    """
    check_root(config)
    check_crops(config)
    if config.name == GIVEN:
        return given_splits(config)
    if config.is_user_function:
        return function_splits(config)
    if reads_folder(config):
        return folder_splits(config)
    if config.name == "webdataset":
        return webdataset_splits(config)
    return torchvision_splits(config) if config.name in TORCHVISION_NAMES else digits_splits()


def check_crops(config: DataConfig) -> None:
    """Check that `data.resized_crop` is set for image files only.

    Raises:
        UserError: There are none.
    """
    if config.resized_crop and not _reads_files(config):
        raise UserError(
            f"data.resized_crop is {config.resized_crop}, but data.name={config.name} is not read from image files: use"
            " data.crop, or data.name=folder"
        )


def check_root(config: DataConfig) -> None:
    """Refuse a root with images of the user's where a set of torchvision would be downloaded and read in their place.

    Raises:
        UserError: There are tar shards, or an image folder without a test folder, and nothing of the set.
    """
    root = config.root or DEFAULT_ROOT
    if config.name not in TORCHVISION_NAMES or holds_files_of(config.name, root):
        return
    elsewhere = f"or put {config.name} into another data.root"
    if has_shards(root):
        raise UserError(
            f"data.root: {root} holds tar shards for training, and data.name is {config.name}: give --data.name"
            f" webdataset to train on them, {elsewhere}"
        )
    if begins_image_folder(root) and not is_image_folder(root):
        raise UserError(
            f"data.root: {root} holds train/<class> without test/<class>, and data.name is {config.name}: add"
            f" test/<class>/<image> to train on these images, {elsewhere}"
        )


def read_extra(config: DataConfig, *, shape: tuple[int, ...], classes: int) -> ExtraImages | None:
    """Extra images of a recipe, before they are decoded; None where it has none.

    Args:
        config: The `data` section.
        shape: Shape of one training input.
        classes: Number of classes.

    Raises:
        UserError: The file cannot be read, or does not fit.
    """
    return None if config.extra is None else ExtraImages(Path(config.extra), shape=shape, classes=classes)


def _reads_files(config: DataConfig) -> bool:
    """Whether samples are image files."""
    folder = config.name == GIVEN and config.given is not None and is_class_folder(config.given.train)
    return folder or config.name in FILE_NAMES or reads_folder(config)


def reads_folder(config: DataConfig) -> bool:
    """Whether the data is an image folder: by its name, or because its root holds train/ and test/."""
    if config.name == "digits":  # which have no root of their own
        return config.root is not None and is_image_folder(config.root)
    return config.name == "folder" or (
        config.name in TORCHVISION_NAMES and is_image_folder(config.root or DEFAULT_ROOT)
    )


def warn_ignored(config: DataConfig) -> None:
    """Warn of settings that have no effect."""
    ignored = []
    if not _reads_files(config):
        ignored += ["size", "resize", "validation", "cache"]
        of_user = config.is_user_function or config.name == GIVEN
        ignored += [] if of_user else ["channels", "background", "max_value", "skip_damaged"]
    if config.name not in WRITTEN_ROOTS:
        ignored.append("download")
    if config.name == GIVEN:
        ignored += ["validation", "root", "test_limit"]
    elif not (config.name in TORCHVISION_NAMES or _reads_files(config)):
        ignored.append("root")
    if not config.is_user_function:
        ignored.append("options")
    what = "data passed to iaat.fit as an object" if config.name == GIVEN else f"data.name={config.name}"
    reasons = dict.fromkeys(ignored, f"with {what}")
    if config.validation is not None:
        reasons["validation_fraction"] = "with data.validation"
    if config.given is not None and config.given.validation is not None:
        reasons["validation_fraction"] = "with validation= of iaat.fit"
    if config.extra is None:
        reasons |= dict.fromkeys(("extra_ratio", "extra_limit"), "without data.extra")
    for line in ignored_settings(config, reasons):
        warnings.warn(line, UserWarning, stacklevel=3)
