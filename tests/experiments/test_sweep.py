"""Sweeps become cells: names, settings, seeds, curve; mistakes are named with place and fix."""

import dataclasses
import re
import warnings
from pathlib import Path

import pytest
import torch

from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe_files import shipped_sweeps
from iaat.errors import UserError
from iaat.experiments.sweep import is_sweep, read_cells, schedule_differences, select_cells
from iaat.experiments.sweep.preview import _timed_alike
from iaat.experiments.timing import StepTiming
from iaat.runtime.passes import Passes

SWEEP = """
about: frontier on digits
seeds: 3
set: {train.epochs: 4, data.limit: 300}
curve: uniform
cells:
  natural: {recipe: quickstart-natural}
  uniform: {recipe: quickstart-pgd-at, grid: {method.radius: [32px, 64px, 0.3]}}
  both: {recipe: quickstart-pgd-at, set: {train.epochs: 5}, grid: {method.steps: [3, 4], train.lr: [0.1, 1e-2]}}
  iaat: {recipe: quickstart, set: {method.reach: 1.5, train.nesterov: true, data.size: null}}
"""

SHORT = """
curve: uniform
cells:
  uniform: {recipe: quickstart-pgd-at, grid: {method.radius: [32px, 64px]}}
  iaat: {recipe: quickstart, set: {train.epochs: 5}}
"""


def sweep(folder, text=SWEEP, name="sweep.yaml"):
    file = folder / name
    file.write_text(text)
    return str(file)


def refused(source, *words, seeds=None):
    with pytest.raises(UserError) as caught:
        read_cells([source], words, seeds)
    return str(caught.value)


def test_cells_have_names_by_their_grid_and_settings_from_general_to_special(tmp_path):
    cells = {cell.name: cell for cell in read_cells([sweep(tmp_path)])}
    assert list(cells) == [
        "natural", "uniform-32px", "uniform-64px", "uniform-0.3",
        "both-3-0.1", "both-3-1e-2", "both-4-0.1", "both-4-1e-2", "iaat",
    ]  # fmt: skip
    assert [cell.family for cell in cells.values()] == ["natural", *["uniform"] * 3, *["both"] * 4, "iaat"]
    recipes = {name: cell.recipe for name, cell in cells.items()}
    assert recipes["uniform-0.3"].method.radius == 0.3
    assert (recipes["both-4-1e-2"].method.steps, recipes["both-4-1e-2"].train.lr) == (4, 0.01)
    assert {name: recipe.train.epochs for name, recipe in recipes.items() if recipe.train.epochs != 4} == {
        name: 5 for name in recipes if name.startswith("both")
    }
    assert {recipe.data.limit for recipe in recipes.values()} == {300}
    assert (recipes["iaat"].method.reach, recipes["iaat"].train.nesterov) == (1.5, True)
    assert [name for name, cell in cells.items() if cell.on_curve] == ["uniform-32px", "uniform-64px", "uniform-0.3"]
    assert {cell.seeds for cell in cells.values()} == {(0, 1, 2)}


def test_numbers_with_an_exponent_name_cells_as_they_are_written(tmp_path):
    """Else finished runs in folders of these names would be trained again."""
    grid = "{train.weight_decay: [5e-4, 1e-4, 1e-6]}"
    below = sweep(tmp_path, f"cells: {{wd: {{recipe: quickstart, grid: {grid}}}}}", "below.yaml")
    top = sweep(tmp_path, f"extends: {below}\ncells: {{1e-3: {{recipe: quickstart, set: {{train.lr: 1e-3}}}}}}")
    cells = {cell.name: cell.recipe for cell in read_cells([top])}
    assert list(cells) == ["wd-5e-4", "wd-1e-4", "wd-1e-6", "1e-3"]
    assert [cells[f"wd-{value}"].train.weight_decay for value in ("5e-4", "1e-4", "1e-6")] == [5e-4, 1e-4, 1e-6]
    assert cells["1e-3"].train.lr == 1e-3


def test_a_cell_is_the_recipe_that_the_same_words_of_the_command_line_make(tmp_path):
    text = """
    set: {train.epochs: 4, data.limit: 300}
    cells: {iaat: {recipe: quickstart, set: {method.reach: 1.5, train.nesterov: true, data.size: null}}}
    """
    (cell,) = read_cells([sweep(tmp_path, text)])
    words = ["--train.epochs=4", "--data.limit=300", "--method.reach=1.5", "--train.nesterov=true", "--data.size=null"]
    assert dataclasses.replace(cell.seeded(2), name="quickstart") == load_recipe("quickstart", [*words, "--seed=2"])


