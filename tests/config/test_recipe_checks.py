"""Settings that make another method of a recipe are refused or warned of, and only those that the user gave."""

import re
import warnings
from dataclasses import dataclass, replace

import pytest
import yaml

from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe, settings_for_model, stored_recipe
from iaat.config.radius_range import radius_span, warn_of_radii
from iaat.config.recipe_files import shipped_recipes
from iaat.errors import UserError
from iaat.methods import PGDATConfig
from iaat.units import Radius


@pytest.fixture
def own(tmp_path):
    def write(text):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        return path

    return write


# Norms and lengths


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        (
            "cifar10-small-iaat",
            ["--method.norm=l2"],
            r"method\.norm l2: method\.radius = 8px was written for linf.*128/255",
        ),
        ("cifar10-small-iaat", ["--method.norm", "l2"], r"method\.norm l2.*128/255"),
        ("cifar10-small-natural", ["--evaluate.norm=l2"], r"evaluate\.norm l2.*evaluate\.radius = 8px.*128/255"),
        (
            "cifar10-small-pgd-at",
            ["--method.norm=l2", "--method.radius=0.5", "--evaluate.norm=l2"],
            r"evaluate\.norm l2: evaluate\.radius",
        ),
    ],
)
def test_a_radius_of_another_norm_is_refused_with_the_usual_one(source, words, message):
    with pytest.raises(UserError, match=message):
        load_recipe(source, words)


def test_files_of_ones_own_and_models_of_others_are_asked_as_well(own):
    with pytest.raises(UserError, match=r"method\.norm l2"):
        load_recipe(own("extends: cifar10-small-iaat\nmethod: {norm: l2}\nevaluate: {norm: l2, radius: 0.5}\n"))
    with pytest.raises(UserError, match=r"evaluate\.norm l2"):
        settings_for_model("model", ["--evaluate.norm=l2"])


def test_a_radius_in_the_same_file_or_above_it_is_for_the_norm(own):
    l2 = "{norm: l2, radius: 0.5}"
    file = own(f"extends: cifar10-small-iaat\nmethod: {l2}\nevaluate: {l2}\n")
    assert load_recipe(file).method.radius == 0.5
    assert load_recipe(file, ["--method.radius=1"]).method.radius == 1
    with pytest.raises(UserError, match=r"method\.norm linf: method\.radius = 127\.5px was written for l2.*8px"):
        load_recipe(file, ["--method.norm=linf"])


_L2 = ["--norm=l2", "--radius=128/255"]


@pytest.mark.parametrize(
    ("method", "key", "length", "default"),
    [
        ("iaat", "evaluate.step_size", "2px", "null"),
        ("iaat", "method.floor", "1px", "0px"),
        ("iaat", "method.start", "2px", "null"),
        ("iaat", "method.cap", "16px", "null"),
        ("iaat", "method.full_steps_at", "8px", "null"),
        ("iaat", "method.min_step", "60px", "2px"),
        ("iaat_paper", "method.gamma", "1.9px", "null"),
        ("cat", "method.eta", "1px", "null"),
    ],
)
def test_every_length_of_another_norm_is_refused_with_its_default(own, method, key, length, default):
    section, _, name = key.partition(".")
    sections = {"method": {"name": method, **({"c": 1} if method == "cat" else {})}, "evaluate": {}}
    sections[section][name] = length
    file = own(f"extends: cifar10-small-natural\n{yaml.safe_dump(sections)}")
    with pytest.raises(UserError, match=rf"norm l2: {key} = {length} was written for linf;.*--{key} {default}$"):
        load_recipe(file, _L2)
    stored = load_recipe(file).to_dict()
    with pytest.raises(UserError, match=rf"norm l2: {key} = {length} was written for linf"):
        stored_recipe(stored, "mine", "mine.pt", _L2)
    for value in (default, "128/255"):
        assert load_recipe(file, [*_L2, f"--{key}={value}"]).method.norm == "l2"
    load_recipe(own(f"extends: cifar10-small-natural\n{yaml.safe_dump(sections)}"), ["--radius=8px"])


