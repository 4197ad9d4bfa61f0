"""docs/howto/large-data-sets.md works as written."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from iaat.config.load_recipe import load_recipe
from iaat.data import DataConfig, folder_splits, webdataset_splits

HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "large-data-sets.md").read_text(encoding="utf-8")


def test_the_example_packs_a_folder(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(per_class=4, test="val").rename("imagenet")
    (code,) = re.findall(r"```python\n(.*?)```", HOWTO, flags=re.DOTALL)
    exec(compile(code.replace("1000", "3"), "large-data-sets.md", "exec"), {})
    packed = webdataset_splits(DataConfig(name="webdataset", root="shards"))
    for shards, folder in zip(packed, folder_splits(DataConfig(name="folder", root="imagenet")), strict=True):
        assert shards.classes == folder.classes
        assert torch.equal(shards.labels, folder.labels)
        assert torch.equal(shards.load(torch.arange(8)), folder.load(torch.arange(8)))
    assert packed[0].paths is not None
    assert packed[0].paths[-1] == "train/00002.tar/00000007.png"


def test_commands_and_keys_shown_exist() -> None:
    for line in re.findall(r"^iaat (?:check|train) (.*)$", HOWTO, flags=re.MULTILINE):
        name, *words = line.split()
        recipe_words = [word for word in words if word != "--data"]  # a flag of check itself
        config = load_recipe(name, recipe_words).data
        assert (config.size, config.resize, config.resized_crop) == (224, 256, 0.08 if "imagenet" in name else 0)
    known = {field.name for field in fields(DataConfig)}
    assert set(re.findall(r"(?:`|--)data\.([a-z_]+)", HOWTO)) <= known