def test_words_of_the_command_line_go_on_top_of_every_cell(tmp_path):
    cells = read_cells([sweep(tmp_path, SHORT)], ["--train.epochs=2"])
    assert {cell.recipe.train.epochs for cell in cells} == {2}


def test_recipes_are_looked_for_beside_the_sweep_and_extend_as_ever(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: quickstart-pgd-at\nmethod: {steps: 2}")
    cells = read_cells([sweep(tmp_path, "cells: {a: {recipe: mine.yaml}}"), str(tmp_path / "mine.yaml"), "quickstart"])
    assert [cell.name for cell in cells] == ["a", "mine", "quickstart"]
    assert cells[0].recipe.method.steps == 2


@pytest.mark.parametrize(
    ("line", "option", "words", "seeds"),
    [
        ("seeds: 3", None, [], (0, 1, 2)),
        ("seeds: [4]", None, [], (4,)),
        ("seeds: [5, 2]", None, [], (5, 2)),
        ("", None, [], (0,)),
        ("seeds: 3", [2], [], (0, 1)),
        ("seeds: 3", [0, 1, 2], [], (0, 1, 2)),
        ("seeds: 3", [7, 3], [], (7, 3)),
        ("seeds: 3", None, ["--seed=7"], (7,)),
        ("seeds: 3", None, ["--seed", "7"], (7,)),
    ],
)
def test_seeds(line, option, words, seeds, tmp_path):
    (cell,) = read_cells([sweep(tmp_path, f"{line}\ncells: {{a: {{recipe: quickstart}}}}")], words, option)
    assert cell.seeds == seeds
    assert [cell.seeded(seed).seed for seed in seeds] == list(seeds)


def test_a_recipe_keeps_its_own_seed_by_default(tmp_path):
    file = sweep(tmp_path, "extends: quickstart\nseed: 5")
    assert [read_cells([file], [], seeds)[0].seeds for seeds in (None, [2])] == [(5,), (0, 1)]


@pytest.mark.parametrize(
    ("seeds", "words", "parts"),
    [
        ([0], [], ["--seeds 0", "at least 1", "--seed 0"]),
        ([-2], [], ["--seeds -2"]),
        ([0, -1], [], ["--seeds 0 -1"]),
        ([1, 1], [], ["seed 1", "twice"]),
        ([3], ["--seed=7"], ["exclude", "--seed 7"]),
    ],
)
def test_seeds_that_mean_nothing_are_refused(seeds, words, parts):
    message = refused("quickstart", *words, seeds=seeds)
    assert all(part in message for part in parts)


CELL = "cells: {a: {recipe: quickstart-pgd-at, %s}}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cels: {}\ncells: {a: {recipe: quickstart}}", ["sweep.yaml", "'cels'", "did you mean 'cells'"]),
        ("cells: {}", ["cells", "at least one"]),
        ("cells: [quickstart]", ["cells", "mapping", "['quickstart']"]),
        ("cells: {a: quickstart}", ["cell a", "mapping", "'quickstart'"]),
        ("cells: {a: {set: {train.epochs: 2}}}", ["cell a", "no recipe"]),
        ("cells: {a: {recipe: quikstart}}", ["cell a", "'quikstart'", "did you mean 'quickstart'"]),
        (CELL % "gird: {}", ["cell a", "'gird'", "did you mean 'grid'"]),
        (CELL % "set: {train.epoch: 3}", ["cell a", "--train.epoch", "did you mean '--train.epochs'"]),
        (CELL % "set: {train.epochs: three}", ["cell a", "train.epochs", "three"]),
        (CELL % "set: {train.milestones: [3]}", ["cell a", "train.milestones", "[3]", "into a recipe"]),
        (CELL % "set: {seed: 3}", ["cell a", "seeds: 3"]),
        (CELL % "set: [train.epochs]", ["cell a", "set", "mapping"]),
        (CELL % "grid: {method.radius: []}", ["cell a", "method.radius", "[2px, 4px]"]),
        (CELL % "grid: {method.radius: 4px}", ["cell a", "method.radius", "'4px'", "[2px, 4px]"]),
        (CELL % "grid: {method.radius: [[4px]]}", ["cell a", "method.radius", "['4px']", "single value"]),
        (CELL % "grid: {method.radius: [8/255]}", ["cell a", "'a-8/255'", "8px instead of 8/255"]),
        (CELL % "grid: {method.radius: [8]}", ["cell a", "method.radius = 8", "8px"]),
        (CELL % "set: {method.steps: 2}, grid: {method.steps: [2]}", ["cell a", "method.steps", "set and in grid"]),
        (CELL % "grid: {method.steps: [2, 2]}", ["a-2-seedN", "rename"]),
        ("cells: {a b: {recipe: quickstart}}", ["cell a b", "'a b'", "folder"]),
        ("cells: {../a: {recipe: quickstart}}", ["'../a'", "folder"]),
        ("cells: {.hidden: {recipe: quickstart}}", ["'.hidden'", "folder"]),
        ("cells: {a: {recipe: quickstart}, a: {recipe: quickstart-natural}}", ["'a'", "written twice"]),
        ("cells: {a: {recipe: quickstart}, A: {recipe: quickstart}}", ["a-seedN", "rename"]),
        ("seeds: three\ncells: {a: {recipe: quickstart}}", ["seeds 'three'", "[0, 1, 2]"]),
        ("seeds: 0\ncells: {a: {recipe: quickstart}}", ["seeds 0", "at least 1"]),
        ("seeds: true\ncells: {a: {recipe: quickstart}}", ["seeds True"]),
        ("seeds: []\ncells: {a: {recipe: quickstart}}", ["seeds []"]),
        ("curve: b\ncells: {a: {recipe: quickstart}}", ["curve 'b'", "grid"]),
        ("curve: a\ncells: {a: {recipe: quickstart-pgd-at, grid: {method.steps: [3]}}}", ["curve 'a'", "2 values"]),
        ("cells: !!python/object/apply:os.getcwd []", ["not valid YAML"]),
        (CELL % f"grid: {{method.steps: {[*range(199)]}, train.epochs: {[*range(199)]}}}", ["39,601 points"]),
        ("seeds: 99999999999\ncells: {a: {recipe: quickstart}}", ["seeds 99999999999", "1,000"]),
        ("seeds: [99999999999999999999]\ncells: {a: {recipe: quickstart}}", ["2**63 - 1"]),
        ("cells: {a: &a {recipe: quickstart, set: *a}}", ["refers to itself"]),
        (f"cells: {{{'a' * 300}: {{recipe: quickstart}}}}", ["no name for a folder", "150"]),
    ],
)  # fmt: skip
def test_mistakes_in_a_sweep_are_named_with_place_and_fix(text, parts, tmp_path):
    message = refused(sweep(tmp_path, text))
    for part in parts:
        assert part in message