def test_lengths_that_mean_the_same_in_every_norm_are_not():
    assert load_recipe("imagenet-resnet50-iaat", _L2).method.min_step == Radius("1px")  # below 2 * radius / steps
    assert load_recipe("cifar10-small-iaat", _L2).method.start == 0


def test_a_radius_of_exported_weights_or_of_a_sweep_is_for_their_norm():
    stored = load_recipe("cifar10-small-iaat", _L2).to_dict()
    with pytest.raises(UserError, match=r"evaluate\.norm linf: evaluate\.radius = 128px was written for l2"):
        stored_recipe(stored, "mine", "mine.pt", ["--evaluate.norm=linf"])
    with pytest.raises(UserError, match=r"evaluate\.norm l2: evaluate\.radius = 16px was written for linf"):
        load_recipe("cifar10-small-natural", ["--norm=l2"], settings=["--evaluate.radius=16px"])
    of_l2 = ["--norm=l2", "--radius=0.5", "--evaluate.step_size=0.1"]
    assert load_recipe("cifar10-small-natural", settings=of_l2).evaluate.step_size == 0.1


@pytest.mark.parametrize(
    ("word", "px"),
    [
        ("--method.gamma=0.38", "96.9px"),
        ("--method.min_step=0.1", "25.5px"),
        ("--method.start=0.5", "127.5px"),
        ("--method.full_steps_at=0.5", "127.5px"),
        ("--method.radius=0.8", "204px"),
        ("--evaluate.radius=0.8", "204px"),
        ("--evaluate.step_size=0.2", "51px"),
    ],
)
def test_a_length_without_unit_that_is_absurd_is_refused(word, px):
    key, _, value = word.removeprefix("--").partition("=")
    with pytest.raises(UserError, match=rf"{key} = {value} is {px}.*write {value}px"):
        load_recipe("cifar10-small-iaat" if "start" in word else "cifar10-small-iaat-paper", [word])


@pytest.mark.parametrize(
    "word", ["--method.radius=0.2", "--evaluate.radius=96.9px", "--method.start=0.03", "--method.min_step=40px"]
)
def test_a_length_that_can_be_meant_is_not(word):
    load_recipe("cifar10-small-iaat", [word])


@pytest.mark.parametrize("value", ["0.25", "0.38", "0.5"])
@pytest.mark.parametrize("section", ["method", "evaluate"])
def test_a_linf_radius_without_unit_that_is_one_of_l2_is_refused_but_for_digits(section, value):
    message = rf"{value} is .*px for linf: for L2 add --norm l2 .*; for pixel levels write {value}px"
    with pytest.raises(UserError, match=message):
        load_recipe("cifar10-small-iaat", [f"--{section}.radius={value}"])
    load_recipe("cifar10-small-iaat", ["--norm=l2", f"--radius={value}"])
    load_recipe("quickstart", [f"--{section}.radius=0.3"])


def test_the_short_form_that_a_refused_norm_names_is_taken():
    with pytest.raises(UserError, match=r"; --norm l2 --radius 128/255 sets training and evaluation"):
        load_recipe("cifar10-small-iaat", ["--method.norm=l2"])
    recipe = load_recipe("cifar10-small-iaat", ["--norm=l2", "--radius=128/255"])
    assert (recipe.method.norm, recipe.evaluate.norm) == ("l2", "l2")
    assert recipe.method.radius == recipe.evaluate.radius == 128 / 255


def test_a_pixel_range_is_said_in_the_unit_that_was_typed():
    with pytest.raises(UserError, match=r"= 300px is above 255px, the range of a pixel$"):
        load_recipe("cifar10-small-iaat", ["--radius=300px"])
    with pytest.raises(UserError, match=r"= 300/255 is above 255px"):
        load_recipe("cifar10-small-iaat", ["--method.radius=300/255"])


