"""Floats stay floats in lists and mappings of settings, however they are written, and texts stay texts."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iaat.config.load_recipe import load_recipe, python_recipe, stored_recipe
from iaat.config.python_settings import written_settings
from iaat.config.safe_yaml import dump_yaml, parse_yaml

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(FLOATS, st.from_regex(r"[-+]?[0-9.]{1,3}[eE][-+]?[0-9]{1,2}", fullmatch=True), st.integers(0, 9))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{betas: [0.9, 0.98], eps: 1e-6}", {"betas": [0.9, 0.98], "eps": 1e-6}),
        ("[5e-05, 1, 5E3, -2.e+4, .5e1, +1e0]", [5e-05, 1, 5000.0, -20000.0, 5.0, 1.0]),
        ("['1e-6', e5, 1e, 1e5x, 1_0e5, 0x1e5]", ["1e-6", "e5", "1e", "1e5x", "1_0e5", 0x1E5]),
    ],
)
def test_a_number_with_an_exponent_is_one(text, value):
    assert parse_yaml(text) == value
    assert [type(each) for each in parse_yaml(text)] == [type(each) for each in value]


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=3), st.dictionaries(st.sampled_from("ab"), VALUES))
@example([5e-05, "1e-6"], {"eps": 1e-6, "name": "5e3"})
def test_options_survive_python_files_and_checkpoints(numbers, options):
    options = {**options, "list": numbers}
    raw = {"method": {"name": "natural"}}
    recipe = python_recipe("mine", raw, written_settings({"model.options": options}, "natural", "fit"), "fit")
    assert recipe.model.options == options
    assert stored_recipe(recipe.to_dict(), "mine", "mine.pt").model.options == options
    assert parse_yaml(recipe.to_yaml())["model"]["options"] == options
    assert parse_yaml(dump_yaml(options)) == options


def test_class_weights_and_arguments_of_an_optimiser(tmp_path):
    words = ["--train.optimizer=AdamW", "--train.lr=1e-3", "--train.optimizer_options={eps: 1e-6}"]
    recipe = load_recipe("quickstart", [*words, "--method.class_weights=[5e-5, 1]"])
    assert recipe.train.optimizer_options == {"eps": 1e-6}
    assert recipe.method.class_weights == [5e-05, 1]
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "mine.yaml").method == recipe.method
    assert stored_recipe(recipe.to_dict(), "mine", "mine.pt") == load_recipe(tmp_path / "mine.yaml")
