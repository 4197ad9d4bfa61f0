"""Sweeps through the command line: trained once, taken from where they are, left out where they are not."""

import json
import shutil
from itertools import product

import pytest
from PIL import Image

import iaat.experiments.compare_runs
import iaat.experiments.comparison
from iaat.cli.main import main
from iaat.data import DataConfig, build_data
from iaat.experiments.sweep import read_cells
from iaat.runs.run_folder import RunFolder
from iaat.train.run_writer import RunWriter

FAST = [
    *("--data.limit", "120", "--model.width", "4", "--train.epochs", "2", "--train.batch_size", "64"),
    *("--train.validation_steps", "1", "--train.validation_n", "10"),
    *("--evaluate.suite", "pgd", "--evaluate.steps", "1", "--evaluate.n", "30"),
]
PGD = ["--method.steps", "1"]

SWEEP = """
seeds: 2
set: {data.limit: 120, model.width: 4, train.epochs: 2, train.batch_size: 64, train.validation_steps: 1,
      train.validation_n: 10, evaluate.suite: pgd, evaluate.steps: 1, evaluate.n: 30}
curve: uniform
cells:
  uniform: {recipe: quickstart-pgd-at, set: {method.steps: 1}, grid: {method.radius: [32px, 64px]}}
  ema: {recipe: quickstart-natural, set: {train.ema: 0.5}}
"""


class Record:
    """What is trained, drawn and evaluated while it watches, each in order."""

    def __init__(self, patch, drawing=False):
        self.trained, self.drawn, self.evaluated = [], [], []
        train, evaluate = iaat.experiments.compare_runs.train, iaat.experiments.compare_runs.evaluate_checkpoint

        def counting_train(recipe, run, *more, **options):
            self.trained.append(run.path.name)
            return train(recipe, run, *more, **options)

        def counting_evaluation(run, recipe, which, *more, weights=None):
            self.evaluated.append((run.path.name, which, weights))
            return evaluate(run, recipe, which, *more, weights=weights)

        patch.setattr(iaat.experiments.compare_runs, "train", counting_train)
        patch.setattr(iaat.experiments.compare_runs, "evaluate_checkpoint", counting_evaluation)
        # Pictures take longer than these trainings.
        patch.setattr(iaat.experiments.compare_runs, "write_pictures", lambda run, *_: self.drawn.append(run.path.name))
        if not drawing:
            patch.setattr(iaat.experiments.comparison.Comparison, "draw", lambda *_: None)


@pytest.fixture
def record(monkeypatch):
    return Record(monkeypatch)


