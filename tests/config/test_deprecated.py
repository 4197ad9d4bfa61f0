"""Recipes and run folders with older keys, `method.rate` and `method.rule`: read, converted, resumed."""

import warnings

import pytest
import yaml

from helpers.training import QUIET, TINY, Interrupting, same
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.experiments.run_recipe import run_recipe
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.units import Radius

OLD = "extends: {parent}\nmethod: {{name: iaat, rate: {rate}}}\n"


@pytest.fixture
def old(tmp_path):
    def write(rate="0.63px", parent="cifar10-small-iaat"):
        path = tmp_path / "old.yaml"
        path.write_text(OLD.format(parent=parent, rate=rate))
        return path

    return write


def test_a_rate_is_read_as_the_reach_it_comes_to_and_says_so_in_one_line(old):
    with pytest.warns(UserWarning, match=r"method\.rate 0\.63px is read as method\.reach 2\.3625") as said:
        recipe = load_recipe(old())
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert recipe.method.reach == pytest.approx(0.63 * 30 / 8)
    assert recipe.run_method.per_visit == pytest.approx(Radius("0.63px"))


def test_a_rate_stays_an_absolute_length_under_other_epochs_and_radii(old):
    with pytest.warns(UserWarning, match="method.rate"):
        recipe = load_recipe(old(), ["--train.epochs=7", "--method.radius=4px"])
    assert recipe.run_method.per_visit == pytest.approx(Radius("0.63px"))


@pytest.mark.parametrize(
    ("words", "reach"),
    [
        (["--method.reach=3"], 3),
        (["--method.reach", "3"], 3),
        (["--method.rate=2px", "--method.reach=3"], 3),
        (["--method.rate=0.8px"], 3),
        (["--method.rate", "0.8px"], 3),
    ],
)
@pytest.mark.filterwarnings("ignore:method.rate")
def test_the_last_of_rate_and_reach_counts(old, words, reach):
    assert load_recipe(old(), words).method.reach == pytest.approx(reach)


@pytest.mark.filterwarnings("ignore:method.rate")
def test_a_recipe_may_replace_the_rate_of_the_one_it_extends(old, tmp_path):
    old()
    child = tmp_path / "child.yaml"
    child.write_text("extends: old.yaml\nmethod: {reach: 3}\n")
    assert load_recipe(child).method.reach == 3


def test_what_a_run_has_written_is_converted_without_advice(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(load_recipe("cifar10-small-iaat"), overwrite=False)
    stored = yaml.safe_load(run.recipe_file.read_text())
    assert "per_visit" not in stored["method"]
    stored["method"]["rate"] = "0.63px"
    del stored["method"]["reach"]
    run.recipe_file.write_text(yaml.safe_dump(stored))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.recipe().method.reach == pytest.approx(0.63 * 30 / 8)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("0.38", r"method\.rate = 0\.38 is 96\.9px a visit.*0\.38px"),
        ("0px", r"method\.rate = 0px.*would never move"),
        ("[1]", r"method\.rate = \[1\] is not a length"),
        ("fast", r"'fast' cannot be read"),
    ],
)
def test_rates_that_make_no_sense_are_refused(old, rate, message):
    with pytest.raises(UserError, match=message):
        load_recipe(old(rate))


def test_another_method_has_no_rate():
    with pytest.raises(UserError, match=r"method\.rate"):
        load_recipe("quickstart-pgd-at", ["--method.rate=1px"])


def as_written_before(run, **constants):
    """Make the recipe of a run what one of the version before would have left: absolute constants, every key."""
    stored = yaml.safe_load(run.recipe_file.read_text())
    del stored["method"]["reach"]
    stored["method"] |= {"name": "iaat", "clean_wrong": "decay", **constants}
    run.recipe_file.write_text(yaml.safe_dump(stored, sort_keys=False))


@pytest.mark.filterwarnings("ignore:method.rate")
def test_an_interrupted_run_with_a_rate_goes_on_to_the_end_it_would_have_had(tmp_path):
    words = [*TINY, "--train.precision", "fp32", "--method.rate", "9.7px", "--method.start", "30px"]
    recipe = load_recipe("quickstart", words)
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    train(recipe, whole, QUIET)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, broken, Interrupting(5))
    as_written_before(broken, rule="staircase", rate="9.7px", start="30px", gamma="1.9px", beta=0.1, warmup=10)
    run_recipe(recipe, broken, QUIET, resume=True)
    assert same(load_checkpoint(whole.checkpoint("last")), load_checkpoint(broken.checkpoint("last")))


def test_constants_written_down_and_the_same_ones_worked_out_are_no_difference(tmp_path):
    words = [*TINY, "--train.precision", "fp32", "--method", "iaat_paper"]
    run = RunFolder(tmp_path / "run")
    recipe = load_recipe("quickstart", words)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, run, Interrupting(5))
    constants = recipe.run_method
    filled = {"gamma": str(constants.gamma), "beta": constants.beta, "warmup": constants.warmup}
    as_written_before(run, rule="paper", rate="0.2px", start="0px", **filled)
    run_recipe(recipe, run, QUIET, resume=True)
    assert load_checkpoint(run.checkpoint("last"))["epoch"] == 3
    other = load_recipe("quickstart", [*words, "--method.beta", "0.01"])
    with pytest.raises(UserError, match=r"cannot be resumed: .*method\.beta"):
        run_recipe(other, run, QUIET, resume=True)