def test_a_key_that_a_grid_varies_cannot_be_set_for_all(tmp_path):
    message = refused(sweep(tmp_path, SHORT), "--method.radius=4px")
    assert "--method.radius" in message
    assert "grid of cell uniform" in message


@pytest.mark.parametrize(
    ("key", "option"), [("method.radius", "radius"), ("evaluate.radius", "radius"), ("method.norm", "norm")]
)
def test_nor_can_it_by_a_short_option_that_sets_it_among_others(key, option, tmp_path):
    values = "[linf, l2]" if option == "norm" else "[32px, 64px]"
    text = f"cells: {{u: {{recipe: quickstart-pgd-at, grid: {{{key}: {values}}}}}}}"
    message = refused(sweep(tmp_path, text), f"--{option}=x")
    assert f"--{option} cannot be set here: it is what the grid of cell u varies, {key}" in message


def test_nor_can_it_by_an_older_name(tmp_path):
    new, old = "data.validation_fraction", "data.holdout"
    message = refused(
        sweep(tmp_path, f"cells: {{u: {{recipe: quickstart-pgd-at, grid: {{{new}: [0.1, 0.2]}}}}}}"), f"--{old}=0.3"
    )
    assert f"--{old} cannot be set here" in message


def test_cells_of_several_sources_must_differ_in_name_and_agree_on_the_curve(tmp_path):
    first = sweep(tmp_path, SHORT)
    with pytest.raises(UserError, match="iaat-seedN"):
        read_cells([first, sweep(tmp_path, "cells: {iaat: {recipe: quickstart}}", "second.yaml")])
    text = "curve: b\ncells: {b: {recipe: quickstart-pgd-at, grid: {method.radius: [1px, 2px]}}}"
    single = text.replace("[1px, 2px]", "[1px]")
    with pytest.raises(UserError, match=r"curve 'b': name a cell with a grid of at least 2 values$"):
        read_cells([sweep(tmp_path, single, "single.yaml")])
    with pytest.raises(UserError, match=r"two sweeps name a curve \(b, uniform\)"):
        read_cells([first, sweep(tmp_path, text, "third.yaml")])


def test_a_sweep_is_distinguished_from_a_recipe_and_cannot_be_trained_as_one(tmp_path, capsys):
    file = sweep(tmp_path)
    assert is_sweep(file)
    assert not is_sweep("quickstart")
    assert main(["train", file]) == 2
    assert "iaat compare" in capsys.readouterr().err