@pytest.fixture
def sweep(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    return str(file)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of the finished runs of the sweep, and what was done for them."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "sweep.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        record = Record(patch, drawing=True)
        assert main(["compare", str(folder / "sweep.yaml"), "--out", str(folder / "runs"), "--quiet"]) == 0
    return folder / "runs", record


@pytest.fixture
def out(first, tmp_path):
    """A copy of the finished runs."""
    return shutil.copytree(first[0], tmp_path / "runs")


def found(out):
    return json.loads((out / "comparison.json").read_text())


NAMES = ["uniform-32px", "uniform-64px", "ema"]


def test_a_sweep_is_trained_once_seed_by_seed_and_evaluated_by_the_checkpoint_it_shows(
    first, out, sweep, record, capsys
):
    done = first[1]
    runs = [f"{name}-seed{seed}" for seed in (0, 1) for name in NAMES]
    assert done.trained == done.drawn == runs
    assert done.evaluated == [(run, "best", "ema" if run.startswith("ema") else None) for run in runs]
    table, result = (out / "comparison.md").read_text(), found(out)
    assert main(["compare", sweep, "--out", str(out)]) == 0
    assert (record.trained, record.evaluated, record.drawn) == ([], [], [])
    assert (out / "comparison.md").read_text() == table
    assert found(out) == result
    assert "train.ema (0.0 in uniform-32px, 0.5 in ema)" in capsys.readouterr().err


def test_a_comparison_leaves_rows_figures_a_table_and_a_picture(first):
    out, _ = first
    result = found(out)
    assert [(row["run"], row["seed"]) for row in result["rows"]] == [(name, seed) for seed in (0, 1) for name in NAMES]
    assert result["curve"] == NAMES[:2]
    robust = [cell["accuracy"]["worst"]["mean"] for cell in result["cells"]]
    assert robust == sorted(robust, reverse=True)
    (far,) = [cell["above_curve"] for cell in result["cells"] if "above_curve" in cell]
    assert set(far["by_seed"]) == {"0", "1"}
    assert far["verdict"] in ("above", "below", "tie", "undecided", "one seed", "outside")
    assert "| ema | 0, 1 |" in (out / "comparison.md").read_text()
    assert (out / "frontier.png").stat().st_size > 5000


def test_both_kinds_of_weights_are_evaluated_where_there_are_two_and_never_pooled(
    sweep, out, record, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["compare", sweep, "--out", str(out), "--weights", "both"]) == 0
    assert (record.trained, record.evaluated) == ([], [(f"ema-seed{seed}", "best", "raw") for seed in (0, 1)])
    assert "ema (raw weights)" in capsys.readouterr().out
    result = found(out)
    assert sorted(cell["name"] for cell in result["cells"]) == sorted([*NAMES, "ema (raw weights)"])
    assert all(cell["seeds"] == [0, 1] for cell in result["cells"])
    kinds = [row["weights"] for row in result["rows"] if row["run"] == "ema"]
    assert kinds == ["ema", "raw"] * 2
    assert not any("weights" in row for row in result["rows"] if row["run"] != "ema")
    folder = out / "ema-seed0" / "evaluations"
    name = "best-pgd-pgd-1-64px-linf-n30/results.json"
    assert json.loads((folder / name).read_text())["weights"] == "ema"
    assert json.loads((folder / "raw-weights" / name).read_text())["weights"] == "raw"


def test_evaluate_takes_the_weights_that_are_asked_for(out, capsys):
    runs = [str(out / "ema-seed0"), str(out / "uniform-32px-seed0")]
    assert main(["evaluate", *runs, "--weights", "both", "--checkpoint", "last", "--evaluate.n", "20"]) == 0
    results = [file.parent.relative_to(out) for file in out.rglob("last-*/results.json")]
    name = "last-pgd-pgd-1-64px-linf-n20"
    assert sorted(map(str, results)) == sorted(
        f"{place}/{name}"
        for place in (
            "ema-seed0/evaluations",
            "ema-seed0/evaluations/raw-weights",
            "uniform-32px-seed0/evaluations",
        )
    )
    printed = capsys.readouterr().out
    assert "ema (raw weights) seed 0 last:" in printed
    assert main(["evaluate", runs[1], "--weights", "raw", "--checkpoint", "last", "--evaluate.n", "20"]) == 0
    assert "raw weights" not in capsys.readouterr().out


def test_the_names_that_weights_had_are_read_where_they_were_written(out, sweep, record, capsys):
    assert main(["compare", sweep, "--out", str(out), "--weights", "raw", "--quiet"]) == 0
    places = [out / f"ema-seed{seed}" / "evaluations" for seed in (0, 1)]
    for place in places:
        (place / "raw-weights").rename(place / "trained-weights")
        (file,) = place.glob("trained-weights/*/results.json")
        file.write_text(file.read_text().replace('"weights": "raw"', '"weights": "trained"'))
    expected, _ = found(out), record.evaluated.clear()
    capsys.readouterr()
    assert main(["compare", sweep, "--out", str(out), "--weights", "trained", "--quiet"]) == 0
    assert capsys.readouterr().err.count("weights trained is read as raw: write that") == 1
    assert (found(out), record.evaluated) == (expected, [])
    assert not any((place / "raw-weights").exists() for place in places)


def test_runs_that_train_has_filled_count_under_the_cells_name(sweep, tmp_path, record, capsys):
    out = tmp_path / "runs"
    for radius in ("32px", "64px"):
        words = ["quickstart-pgd-at", *FAST, *PGD, "--method.radius", radius]
        assert main(["train", *words, "--out", str(out / f"uniform-{radius}-seed0"), "--quiet"]) == 0
    record.trained.clear()
    record.evaluated.clear()
    words = ["compare", sweep, "--only", "uniform", "--seed", "0", "--out", str(out)]
    assert main(words) == 0
    assert (record.trained, record.evaluated) == ([], [])
    assert {row["run"] for row in found(out)["rows"]} == set(NAMES[:2])
    capsys.readouterr()
    assert main([*words, "--train.epochs", "3"]) == 2
    assert "train.epochs: 2 -> 3" in capsys.readouterr().err


def test_a_finished_run_without_evaluation_is_evaluated_and_an_interrupted_one_resumed(first, out, sweep, record):
    shutil.rmtree(out / "ema-seed1" / "evaluations")
    before = (out / "ema-seed1" / "last.pt").read_bytes()
    broken = interrupted(out / "uniform-64px-seed1")
    record.trained.clear()
    assert main(["compare", sweep, "--out", str(out), "--quiet"]) == 0
    assert record.trained == ["uniform-64px-seed1"]
    assert ("ema-seed1", "best", "ema") in record.evaluated
    assert (out / "ema-seed1" / "last.pt").read_bytes() == before
    assert broken.metrics_file.read_text() == (first[0] / broken.path.name / "metrics.jsonl").read_text()
    # What was evaluated half-way does not count for the run.
    assert [figures(row) for row in found(out)["rows"]] == [figures(row) for row in found(first[0])["rows"]]


def figures(row):
    return row["run"], row["seed"], row["epoch"], row["accuracy"]


def interrupted(folder):
    """The run after its first epoch, as an interruption would leave it, with an evaluation made at that time."""
    shutil.rmtree(folder)
    words = ["quickstart-pgd-at", *FAST, *PGD, "--method.radius", "64px", "--seed", "1"]
    save = RunWriter.save_epoch

    def save_and_stop(*arguments, **options):
        save(*arguments, **options)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "save_epoch", save_and_stop)
        assert main(["train", *words, "--out", str(folder), "--quiet"]) == 130
    run = RunFolder(folder)
    assert len(run.metrics()) == 1
    assert main(["evaluate", str(folder), "--checkpoint", "best", "--quiet"]) == 0
    return run


