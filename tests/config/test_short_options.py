"""Short options that everyone types lead to their keys, and for unknown ones the message names the nearest."""

import pytest

from iaat.cli.parser import parse_arguments, split_overrides
from iaat.config.load_recipe import load_recipe, settings_for_model
from iaat.config.setting_keys import all_keys
from iaat.config.short_options import likely_key
from iaat.errors import UserError
from iaat.runtime import user_code
from iaat.units import Radius


def recipe_of(source, *words):
    _, overrides = parse_arguments(["train", source, *words])
    return load_recipe(source, overrides)


@pytest.mark.parametrize(
    ("words", "section", "key", "expected"),
    [
        (["--epochs", "3"], "train", "epochs", 3),
        (["--lr", "0.05"], "train", "lr", 0.05),
        (["--learning-rate=0.05"], "train", "lr", 0.05),
        (["--batch-size", "32"], "train", "batch_size", 32),
        (["--batch_size", "32"], "train", "batch_size", 32),
        (["--weight-decay", "1e-4"], "train", "weight_decay", 1e-4),
        (["--momentum", "0.8"], "train", "momentum", 0.8),
        (["--schedule", "cosine"], "train", "schedule", "cosine"),
        (["--device", "cpu"], "train", "device", "cpu"),
        (["--precision", "fp32"], "train", "precision", "fp32"),
        (["--model", "resnet18", "--model.width", "4"], "model", "name", "resnet18"),
        (["--dataset", "mnist"], "data", "name", "mnist"),
        (["--data", "mnist"], "data", "name", "mnist"),
        (["--workers", "2"], "data", "workers", 2),
        (["--steps", "7"], "method", "steps", 7),
        (["--seed", "7"], None, "seed", 7),
    ],
)
def test_a_short_option_sets_its_key(words, section, key, expected):
    recipe = recipe_of("quickstart", *words)
    assert getattr(recipe if section is None else getattr(recipe, section), key) == expected


@pytest.mark.parametrize("name", ["--eps", "--epsilon", "--radius"])
def test_a_radius_is_that_of_training_and_of_evaluation(name):
    recipe = recipe_of("quickstart", name, "40px")
    assert recipe.method.radius == recipe.evaluate.radius == Radius("40px")
    assert recipe_of("quickstart-natural", name, "40px").evaluate.radius == Radius("40px")


def test_a_radius_that_is_no_attacks_is_not_guessed():
    with pytest.raises(UserError, match=r"--method\.radius and --evaluate\.radius"):
        recipe_of("cifar10-small-mma", "--eps", "4px")


def test_a_norm_is_that_of_both():
    recipe = recipe_of("quickstart", "--norm", "l2", "--eps", "1.5")
    assert recipe.method.norm == recipe.evaluate.norm == "l2"


def test_in_evaluate_an_attack_is_that_of_the_evaluation():
    _, overrides = parse_arguments(["evaluate", "model", "--eps", "4px", "--steps", "5", "--norm", "linf"])
    found = settings_for_model("model", overrides).evaluate
    assert (found.radius, found.steps, found.norm) == (Radius("4px"), 5, "linf")


def test_a_folder_of_data_is_the_root_of_a_set_of_files_and_else_a_folder_of_images(tmp_path):
    known, own = (recipe_of(source, "--data", str(tmp_path)).data for source in ("cifar10-small-iaat", "quickstart"))
    assert (known.name, known.root) == ("cifar10", str(tmp_path))
    assert (own.name, own.root) == ("folder", str(tmp_path))
    (tmp_path / "train-0.tar").touch()
    for source in ("quickstart", "cifar10-small-iaat"):
        assert recipe_of(source, "--data", str(tmp_path)).data.name == "webdataset"
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert recipe_of("cifar10-small-iaat", "--data", str(tmp_path)).data.name == "cifar10"
    # An archive beside what was unpacked from it.
    for folder in ("train/cat", "test/cat"):
        (tmp_path / folder).mkdir(parents=True)
    assert recipe_of("quickstart", "--data", str(tmp_path)).data.name == "folder"
    assert parse_arguments(["radii", "RUN", "--data", "DIR"])[1] == ["--data.root=DIR"]


def test_a_folder_named_as_a_set_is_given_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert recipe_of("quickstart", "--data", "mnist").data.name == "mnist"
    found = recipe_of("quickstart", "--data", "./mnist").data
    assert (found.name, found.root) == ("folder", "mnist")


def test_what_is_typed_as_data_is_typed(tmp_path, monkeypatch):
    monkeypatch.setattr(user_code, "_TRUSTED", set())
    assert recipe_of("quickstart", "--data", "my_data:make").data.name == "my_data:make"
    assert recipe_of("cifar10-small-iaat", "--data", str(tmp_path)).data.download


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"--data 'cifar11' is neither .* \(did you mean 'cifar10'"):
        recipe_of("quickstart", "--data", "cifar11")


def test_a_short_option_without_its_value_is_refused():
    with pytest.raises(UserError, match="--epochs needs a value, such as --epochs 30"):
        parse_arguments(["train", "quickstart", "--epochs"])


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("--method.eps", "--method.radius"),
        ("--method.epsilon", "--method.radius"),
        ("--evaluate.eps", "--evaluate.radius"),
        ("--train.batch-size", "--train.batch_size"),
        ("--train.learning_rate", "--train.lr"),
        ("--method.iterations", "--method.steps"),
        ("--data.dir", "--data.root"),
        ("--train.epoch", "--train.epochs"),
    ],
)
def test_an_unknown_key_leads_to_the_one_that_is_meant(word, key):
    with pytest.raises(UserError, match=f"did you mean '{key}'"):
        recipe_of("quickstart", word, "1")


@pytest.mark.parametrize("words", [["--eps", "4", "px"], ["--eps=4", "px"], ["--method.radius", "4", "px"]])
def test_a_blank_before_the_unit_is_found(words):
    with pytest.raises(UserError, match=r"^--\S+ 4 px: write 4px, without the space$"):
        split_overrides(["train", "quickstart", *words])


def test_an_option_without_its_section_leads_to_the_key():
    with pytest.raises(UserError, match=r"--milestones is no option .*\(did you mean '--train\.milestones'"):
        parse_arguments(["train", "quickstart", "--milestones", "[1]"])
    with pytest.raises(UserError, match=r"--plumage is no option of `iaat train`.*--section\.key"):
        parse_arguments(["train", "quickstart", "--plumage", "red"])


def test_a_key_of_another_method_names_that_method():
    with pytest.raises(
        UserError, match=r"'--method\.reach': it is a key of method iaat, iaat_paper, iaat_trades;.*sweep"
    ):
        recipe_of("quickstart-pgd-at", "--method.reach", "3")
    with pytest.raises(UserError, match=r"'--method\.radius': it is a key of methods that attack;.*sweep"):
        recipe_of("quickstart-natural", "--method.radius", "3px")


def test_every_key_there_is_leads_to_itself():
    known = [f"--{key}" for key in all_keys()]
    assert all(likely_key(key, known) == f" (did you mean {key!r}?)" for key in known if "." in key)