def test_etas_without_unit_are_compared_with_the_radius():
    with pytest.raises(UserError, match=r"method\.eta = 0\.5 is 127\.5px"):
        load_recipe("cifar10-small-cat", ["--method.eta=0.5"])
    assert load_recipe("cifar10-small-cat", ["--method.eta=0.005"]).method.eta == 0.005


@pytest.mark.parametrize(("key", "values"), [("mean", "[123.7, 116.3, 103.5]"), ("std", "[58.4, 57.1, 57.4]")])
def test_statistics_of_pixel_levels_are_to_be_divided(key, values):
    with pytest.raises(UserError, match=rf"model\.{key} = .*divide by 255: \[0\."):
        load_recipe("cifar10-small-iaat", [f"--model.{key}={values}"])


# Without effect


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        (
            "cifar10-small-iaat-paper",
            ["--method.beta=0.3", "--method.reach=3"],
            r"method\.reach \(needs method\.beta null\)",
        ),
        ("cifar10-small-nfgsm", ["--method.steps=7"], r"method\.steps \(only while the guard trains with pgd\)"),
        (
            "cifar10-small-nfgsm",
            ["--method.steps=7", "--method.guard_every=0"],
            r"method\.steps \(needs method\.guard_every",
        ),
        ("cifar10-small-pgd-at", ["--method.noise=1"], r"method\.noise \(needs method\.inner nfgsm\)"),
        ("cifar10-small-pgd-at", ["--method.guard_gap=0.5"], r"method\.guard_gap"),
        (
            "cifar10-small-gradnorm",
            ["--method.power=0", "--method.low=0.3"],
            r"method\.low \(needs method\.power above 0\)",
        ),
        ("cifar10-small-iaat", ["--train.awp_from=3"], r"train\.awp_from \(needs train\.awp above 0\)"),
        ("cifar10-small-iaat", ["--train.awp=0.01", "--train.awp_from=30"], r"train\.awp \(.*below train\.epochs, 30"),
        ("cifar10-small-iaat", ["--train.lr_drop=0.5"], r"train\.lr_drop \(needs train\.schedule multistep\)"),
        ("cifar10-small-iaat", ["--train.rollback_lr=0.2"], r"train\.rollback_lr \(needs train\.nonfinite rollback\)"),
        ("cifar10-small-iaat", ["--train.nonfinite_limit=3"], r"train\.nonfinite_limit"),
        ("cifar10-small-pgd-at", ["--train.snapshot_every=3"], r"train\.snapshot_every \(pgd_at keeps no radii\)"),
        ("cifar10-small-natural", ["--train.radii=sharded"], r"train\.radii \(natural keeps no radii\)"),
    ],
)
def test_a_setting_without_effect_is_named_with_what_it_belongs_to(source, words, message):
    with pytest.warns(UserWarning, match=message):
        load_recipe(source, words)


@pytest.mark.parametrize(("epochs", "late"), [("50", [70, 90, 100]), ("95", [100])])
def test_drops_of_the_learning_rate_that_never_come_are_warned_of(epochs, late):
    with pytest.warns(
        UserWarning, match=rf"train\.epochs {epochs} end before train\.milestones {re.escape(str(late))}"
    ):
        load_recipe("cifar10-resnet18-iaat", ["--data.root", "DIR", "--train.epochs", epochs])


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("source", shipped_recipes())
def test_nothing_is_said_of_keys_that_ship(source):
    load_recipe(source)
    load_recipe(source, ["--train.epochs=120"])


@pytest.mark.usefixtures("silent")
def test_nothing_is_said_of_defaults_in_a_printed_recipe(own):
    file = own(load_recipe("cifar10-small-nfgsm", ["--method.inner", "pgd"]).to_yaml())
    load_recipe(file)


