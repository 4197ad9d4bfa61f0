"""A training that takes long is answered with settings that exist and that cost less."""

import re

import pytest

from iaat.config.load_recipe import load_recipe
from iaat.config.recipe_files import shipped_recipes
from iaat.data import DatasetInfo
from iaat.experiments.cost import total_passes
from iaat.experiments.shorter import LONG, shorter_by

SMALL = DatasetInfo(shape=(3, 32, 32), classes=10, train_size=50_000, test_size=10_000, sample_bytes=3072)
LARGE = DatasetInfo(shape=(3, 224, 224), classes=10, train_size=50_000, test_size=10_000, sample_bytes=3072)


def advice(recipe, facts=SMALL, seconds=LONG, on_cpu=True):
    return shorter_by(recipe, facts, seconds, on_cpu=on_cpu)


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if not name.startswith("quickstart")])
def test_the_keys_are_taken_and_lower_the_passes(name):
    given = ["--data.root=images"] if name.startswith(("folder", "imagenet")) else []
    recipe = load_recipe(name, given)
    words = re.findall(r"--(?:method\.inner|model\.name) [\w-]+", advice(recipe))
    changed = load_recipe(name, [*given, *" ".join(words).split()])
    single = "--method.inner nfgsm" in words
    assert single == (getattr(recipe.method, "inner", None) == "pgd")
    assert (total_passes(changed).forward < total_passes(recipe).forward) == single
    assert changed.model.name == "small-cnn"


def test_advice_fits_the_recipe():
    recipe = load_recipe("folder-iaat", ["--data.root=images"])
    assert advice(recipe) == (
        "shorter, with another result: --method.inner nfgsm (attacks of one step: 2F 2B in place of 11F 11B at most); "
        "--model.name small-cnn (a network for CPUs); fewer --train.epochs than 50; a GPU"
    )
    assert "small-cnn" not in advice(recipe, LARGE) + advice(recipe, on_cpu=False)
    assert "a GPU" not in advice(recipe, on_cpu=False)
    natural = load_recipe("folder-natural", ["--data.root=images"])
    assert "nfgsm" not in advice(natural)
    assert advice(recipe, seconds=LONG - 1) is None


@pytest.mark.parametrize(
    ("name", "key"), [("pgd-at", "--method.target=random"), ("iaat", "--method.full_steps_at=8px")]
)
def test_steps_that_a_setting_excludes_are_not_proposed(name, key):
    recipe = load_recipe(f"cifar10-resnet18-{name}", [key])
    assert "nfgsm" not in advice(recipe)
    assert "fewer --train.epochs" in advice(recipe)