def test_only_takes_cells_and_whole_grids(tmp_path):
    cells = read_cells([sweep(tmp_path, SHORT)])
    assert [cell.name for cell in select_cells(cells, ["iaat", "uniform-64px"])] == ["uniform-64px", "iaat"]
    assert [cell.name for cell in select_cells(cells, ["uniform"])] == ["uniform-32px", "uniform-64px"]
    with pytest.raises(UserError, match="did you mean 'iaat'"):
        select_cells(cells, ["iat"])


def recipe_file(folder, name, text):
    (folder / f"{name}.yaml").write_text(text)
    return str(folder / f"{name}.yaml")


def test_recipes_of_one_radius_that_differ_in_it_alone_are_the_curve(tmp_path):
    names = [recipe_file(tmp_path, f"r{r}", f"extends: quickstart-pgd-at\nmethod: {{radius: {r}px}}") for r in (20, 40)]
    longer = recipe_file(tmp_path, "longer", "extends: quickstart-pgd-at\nmethod: {radius: 30px, steps: 9}")
    cells = read_cells([*names, longer, "quickstart"])
    assert [cell.name for cell in cells if cell.on_curve] == ["r20", "r40"]
    assert not any(cell.on_curve for cell in read_cells([names[0], longer, "quickstart", "quickstart-natural"]))
    copy = recipe_file(tmp_path, "copy", "extends: quickstart-pgd-at\nmethod: {radius: 20px}")
    assert not any(cell.on_curve for cell in read_cells([names[0], copy]))  # the same point twice
    controls = [
        recipe_file(tmp_path, f"c{r}", f"extends: quickstart-pgd-at\nmethod: {{radii: other.parquet, radius: {r}px}}")
        for r in (20, 40)
    ]
    assert not any(cell.on_curve for cell in read_cells(controls))


def test_another_schedule_is_noticed_by_key_and_the_place_of_a_run_is_not(tmp_path):
    text = """
    set: {train.device: cpu}
    cells:
      a: {recipe: quickstart, set: {data.workers: 1, train.snapshot_every: 2}}
      b: {recipe: quickstart-natural}
    """
    assert schedule_differences(read_cells([sweep(tmp_path, text)])) == []
    text = text.replace("workers: 1", "limit: 100").replace("natural}", "natural, set: {train.epochs: 9}}")
    assert schedule_differences(read_cells([sweep(tmp_path, text)])) == [
        "data.limit (100 in a, None in b)",
        "train.epochs (16 in a, 9 in b)",
    ]
    parts = text.replace("limit: 100", "extra: more, data.relabel: new.csv, train.accumulate: 2")
    assert schedule_differences(read_cells([sweep(tmp_path, parts)])) == [
        *("data.extra (more in a, None in b)", "data.relabel (new.csv in a, None in b)"),
        *("train.epochs (16 in a, 9 in b)", "train.accumulate (2 in a, 1 in b)"),
    ]


def test_check_lists_the_cells_with_their_passes_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", sweep(tmp_path), "--seed", "4"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    # 300 samples less a tenth for validation, 4 epochs, one forward and backward each.
    assert lines["natural"] == ["natural", "4", "4", "1F", "1B", "1.08e+03", "1.08e+03"]
    assert lines["both-3-0.1"] == ["pgd_at", "4", "5", "4F", "4B", "5.4e+03", "5.4e+03"]
    # 4 epochs at 1, 3 x 6 and 6 passes, 5 at 2 x 4 and 2 x 5.
    assert lines["all"] == ["9", "runs", f"{270 * (4 * 25 + 5 * 18):.3g}", f"{270 * (4 * 25 + 5 * 18):.3g}"]
    assert list(tmp_path.iterdir()) == [tmp_path / "sweep.yaml"]


def test_a_probe_of_a_sweep_times_equal_steps_once_at_the_largest_radius_and_adds_up_all_runs(
    tmp_path, capsys, monkeypatch
):
    timed = []

    def time_steps(recipe, facts, *, processes):
        timed.append((recipe.name, processes))
        return StepTiming(torch.device("cpu"), processes, 128, 128, 128, (3.0,), True, Passes(1, 1), None, 0)

    monkeypatch.setattr("iaat.experiments.sweep.preview.time_steps", time_steps)
    assert main(["check", sweep(tmp_path), "--probe", "--processes", "2"]) == 0
    assert timed == [(name, 2) for name in ("uniform-0.3", "both-3-0.1", "both-3-1e-2", "both-4-0.1", "both-4-1e-2",
                                            "iaat", "natural")]  # fmt: skip
    out = capsys.readouterr().out.partition("probe: 2 processes on cpu")[2]
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    # Three batches of 270 samples an epoch, which take 3 s for 128; three seeds.
    run = 4 * 270 / 128 * 3
    assert lines["uniform-32px"] == ["3", "s", "12", f"{run:.3g}", "s", "3", f"{3 * run:.3g}", "s"]
    assert lines["all"] == ["27", "runs", *f"{3 * run * (5 + 4 * 5 / 4) / 60:.3g} min, ".split(),
                            *f"{3 * run * 10 * 2 / 60:.3g} min of processor time".split()]  # fmt: skip


