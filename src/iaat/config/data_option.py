"""`--data`, which is a folder, a data set or a function, as the keys that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from iaat.config.short_options import DATA, names_function
from iaat.data import DataConfig
from iaat.data.builtin_datasets import holds_files_of
from iaat.data.data_config import DATASETS, FILE_NAMES, TORCHVISION_NAMES
from iaat.data.image_root import has_shards
from iaat.errors import UserError, did_you_mean, shown
from iaat.runtime.files import user_path


def with_data_keys(settings: Mapping[str, str], data_name: str = DataConfig.name) -> dict[str, str]:
    """Settings with `--data` under its keys, which depend on the data set of the recipe.

    Raises:
        UserError: data that is neither a folder nor a set.
    """
    result = dict[str, str]()
    for key, value in settings.items():
        result |= _data_settings(value, data_name) if key == DATA else {key: value}
    return result


def _data_settings(value: str, data_name: str) -> dict[str, str]:
    """A data set by its name, or its folder; what is no data set of files becomes a folder of images, or of shards."""
    if value in DATASETS:  # a folder of such a name is ./mnist
        return {"data.name": value}
    value = str(user_path(value))
    if names_function(value):
        return {"data.name": value}
    if not Path(value).is_dir():
        raise UserError(f"--data {shown(value)} is neither a folder nor a data set{did_you_mean(value, DATASETS)}")
    if data_name in FILE_NAMES:
        return {"data.root": value}
    of_set = data_name in TORCHVISION_NAMES
    if has_shards(value) and not (of_set and holds_files_of(data_name, value)):
        return {"data.name": "webdataset", "data.root": value}
    return {"data.root": value} if of_set else {"data.name": "folder", "data.root": value}