# method.rule


@pytest.fixture
def paper_file(tmp_path):
    """A recipe of the time when `rule` chose between two methods, `{name: iaat, ...}`."""

    def write(text, name="old.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "arguments", "name", "settings"),
    [
        ("extends: cifar10-small-iaat\nmethod: {name: iaat, rule: paper}", [], "iaat_paper", {"steps": 5}),
        ("extends: cifar10-small-iaat\nmethod: {rule: paper, beta: 0.3}", [], "iaat_paper", {"steps": 5, "beta": 0.3}),
        ("extends: cifar10-small-iaat-paper\nmethod: {name: iaat, rule: paper}", [], "iaat_paper", {"steps": 5}),
        ("extends: cifar10-small-iaat-paper\nmethod: {rule: staircase, reach: 2}", [], "iaat", {"reach": 2}),
        (
            "extends: cifar10-small-iaat\nmethod: {name: iaat, rule: staircase, gamma: 3px, clean_wrong: decay}",
            [],
            "iaat",
            {"start": 0},
        ),
        ("extends: cifar10-small-iaat", ["--method.rule=paper", "--method.start", "1px"], "iaat_paper", {"steps": 5}),
        ("extends: cifar10-small-iaat-paper", ["--method.rule", "staircase"], "iaat", {"steps": 5, "start": None}),
        ("extends: cifar10-small-pgd-at", ["--method", "iaat", "--method.rule", "paper"], "iaat_paper", {"steps": 5}),
        (
            "extends: cifar10-small-iaat\nmethod: {name: iaat, rule: paper, radius: 4px}",
            ["--method.rule", "staircase"],
            "iaat",
            {"radius": 4 / 255, "steps": 5},
        ),
    ],
)
def test_a_rule_is_read_as_the_method_it_chose_with_one_line_of_advice(paper_file, text, arguments, name, settings):
    path = paper_file(f"about: old\n{text}\n")
    with pytest.warns(UserWarning, match=r"rule.* is read as .*: write that") as said:
        recipe = load_recipe(path, arguments)
    assert all("\n" not in str(each.message) for each in said)
    assert recipe.method_name == name
    assert {key: getattr(recipe.method, key) for key in settings} == settings


def test_a_rule_of_another_time_leads_another_method_nowhere(paper_file):
    path = paper_file("extends: cifar10-small-iaat\nmethod: {name: iaat, rule: paper, beta: 0.3}\n")
    with pytest.warns(UserWarning, match="is read as"):
        assert load_recipe(path, ["--method", "trades"]).method.beta == 6
    with pytest.raises(UserError, match=r"method\.rule"):
        load_recipe("quickstart-pgd-at", ["--method.rule=paper"])


@pytest.mark.parametrize("rule", ["papr", "[paper]", "3"])
def test_an_unknown_rule_names_the_methods(paper_file, rule):
    with pytest.raises(UserError, match=r"method\.rule .*: write method iaat or iaat_paper instead"):
        load_recipe(paper_file(f"extends: quickstart\nmethod: {{rule: {rule}}}\n"))
    with pytest.raises(UserError, match=r"method\.rule"):
        load_recipe("quickstart", ["--method.rule", rule])


@pytest.mark.parametrize("rule", ["paper", "staircase"])
def test_a_run_of_a_rule_is_read_without_advice_and_resumed(tmp_path, rule):
    method = {"paper": "iaat_paper", "staircase": "iaat"}[rule]
    arguments = [*TINY, "--train.precision", "fp32", "--method", method]
    recipe = load_recipe("quickstart", arguments)
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    train(recipe, whole, QUIET)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, broken, Interrupting(5))
    stored = yaml.safe_load(broken.recipe_file.read_text())
    both = {"rule": rule, "gamma": None, "beta": None, "warmup": None, "clean_wrong": "decay", "start": None}
    stored["method"] = {**both, **stored["method"], "name": "iaat"}
    broken.recipe_file.write_text(yaml.safe_dump(stored, sort_keys=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert broken.recipe() == recipe
    run_recipe(recipe, broken, QUIET, resume=True)
    assert same(load_checkpoint(whole.checkpoint("last")), load_checkpoint(broken.checkpoint("last")))


RENAMED = "extends: quickstart\ndata: {holdout: 0.2}\ntrain: {holdout_n: 7}\n"


def test_keys_of_validation_are_read_by_their_old_names_with_one_line_of_advice(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(RENAMED)
    with pytest.warns(UserWarning, match=r"data\.holdout is data\.validation_fraction.*write the new name") as said:
        recipe = load_recipe(path, ["--train.holdout_steps", "3"])
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    values = (recipe.data.validation_fraction, recipe.train.validation_n, recipe.train.validation_steps)
    assert values == (0.2, 7, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_recipe(path, stored=True).data.validation_fraction == 0.2


def test_a_setting_by_both_its_names_is_refused(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text("extends: quickstart\ntrain: {holdout_n: 7, validation_n: 8}\n")
    with pytest.raises(UserError, match=r"train\.holdout_n and train\.validation_n are one setting"):
        load_recipe(path)