def test_weights_that_add_passes_are_timed_apart():
    weights = [(0, 0), (5, 0), (6, 0), (0, 0.5), (0, 0.6)]
    words = [(f"--method.kl={kl}", f"--method.soft_labels={soft}", "--train.ema=0.995") for kl, soft in weights]
    keys = [_timed_alike(load_recipe("quickstart", each)) for each in words]
    assert [keys.index(key) for key in keys] == [0, 1, 1, 3, 3]


def test_a_probe_names_the_cell_that_does_not_fit(tmp_path, capsys):
    assert main(["check", sweep(tmp_path, SHORT), "--probe", "--processes", "100"]) == 2
    assert "cell uniform-64px: --processes 100" in capsys.readouterr().err


def test_a_sweep_extends_another_and_each_finds_its_own_recipes(tmp_path):
    (tmp_path / "below").mkdir()
    recipe_file(tmp_path / "below", "mine", "extends: quickstart-pgd-at\nmethod: {steps: 2}")
    sweep(
        tmp_path / "below",
        "seeds: 2\nset: {train.epochs: 4, train.lr: 0.2}\ncurve: u\ncells:\n"
        "  u: {recipe: mine.yaml, grid: {method.radius: [1px, 2px]}}\n  other: {recipe: quickstart}",
    )
    text = "extends: below/sweep.yaml\nset: {train.lr: 0.3}\ncells: {other: {recipe: quickstart-natural}}"
    cells = read_cells([sweep(tmp_path, text)])
    assert [(cell.name, cell.seeds, cell.on_curve) for cell in cells] == [
        *(("u-1px", (0, 1), True), ("u-2px", (0, 1), True), ("other", (0, 1), False)),
    ]
    assert {(cell.recipe.train.epochs, cell.recipe.train.lr) for cell in cells} == {(4, 0.3)}
    assert [cell.recipe.method_name for cell in cells] == ["pgd_at", "pgd_at", "natural"]
    only = sweep(tmp_path, "extends: below/sweep.yaml\nset: {train.lr: 0.4}", "only.yaml")
    assert is_sweep(only)
    assert [cell.recipe.train.lr for cell in read_cells([only])] == [0.4] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: quickstart\nset: {train.lr: 0.1}", "quickstart.yaml is no sweep: recipes are named in cells"),
        ("extends: sweep.yaml\nset: {train.lr: 0.1}", "extends runs in a circle"),
        ("extends: missing.yaml\nset: {train.lr: 0.1}", "'missing.yaml' is neither a file nor shipped"),
        ("set: {train.lr: 0.1}", "has no cells"),
    ],
)
def test_what_no_sweep_can_extend_is_refused(text, message, tmp_path):
    assert message in refused(sweep(tmp_path, text))


@pytest.mark.parametrize("name", shipped_sweeps())
def test_every_shipped_sweep_is_a_fair_comparison_with_a_curve(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cells = read_cells([name])
    assert sum(cell.on_curve for cell in cells) >= 4
    assert schedule_differences(cells) == []
    assert len({repr(cell.recipe.evaluate) for cell in cells}) == 1
    network = name.split("-", 2)[2].removesuffix("-random-target").replace("wrn32", "wrn-32")
    assert {cell.recipe.model.name for cell in cells} == {network}
    assert {"natural", "iaat", "iaat-paper"} <= {cell.name for cell in cells}
    # What docs/reproduce.md says.
    runs = sum(len(cell.seeds) for cell in cells)
    assert runs == (7 if "random" in name else 10 if "imagenet" in name else 45)


def test_the_sweep_in_the_documentation_is_one(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "howto" / "compare-methods.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    cells = read_cells([sweep(tmp_path, text)])
    names = [cell.name for cell in cells]
    assert {"uniform-2px", "paper-3px-0.1", "iaat"} <= set(names)
    assert sum(cell.on_curve for cell in cells) == 5
    assert schedule_differences(cells) == []