def test_a_file_of_ones_own_is_answered(own):
    with pytest.warns(UserWarning, match=r"method\.noise"):
        load_recipe(own("extends: cifar10-small-pgd-at\nmethod: {noise: 1}\n"))


def test_a_command_says_it_once(capsys):
    assert main(["check", "quickstart", "--method.noise", "1"]) == 0
    assert capsys.readouterr().err.count("without effect") == 1


# Another method than that of the recipe below


def test_settings_that_another_method_leaves_behind_are_named(own):
    with pytest.warns(UserWarning, match="is not that of quickstart") as said:
        recipe = load_recipe(own("extends: quickstart\nmethod: {name: pgd_at, steps: 3}\n"))
    (message,) = [str(each.message) for each in said if "is not that of" in str(each.message)]
    assert "radius 64px, min_step 4px there; radius 8px, min_step 2px here" in message
    assert recipe.method.radius == Radius("8px")


def test_nothing_is_said_of_settings_that_are_written_or_typed(own):
    file = own("extends: quickstart\nmethod: {name: pgd_at, radius: 64px, steps: 5}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_recipe(file, ["--method.min_step", "4px"])


# Radii a run can reach


@pytest.mark.parametrize(
    ("source", "words", "span"),
    [
        ("cifar10-small-iaat", [], "each image its own, at most 19px in training; 8px in evaluation"),
        ("folder-iaat", ["--train.epochs=5"], "each image its own, at most 27px in training; 8px in evaluation"),
        ("cifar10-small-pgd-at", ["--method.radius=4px"], "at most 4px in training; 8px in evaluation"),
        ("cifar10-small-natural", [], None),
    ],
)
def test_the_largest_radius_is_shown_beside_that_of_the_evaluation(source, words, span):
    assert radius_span(load_recipe(source, words)) == span


def test_how_far_radii_of_a_method_of_the_users_go_is_known_only_if_it_says_so():
    recipe = replace(load_recipe("cifar10-small-pgd-at"), method_name="mine:Mine")
    assert (
        radius_span(recipe) == "not known in training, as the method's Config has no largest_radius; 8px in evaluation"
    )

    @dataclass(frozen=True, kw_only=True)
    class Config(PGDATConfig):
        def largest_radius(self, epochs):
            return 16 / 255

    assert radius_span(replace(recipe, method=Config())) == "at most 16px in training; 8px in evaluation"


def warned(source, *words):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn_of_radii(load_recipe(source, words))
    return [str(each.message) for each in said]


def test_radii_that_cannot_reach_the_attack_are_warned_of():
    (message,) = warned("cifar10-small-iaat", "--method.reach=0.5")
    assert message == (
        "radii can reach 4px at most in this run, less than method.radius = 8px: raise method.start or method.reach"
    )
    (message,) = warned("cifar10-small-cat", "--method.eta=0.1px")
    assert "3px at most" in message
    assert warned("cifar10-small-iaat", "--method.reach=0.5", "--method.start=8px") == []


def test_radii_of_training_and_evaluation_that_are_far_apart_are_warned_of_once():
    (message,) = warned("cifar10-small-pgd-at", "--evaluate.radius=64px")
    assert message == "trained at 8px (method.radius) and evaluated at 64px (evaluate.radius), more than 4 times apart"
    assert len(warned("cifar10-small-pgd-at", "--method.radius=64px")) == 1
    assert warned("cifar10-small-pgd-at", "--method.radius=2px") == []


@pytest.mark.parametrize("source", shipped_recipes())
def test_no_recipe_that_ships_is_warned_of(source):
    assert warned(source) == []


def test_check_prints_the_span(capsys):
    assert main(["check", "quickstart"]) == 0
    assert "at most 216px in training; 64px in evaluation" in " ".join(capsys.readouterr().out.split())
    assert Radius("64px") == load_recipe("quickstart").method.initial
