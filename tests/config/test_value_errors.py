"""Wrong values of a recipe are answered in plain words, in one line that names the key and the value."""

import pytest

from iaat import UserError
from iaat.config.load_recipe import load_recipe

WHOLE, NUMBER = "which should be a valid integer", "which should be a valid number"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--train.epochs=two", f'train.epochs is "two", {WHOLE}'),
        ("--method.steps=2.5", f"method.steps is 2.5, {WHOLE}"),
        ("--train.lr=fast", f'train.lr is "fast", {NUMBER}'),
        ("--data.flip=maybe", 'data.flip is "maybe", which should be a valid boolean'),
        ("--data.limit=x", f'data.limit is "x", {WHOLE} (or null for none)'),
        ("--data.stream=maybe", 'data.stream is "maybe", which should be a valid boolean (or null for none)'),
        ("--model.mean=abc", 'model.mean is "abc", which should be a valid array (or null for none)'),
        ("--model.mean=[a]", f'model.mean.0 is "a", {NUMBER} (or null for none)'),
        ("--train.milestones=x", 'train.milestones is "x", which should be a valid array'),
        ("--seed=x", f'seed is "x", {WHOLE}'),
    ],
)
def test_the_message_says_what_to_give(word, message):
    with pytest.raises(UserError) as caught:
        load_recipe("cifar10-small-iaat", [word])
    assert str(caught.value) == f"recipe cifar10-small-iaat: {message}"


def test_a_file_of_the_usual_name_is_called_by_it(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("extends: quickstart\ntrain: {epochs: two}\n")
    with pytest.raises(UserError, match=r'^recipe\.yaml: train\.epochs is "two", which should be a valid integer$'):
        load_recipe(file)


@pytest.mark.parametrize("name", ["resnt18", "timm:resnt18"])
def test_a_network_that_is_none_is_found_when_the_recipe_is_read(name):
    with pytest.raises(UserError, match=r"model\.name.*resnt18' \(did you mean '?.*resnet18"):
        load_recipe("cifar10-small-iaat", [f"--model.name={name}"])