def test_another_method_is_in_the_names_of_rows_and_folders_and_old_folders_go_on(tmp_path, record, capsys):
    out = tmp_path / "out"
    words = ["compare", "quickstart-pgd-at", "quickstart-natural", *FAST, "--method", "natural", "--out", str(out)]
    assert main(words) == 0
    folders = ["quickstart-pgd-at-with-natural-seed0", "quickstart-natural-seed0"]
    assert record.trained == folders
    names = {"quickstart-pgd-at-with-natural", "quickstart-natural"}
    assert {cell["name"] for cell in found(out)["cells"]} == names

    # Older versions named the run by the recipe alone.
    (out / folders[0]).rename(out / "quickstart-pgd-at-seed0")
    assert main(words) == 0
    assert record.trained == folders
    assert {cell["name"] for cell in found(out)["cells"]} == names
    assert f"next: iaat report {out} -o" in capsys.readouterr().out  # all runs in it are those compared

    # A run of other settings there is another run.
    assert main([*words, "--train.lr", "0.01", "--only", "quickstart-pgd-at-with-natural"]) == 0
    assert record.trained == [*folders, folders[0]]


def test_another_method_is_in_the_names_of_a_sweeps_cells(sweep):
    cells = read_cells([sweep], ["--method", "trades"])
    assert [cell.name for cell in cells] == [f"{name}-with-trades" for name in NAMES]
    assert [cell.name for cell in read_cells([sweep])] == NAMES


