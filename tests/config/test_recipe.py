"""Recipes: what ships is sound, and whatever is wrong in one's own is refused by name, never with a traceback."""

import dataclasses
import re
import shlex

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from iaat.config.load_recipe import load_recipe
from iaat.config.method_in_name import without_method
from iaat.config.recipe_digest import digest_but_seed
from iaat.config.recipe_files import RUN_FILE, shipped_recipes
from iaat.config.setting_keys import SECTION_TYPES
from iaat.errors import UserError, shown
from iaat.methods import METHODS
from iaat.units import Radius


@pytest.fixture
def write(tmp_path):
    """Writes a recipe file, of text or of a mapping, and gives its path."""

    def write(content, name="mine.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def refused(source, *words):
    with pytest.raises(UserError) as error:
        load_recipe(source, words)
    return str(error.value)


def quickstart(**sections):
    return {"extends": "quickstart", **sections}


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_survives_being_written_and_read(name, write):
    recipe = load_recipe(name)
    again = load_recipe(write(recipe.to_yaml(), f"{name}.yaml"))
    assert again == recipe
    assert recipe.name == name
    assert recipe.about


BASES = (
    *("quickstart", "folder-iaat", "cifar10-small-iaat", "cifar10-resnet18-iaat", "cifar10-wrn32-10-iaat"),
    *("cifar100-resnet18-iaat", "cifar100-wrn32-10-iaat"),
    *("imagenet-resnet50-iaat", "imagenet-resnet101-iaat", "imagenet-resnet152-iaat"),
)
FAMILIES = {base: base.removesuffix("-iaat") for base in BASES}
NAMES = list(shipped_recipes())
TWINS = [(name, base) for base in BASES for name in NAMES if name.startswith(FAMILIES[base]) and name != base]


@pytest.mark.parametrize(("name", "base"), TWINS)
def test_recipes_of_a_family_differ_in_the_method_alone(name, base):
    twin, first = load_recipe(name), load_recipe(base)
    assert (twin.data, twin.model, twin.train, twin.evaluate, twin.seed) == (
        *(first.data, first.model, first.train, first.evaluate, first.seed),
    )
    assert twin.method != first.method


@pytest.mark.parametrize("name", NAMES)
def test_the_options_that_a_recipe_suggests_can_be_given(name):
    suggested = re.findall(r"^#   (--.*)", shipped_recipes()[name].read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert bool(suggested) == (name == "imagenet-resnet50-iaat")
    changed = load_recipe(name, [word for line in suggested for word in shlex.split(line)])
    assert (changed.method == load_recipe(name).method) == (not suggested)


def test_the_families_of_the_paper_have_its_data_and_networks():
    for data in ("cifar10", "cifar100"):
        for name, network in (("resnet18", "resnet18"), ("wrn32-10", "wrn-32-10")):
            recipe = load_recipe(f"{data}-{name}-iaat")
            assert (recipe.data.name, recipe.model.name) == (data, network)
            assert recipe.train == load_recipe("cifar10-resnet18-iaat").train
    for depth in (50, 101, 152):
        recipe = load_recipe(f"imagenet-resnet{depth}-iaat-paper")
        assert (recipe.model.name, recipe.method.radius.px) == (f"resnet{depth}", 4)


def test_every_recipe_belongs_to_a_family_and_every_method_has_one():
    assert {name for name, _ in TWINS} | set(BASES) == set(shipped_recipes())
    for family in ("cifar10-small", "cifar10-resnet18"):
        methods = {load_recipe(name).method_name for name in shipped_recipes() if name.startswith(family)}
        assert set(METHODS) - methods == set(), family


@pytest.mark.parametrize(
    ("content", "words", "parts"),
    [
        (quickstart(trian={"epochs": 3}), (), ["'trian'", "{'epochs': 3}", "'train'"]),
        (quickstart(train={"epohcs": 3}), (), ["'train.epohcs'", "3", "'epochs'"]),
        (quickstart(method={"strat": "2px"}), (), ["'method.strat'", "2px", "'start'"]),
        (quickstart(train={3: 4}), (), ["'train.3'", "4", "epochs"]),
        (quickstart(), ("--train.epohcs", "3"), ["'--train.epohcs'", "'--train.epochs'"]),
        (quickstart(), ("--train.epohcs=3",), ["'--train.epohcs'", "'--train.epochs'"]),
        (quickstart(), ("--train.ep", "3"), ["'--train.ep'"]),
        (quickstart(), ("--seed", "1", "stray"), ["stray"]),
        (quickstart(train={"epochs": "many"}), (), ["train.epochs", "many"]),
        (quickstart(train={"epochs": 2.5}), (), ["train.epochs", "2.5"]),
        (quickstart(train={"epochs": None}), (), ["train.epochs", "null"]),
        (quickstart(train={"lr": True}), (), ["train.lr", "true"]),
        (quickstart(train={"schedule": "cosin"}), (), ["train.schedule", "cosin", "'cosine'"]),
        (quickstart(data={"root": 3}), (), ["data.root", "3"]),
        (quickstart(model={"options": [1]}), (), ["model.options", "[1]"]),
        (quickstart(seed="zero"), (), ["seed", "zero"]),
        (quickstart(seed=None), (), ["seed"]),
        (quickstart(method={"radius": 8}), (), ["method.radius = 8", "8px", "8/255"]),
        (quickstart(method={"radius": True}), (), ["method.radius", "True", "8px"]),
        (quickstart(method={"radius": None}), (), ["method.radius", "None", "8px"]),
        (quickstart(method={"radius": "8 pixels"}), (), ["method.radius", "'8 pixels'", "8px"]),
        (quickstart(evaluate={"radius": 8}), (), ["evaluate.radius = 8", "8px", "8/255"]),
        (quickstart(data="digits"), (), ["data", "mapping", "'digits'"]),
        (quickstart(method="iaat"), (), ["method", "mapping", "'iaat'"]),
        (quickstart(train=None), (), ["train", "mapping", "None"]),
        ({"data": {"name": "digits"}}, (), ["method.name is missing", *METHODS]),
        ({"method": {"name": "iat"}}, (), ["'iat'", "'iaat'"]),
        ({"method": {"name": ["iaat"]}}, (), ["['iaat']", "'iaat'"]),
        ({"method": {"name": 0}}, ("--method", "iaat"), ["method.name 0"]),
        ({"extends": 3}, (), ["extends", "3"]),
        ({"extends": "quikstart"}, (), ["'quikstart'", "'quickstart'"]),
        (quickstart(), ("--method", "pgd-at"), ["'pgd-at'", "'pgd_at'"]),
        (quickstart(), ("--method",), ["--method needs a value"]),
        (quickstart(), ("--method=", "--seed", "1"), ["method.name ''"]),
        (quickstart(), ("--train.epochs",), ["--train.epochs"]),
        (quickstart(), ("--train.epochs", "--seed", "3"), ["--train.epochs"]),
        (quickstart(), ("--train.epochs=",), ["train.epochs"]),
        (quickstart(), ("--model.options", "{a"), ["model.options"]),
        ("method: {name: [", (), ["mine.yaml", "not valid YAML"]),
        ("about: 2020-13-01", (), ["mine.yaml", "not valid YAML"]),
        ("about: !!bool maybe", (), ["mine.yaml", "not valid YAML"]),
        ("about: " + "[" * 2000, (), ["mine.yaml", "nested deeper than 50"]),
        ("- iaat", (), ["mine.yaml", "mapping"]),
        ("", (), ["mine.yaml", "mapping"]),
        ("extends: quickstart\nmodel: {options: &me {me: *me}}", (), ["mine"]),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_the_fix(content, words, parts, write):
    message = refused(write(content), *words)
    assert [part for part in parts if part not in message] == []
    assert "\n" not in message


LAUGHS = "l0: &l0 [x, x]\n" + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "m0: &m0 {k0: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
CHAIN = "c0: &c0 [1]\n" + "".join(f"c{n}: &c{n} {'[' * 8}*c{n - 1}{']' * 8}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (LAUGHS, "more than 10,000 values"),
        (MERGES, "more than 10,000 values"),
        (f"extends: quickstart\nmodel: {{options: {{a: '{LAUGHS[:60]}'}}}}\n{LAUGHS}", "more than 10,000 values"),
        ("about: [" + "1, " * 10_000 + "]", "more than 10,000 values"),
        (CHAIN, "nested deeper than 50"),
        ("a: &a {b: *a}", "refers to itself"),
        ("about: " + "x" * 1_000_001, "larger than 1,000,000 bytes"),
        ("extends: quickstart\nseed: " + "9" * 5000, "more than 100 digits"),
        ("extends: quickstart\nseed: 0x" + "f" * 9000, "more than 100 digits"),
        ("extends: quickstart\ndata: {root: " + "x" * 9000 + "}", "data.root"),
        ("extends: quickstart\ntrain: {milestones: '" + "[" * 60 + "'}", "train.milestones: is nested deeper"),
        ('about: "\\ud800"', "U+D800"),
        ('about: "a\\0b"', "U+0000"),
        ('"\\e[31m": 1', "U+001B"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "'train' is written twice"),
    ],
)
def test_a_file_that_would_not_end_is_refused_before_it_is_built(content, part, write):
    message = refused(write(content))
    assert part in message
    assert len(message) < 1000


def test_anchors_and_merges_of_honest_files_and_a_byte_order_mark_are_read(tmp_path):
    text = "\ufeffextends: quickstart\nmodel: {options: {a: &a {lr: 1}, b: *a, c: {<<: *a, k: 2, lr: 3}}}"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    assert load_recipe(tmp_path / "mine.yaml").model.options == {"a": {"lr": 1}, "b": {"lr": 1}, "c": {"lr": 3, "k": 2}}


@pytest.mark.parametrize(
    "key",
    [
        *("train.epochs", "train.batch_size", "train.validation_n", "train.snapshot_every", "train.lr", "train.ema"),
        *("data.limit", "data.crop", "data.cutout", "data.workers", "data.split_seed", "data.memory_gb", "data.rotate"),
        *("model.width", "evaluate.n", "evaluate.steps", "evaluate.restarts", "evaluate.seed", "evaluate.radius"),
        *("method.steps", "method.warmup", "method.radius", "method.beta", "seed"),
    ],
)
@pytest.mark.parametrize("value", ["1" + "0" * 30, "1" + "0" * 99, "-1" + "0" * 30, ".inf", "-.inf", ".nan"])
def test_numbers_that_nothing_can_mean_are_refused_by_key(key, value, write):
    section, _, name = key.rpartition(".")
    content = f"{section}: {{{name}: {value}}}" if section else f"{name}: {value}"
    kind = key if not key.endswith("radius") or "0" not in value else "radius"
    for message in (refused(write(f"extends: quickstart\n{content}")), refused("quickstart", f"--{key}={value}")):
        assert kind in message


def test_a_chain_of_files_without_end_is_refused(write):
    for number in range(30):
        write({"extends": f"r{number + 1}.yaml"}, f"r{number}.yaml")
    write(quickstart(), "r30.yaml")
    assert "more than 20 files" in refused(write({"extends": "r0.yaml"}))


@pytest.mark.parametrize("source", ["quikstart", "", ".", "no/such/file.yaml", "x" * 5000])
def test_a_recipe_that_does_not_exist_is_named(source):
    message = refused(source)
    assert shown(source) in message
    assert len(message) < 400
    assert "iaat recipes" in message
    assert ("'quickstart'" in message) == (source == "quikstart")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not valid YAML" in refused(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "evil",
    [
        'about: !!python/object/apply:os.mkdir ["{target}"]',
        "model: {{options: {{a: {{class_path: os.mkdir, init_args: {{path: {target}}}}}}}}}",
        "data: {{options: {{class_path: os.mkdir, init_args: {{path: {target}}}}}}}",
        "train: {{epochs: {{class_path: os.mkdir, init_args: {{path: {target}}}}}}}",
    ],
)
def test_a_recipe_runs_no_code(evil, write, tmp_path):
    target = tmp_path / "made-by-the-recipe"
    path = write("extends: quickstart\n" + evil.format(target=target))
    if "options" in evil:
        assert "os.mkdir" in load_recipe(path).to_yaml()
    else:
        refused(path)
    assert not target.exists()


OPTIONS = {"number": 1, "text": "1", "null": "null", "list": "[1]", "deep": {"a": ["2px", 0.5, None]}}


def test_options_arrive_exactly_as_they_were_written(write):
    recipe = load_recipe(write(quickstart(model={"options": OPTIONS})), ["--data.options", "{text: '1', number: 1}"])
    assert recipe.model.options == OPTIONS
    assert recipe.data.options == {"text": "1", "number": 1}
    assert load_recipe(write(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((), "quickstart"),
        (("--method", "iaat"), "quickstart"),
        (("--method", "pgd_at"), "quickstart-with-pgd_at"),
        (("--method.name", "pgd_at"), "quickstart-with-pgd_at"),
        (("--method", "iaat.methods.pgd_at:PGDAT"), "quickstart-with-PGDAT"),
        (("--method.reach", "3"), "quickstart"),
    ],
)
def test_another_method_than_the_recipes_is_in_its_name(words, name):
    recipe = load_recipe("quickstart", words)
    assert recipe.name == name
    assert without_method(name, recipe.method_name) == "quickstart"


def test_extends_takes_names_files_and_chains_the_nearest_last(write):
    write({"extends": "quickstart", "seed": 5, "train": {"epochs": 7, "lr": 0.3}}, "base.yaml")
    write({"extends": "base.yaml", "train": {"epochs": 8}}, "middle.yaml")
    recipe = load_recipe(write({"extends": "middle.yaml", "method": {"start": "3px"}}))
    shipped = load_recipe("quickstart")
    assert (recipe.name, recipe.seed, recipe.train.epochs, recipe.train.lr) == ("mine", 5, 8, 0.3)
    assert recipe.method == dataclasses.replace(shipped.method, start=Radius("3px"))
    assert (recipe.data, recipe.model, recipe.about) == (shipped.data, shipped.model, shipped.about)


def test_extends_looks_beside_the_file_that_says_it_not_in_the_working_directory(write, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write({"extends": "quickstart", "seed": 1}, "elsewhere/base.yaml")
    write({"extends": "quickstart", "seed": 2}, "base.yaml")
    write({"extends": "../base.yaml", "train": {"epochs": 4}}, "sub/middle.yaml")
    recipe = load_recipe(write({"extends": "sub/middle.yaml"}))
    assert (recipe.seed, recipe.train.epochs) == (2, 4)
    assert load_recipe(write({"extends": str(tmp_path / "elsewhere" / "base.yaml")})).seed == 1


def test_a_file_may_have_the_name_of_the_shipped_recipe_it_extends(write):
    path = write(quickstart(seed=9), "quickstart.yaml")
    assert load_recipe(path).seed == 9
    assert load_recipe("quickstart").seed == 0


@pytest.mark.parametrize("files", [{"mine": "mine"}, {"mine": "a", "a": "b", "b": "./../{folder}/a"}])
def test_circles_are_refused(files, write, tmp_path):
    for name, parent in files.items():
        write({"extends": parent.format(folder=tmp_path.name) + ".yaml"}, f"{name}.yaml")
    message = refused(tmp_path / "mine.yaml")
    assert "circle" in message
    assert "mine.yaml" in message


@pytest.mark.parametrize("words", [["--method", "pgd_at"], ["--method=pgd_at"], ["--method.name", "pgd_at"]])
def test_method_option_swaps_the_method_and_keeps_the_settings_both_know(words, write):
    path = write({"method": {"name": "iaat", "radius": "6px", "steps": 3, "start": "1px"}})
    recipe, swapped = load_recipe(path), load_recipe(path, words)
    assert swapped.method_name == "pgd_at"
    assert (swapped.method.radius, swapped.method.steps) == (Radius("6px"), 3)
    as_before = dataclasses.replace(swapped, name=recipe.name, method_name="iaat", method=recipe.method)
    assert as_before == recipe
    natural = load_recipe(path, ["--method", "natural"])
    assert natural.method == METHODS["natural"].Config()


def test_a_setting_that_two_methods_call_alike_is_not_taken_for_the_other_ones(write):
    """beta of the authors' rule is the fraction a radius moves by, beta of TRADES the weight of a divergence."""
    path = write(quickstart(method={"name": "iaat_paper", "beta": 0.3, "min_step": "3px"}))
    assert load_recipe(path).method.beta == 0.3
    trades = load_recipe(path, ["--method", "trades"]).method
    assert (trades.beta, trades.min_step) == (METHODS["trades"].Config().beta, Radius("3px"))
    assert load_recipe(path, ["--method", "trades", "--method.beta", "2"]).method.beta == 2
    mart = load_recipe(write(quickstart(method={"name": "trades", "beta": 2}), "second.yaml"), ["--method", "mart"])
    assert mart.method.beta == 2


@pytest.mark.parametrize("method", METHODS)
def test_the_recipe_of_a_run_gives_another_method_none_of_the_defaults_that_belong_to_its_own(method, write):
    """A run writes its defaults as values, such as the inner attack of N-FGSM or the largest margin of MMA."""
    fresh = load_recipe("cifar10-small-iaat", ["--method=pgd_at"]).method
    saved = write(load_recipe("cifar10-small-iaat", [f"--method={method}"]).to_yaml(), "recipe.yaml")
    (saved.parent / RUN_FILE).write_text("{}")
    swapped = load_recipe(saved, ["--method=pgd_at"]).method
    assert swapped.inner == fresh.inner
    assert (swapped.radius, swapped.min_step) == (fresh.radius, fresh.min_step)


def test_a_swapped_method_drops_nothing_that_is_written_in_a_file(write):
    path = write({"method": {"name": "mma", "radius": "12/255", "min_step": "3px", "steps": "7"}})
    swapped = load_recipe(path, ["--method", "iaat"]).method
    assert (swapped.radius, swapped.min_step, swapped.steps) == (Radius("12px"), Radius("3px"), 7)
    assert load_recipe("cifar10-small-pgd-at", ["--method", "mma"]).method.radius == Radius("8px")


def test_a_setting_that_only_the_new_method_has_is_taken(write):
    for own, key, method in (("pgd_at", "beta", "trades"), ("natural", "steps", "pgd_at")):
        path = write({"method": {"name": own, key: 5}})
        assert getattr(load_recipe(path, ["--method", method]).method, key) == 5


def test_what_a_swapped_method_drops_of_a_run_is_a_default_and_nothing_that_was_set(write, tmp_path):
    path = write({"method": {"name": "mma", "radius": "12/255", "min_step": "3px", "steps": "7"}})
    (path.parent / RUN_FILE).write_text("{}")
    swapped = load_recipe(path, ["--method", "iaat"]).method
    assert (swapped.radius, swapped.min_step, swapped.steps) == (Radius("8px"), Radius("3px"), 7)
    assert load_recipe(path, ["--method", "iaat", "--method.radius", "12px"]).method.radius == Radius("12px")
    assert load_recipe(path, ["--method", "mma"]).method.radius == Radius("12px")
    bad = write({"method": {"name": "mma", "radius": "12px", "steps": "many"}}, "bad.yaml")
    assert 'method.steps is "many"' in refused(bad, "--method", "iaat")


def test_a_swapped_method_does_not_hide_a_misspelt_setting(write):
    path = write({"method": {"name": "iaat", "raduis": "6px"}})
    assert "'radius'" in refused(path, "--method", "pgd_at")


def test_the_method_of_a_file_replaces_the_settings_of_the_one_it_extends(write):
    path = write(quickstart(method={"name": "pgd_at", "steps": 2}))
    assert load_recipe(path).method == METHODS["pgd_at"].Config(steps=2)


def test_options_of_the_chosen_method_alone_are_known():
    assert load_recipe("quickstart", ["--method.start", "3px"]).method.start == Radius("3px")
    assert "'--method.start'" in refused("quickstart", "--method", "pgd_at", "--method.start", "3px")


def test_overrides_with_and_without_equals_sign_win_over_the_file(write):
    path = write(quickstart(train={"epochs": 3, "lr": 0.5}))
    words = ["--train.epochs=9", "--seed", "4", "--train.schedule", "multistep", "--train.milestones", "[1, 2]"]
    recipe = load_recipe(path, words)
    assert (recipe.train.epochs, recipe.seed, recipe.train.milestones, recipe.train.lr) == (9, 4, [1, 2], 0.5)


CONFIGS = (*SECTION_TYPES.values(), *(method.Config for method in METHODS.values()))
SETTINGS = st.sampled_from([field.name for config in CONFIGS for field in dataclasses.fields(config)])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
WORDS = st.sampled_from(["8px", "4/255", "iaat", "pgd_at", "quickstart", "digits", "linf", "multistep", "class_path"])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS | WORDS, inner, max_size=3),
    max_leaves=5,
)
SECTION = VALUES | st.dictionaries(SETTINGS, VALUES, max_size=2)
HEADED = st.fixed_dictionaries(
    {"extends": st.just("quickstart")}, optional=dict.fromkeys((*SECTION_TYPES, "method", "about", "seed"), SECTION)
)


@settings(max_examples=80)
@given(content=HEADED | VALUES)
def test_anything_written_as_yaml_is_a_recipe_or_a_user_error(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("random") / "random.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        recipe = load_recipe(path)
    except UserError:
        return
    # Compared as text, because not-a-number differs from itself.
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path).to_yaml() == recipe.to_yaml()


KEYS = ["data.flip", "data.limit", "train.lr", "train.milestones", "method.radius", "model.options", "seed", "method"]


@settings(max_examples=40)
@given(key=st.sampled_from(KEYS), value=st.text(max_size=8) | WORDS, joined=st.booleans())
def test_any_value_of_an_option_is_taken_or_refused(key, value, joined):
    try:
        recipe = load_recipe("quickstart", [f"--{key}={value}"] if joined else [f"--{key}", value])
    except UserError:
        return
    assert recipe.name.partition("-with-")[0] == "quickstart"


def test_runs_from_before_a_key_was_added_stay_seeds_of_those_after():
    """The digest by which seeds are known; settings at their defaults are none of it."""
    assert digest_but_seed(load_recipe("quickstart")).startswith("93e7f49b1a4d")
    assert digest_but_seed(load_recipe("quickstart", ["--train.clip_grad", "1"])) != digest_but_seed(
        load_recipe("quickstart")
    )


PATHS = {
    "data.root": "folder-iaat",
    "data.cache": "folder-iaat",
    "data.extra": "cifar10-resnet18-iaat",
    "data.relabel": "folder-iaat",
    "model.weights": "folder-iaat",
    "method.radii": "folder-pgd-at",
    "method.start_from": "folder-iaat",
    "train.radii_folder": "folder-iaat",
}


@pytest.mark.parametrize(("key", "source"), PATHS.items(), ids=PATHS)
def test_a_tilde_is_the_home_folder_in_every_path(key, source, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    section, name = key.split(".")
    root = [] if key == "data.root" else ["--data.root=images"]
    more = ["--train.radii=sharded"] if key == "train.radii_folder" else []
    recipe = load_recipe(source, [*root, *more, f"--{key}=~/there"])
    assert getattr(getattr(recipe, section), name) == str(tmp_path / "there")


def test_a_tilde_in_a_file_is_the_home_folder_and_elsewhere_in_a_path_it_stays(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = load_recipe(write({"extends": "folder-iaat", "data": {"root": "~/images", "relabel": "a/~/b~"}}))
    assert (recipe.data.root, recipe.data.relabel) == (str(tmp_path / "images"), "a/~/b~")