def test_no_train_shows_what_is_finished_and_names_the_rest(sweep, out, tmp_path, record, capsys):
    shutil.rmtree(out / "ema-seed1")
    interrupted(out / "uniform-64px-seed1")
    record.trained.clear()
    capsys.readouterr()
    assert main(["compare", sweep, "--out", str(out), "--no-train", "--quiet"]) == 0
    assert record.trained == []
    printed = capsys.readouterr().out
    assert "not finished: uniform-64px-seed1 (epoch 1 of 2), ema-seed1 (not begun)" in printed
    assert printed.index("not finished") > printed.index("uniform-64px")
    assert not (out / "ema-seed1").exists()
    result = found(out)
    assert len(result["rows"]) == 4
    assert result["missing"] == ["uniform-64px-seed1 (epoch 1 of 2)", "ema-seed1 (not begun)"]
    assert main(["compare", sweep, "--out", str(tmp_path / "none"), "--no-train"]) == 2
    assert "none of these runs is finished" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_mistakes_in_the_last_cell_stop_the_sweep_before_the_first_is_trained(tmp_path, record, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(SWEEP + "  bad: {recipe: quickstart, set: {model.name: resnet81}}\n")
    assert main(["compare", str(file), "--out", str(tmp_path / "runs")]) == 2
    assert "resnet81" in capsys.readouterr().err
    assert record.trained == []
    assert not (tmp_path / "runs").exists()


def test_a_comparison_says_what_its_runs_share_of_the_data_once(tmp_path, record, capsys):
    for split, label in product(("train", "test"), ("cat", "dog")):
        folder = tmp_path / "images" / split / label
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (6, 6), (40 * number, len(split), len(label))).save(folder / f"{label}-{number}.png")
    (tmp_path / "images/train/cat/note.md").write_text("not an image", encoding="utf-8")
    words = [*("--data.name", "folder", "--data.root", str(tmp_path / "images"), "--data.crop", "0"), *FAST, *PGD]
    assert main(["compare", "quickstart", *words, "--seeds", "2", "--out", str(tmp_path / "out")]) == 0
    assert len(record.trained) == 2
    assert capsys.readouterr().out.count("1 other file left out") == 1


@pytest.mark.parametrize(
    ("words", "said"), [(["--seeds", "2"], 1), (["--seeds", "1"], 0), (["--seeds", "2", "3"], 0), (["--seed", "2"], 0)]
)
def test_one_number_is_said_to_be_how_many_seeds(tmp_path, record, capsys, words, said):
    assert main(["compare", "quickstart-natural", *FAST, *words, "--out", str(tmp_path / "out")]) == 0
    line = "--seeds 2 is a number of seeds, 0 to 1; for seed 2 alone say --seed 2"
    assert capsys.readouterr().out.count(line) == said


def test_a_finished_run_of_other_labels_is_refused(tmp_path, record, capsys):
    """The table of corrected labels is typed the second time: the run that is there has not seen it."""
    words = ["compare", "quickstart-natural", "--out", str(tmp_path / "runs"), *FAST]
    assert main(words) == 0
    labels = build_data(DataConfig(limit=120), seed=0).train.labels.tolist()
    changed = tmp_path / "fix.csv"
    rows = [f"{position},{labels[position]},{(labels[position] + 1) % 10},relabel" for position in range(9)]
    changed.write_text("\n".join(["index,label,new_label,decision", *rows]) + "\n")
    capsys.readouterr()
    assert main([*words, "--data.relabel", str(changed)]) == 2
    assert "other labels, classes or files than the one the checkpoint was made with" in capsys.readouterr().err
    changed.write_text("index,label,new_label,decision\n")  # corrects nothing
    assert main([*words, "--data.relabel", str(changed)]) == 0
    assert record.trained == ["quickstart-natural-seed0"]
