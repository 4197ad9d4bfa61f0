"""Every command through `main`, on real digits and on image folders; mistakes end in one line and exit code 2."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from iaat.cli.main import main
from iaat.runs.run_folder import RunFolder

FAST = [
    *("--data.limit", "200", "--model.width", "4", "--train.epochs", "2", "--train.batch_size", "64"),
    *("--train.validation_steps", "1", "--train.validation_n", "10", "--evaluate.steps", "2", "--evaluate.n", "50"),
]
IAAT = ["--method.steps", "1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "quickstart", *FAST, *IAAT, "--out", str(folder), "--quiet"]) == 0
    return RunFolder(folder)


def refused(capsys, *words):
    """The message of a command that must be refused."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_train_leaves_a_whole_run_folder(trained):
    names = {path.relative_to(trained.path).as_posix() for path in trained.path.rglob("*") if path.is_file()}
    assert names == {
        "recipe.yaml", "run.json", "metrics.jsonl", "timings.jsonl", "last.pt", "best.pt", "radii.parquet",
        "checkpoints/0001.pt",
        "radii/0001.safetensors", "radii/0002.safetensors",
        *(f"evaluations/{which}-quick-pgd-2-64px-linf-n50/{file}" for which in ("best", "last")
          for file in ("results.json", "records.parquet", "journal.jsonl")),
        "pictures/training.png", "pictures/radii.png", "pictures/radii-per-class.png", "pictures/extremes.png",
    }  # fmt: skip
    run = json.loads((trained.path / "run.json").read_text())
    assert run["seed"] == 0
    assert run["versions"]["torch"] == torch.__version__


def test_evaluate_prints_what_it_writes(trained, capsys):
    assert main(["evaluate", str(trained.path), "--evaluate.steps", "1", "--evaluate.n", "40"]) == 0
    printed = capsys.readouterr().out
    for which in ("best", "last"):
        file = trained.path / "evaluations" / f"{which}-quick-pgd-1-64px-linf-n40" / "results.json"
        results = json.loads(file.read_text())
        assert results["n"] == 40
        assert f"{100 * results['accuracy']['clean']:.2f}" in printed
        assert f"{100 * results['accuracy']['screening']:.2f}" in printed


def test_what_a_run_has_cost_is_that_of_all_its_epochs_whichever_checkpoint_is_evaluated(trained):
    found = [json.loads(file.read_text()) for file in trained.path.glob("evaluations/*-n50/results.json")]
    assert len(found) == 2
    cost = trained.training_cost()
    assert all({key: results[key] for key in cost} == cost for results in found)


def test_evaluate_refuses_to_change_the_model_of_a_run(trained, capsys):
    assert "finished run keeps its recipe" in refused(capsys, "evaluate", trained.path, "--model.width", "8")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_radii_writes_a_table_and_prints_a_summary_per_class(trained, suffix, tmp_path, capsys):
    out = tmp_path / f"radii.{suffix}"
    assert main(["radii", str(trained.path), "--out", str(out), "--epoch", "1"]) == 0
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    index, radius = trained.radii_after(1)
    assert table["index"].tolist() == index.tolist()
    np.testing.assert_allclose(table["radius"], radius, atol=1e-7)
    np.testing.assert_allclose(table["radius_px"], radius * 255, rtol=1e-5)
    assert set(table["epoch"]) == {1}
    assert {"label", "prediction"} <= set(table.columns)
    printed = capsys.readouterr().out
    assert f"{table['radius_px'].mean():.2f}" in printed
    assert all(re.search(rf"^ *{digit} ", printed, flags=re.MULTILINE) for digit in range(10))


def test_radii_of_an_unknown_epoch_or_a_method_without_radii(trained, tmp_path, capsys, monkeypatch):
    assert "no radii of epoch 9; it has those of 1 to 2" in refused(capsys, "radii", trained.path, "--epoch", 9)
    natural = tmp_path / "natural"
    assert main(["train", "quickstart-natural", *FAST, "--out", str(natural), "--quiet"]) == 0
    # Before the training set is read.
    monkeypatch.setattr("iaat.cli.commands.radii.build_data", None)
    assert "has no radii" in refused(capsys, "radii", natural)
    assert "no radii of epoch 9" in refused(capsys, "radii", trained.path, "--epoch", 9)
    assert "radii.txt" in refused(capsys, "radii", trained.path, "--out", tmp_path / "radii.txt")


def test_an_existing_run_is_kept_unless_overwrite_is_given(trained, capsys):
    before = trained.checkpoint("last").read_bytes()
    message = refused(capsys, "train", "quickstart", *FAST, *IAAT, "--out", trained.path)
    assert "--resume" in message
    assert "--overwrite" in message
    message = refused(capsys, "train", "quickstart", *FAST, "--out", trained.path, "--resume")
    own = shlex.split(message.split("`")[1])
    assert own == ["iaat", "train", f"{trained.path}/recipe.yaml", "--out", str(trained.path), "--resume"]
    assert main([*own[1:], "--quiet"]) == 0
    capsys.readouterr()
    assert "method.steps: 1 -> 5" in message
    assert trained.checkpoint("last").read_bytes() == before
    assert main(["train", "quickstart", *FAST, *IAAT, "--out", str(trained.path), "--resume", "--quiet"]) == 0
    assert trained.checkpoint("last").read_bytes() == before


def interrupted(*_args, **_more):
    raise KeyboardInterrupt


@pytest.mark.parametrize("command", ["train", "compare"])
def test_ctrl_c_says_what_is_kept(tmp_path, trained, capsys, monkeypatch, command):
    out = ["--out", str(tmp_path)] if command == "compare" else ["--out", str(tmp_path / "quickstart-seed0")]
    words = [command, "quickstart", *out]
    with monkeypatch.context() as patched:
        patched.setattr("iaat.cli.commands.run_command", interrupted)
        assert main(words) == 130
    assert (
        f"interrupted: training had not begun. To go on:\n  {shlex.join(['iaat', *words])}\n" in capsys.readouterr().err
    )
    monkeypatch.setattr("iaat.cli.commands.train.run_recipe", interrupted)
    monkeypatch.setattr("iaat.cli.commands.compare.compare", interrupted)
    assert main(words) == 130
    assert "interrupted: nothing was trained yet, there is no checkpoint. To go on:" in capsys.readouterr().err
    shutil.copytree(trained.path, tmp_path / "quickstart-seed0")
    assert main(words) == 130
    said = capsys.readouterr().err
    kept = {
        "train": "training is finished, and --resume goes on with the evaluation",
        "compare": "training is kept up to the last checkpoint",
    }
    assert f"interrupted: {kept[command]}. To go on:" in said
    assert said.endswith(" --resume\n") == (command == "train")


def test_evaluating_an_unfinished_run_says_once_how_far_it_is(trained, tmp_path, capsys):
    run = RunFolder(shutil.copytree(trained.path, tmp_path / "run"))
    recipe = run.recipe_file.read_text(encoding="utf-8")
    run.recipe_file.write_text(recipe.replace("epochs: 2\n", "epochs: 5\n"), encoding="utf-8")
    assert main(["evaluate", str(run.path), "--quiet"]) == 0
    assert capsys.readouterr().err.count("is not finished: it has 2 of 5 epochs") == 1
    assert main(["evaluate", str(trained.path), "--quiet"]) == 0
    assert "not finished" not in capsys.readouterr().err


def test_overwrite_with_a_mistake_leaves_the_old_run(trained, capsys):
    before = trained.checkpoint("last").read_bytes()
    refused(capsys, "train", "quickstart", *FAST, "--model.name", "resnet81", "--out", trained.path, "--overwrite")
    assert trained.checkpoint("last").read_bytes() == before


def test_compare_trains_what_is_missing_and_reuses_the_rest(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    words = [
        "compare",
        "quickstart-natural",
        "quickstart-pgd-at",
        *("--seeds", "0", "1"),
        "--out",
        str(tmp_path),
        *FAST,
    ]
    assert main(words) == 0
    first = capsys.readouterr().out
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")}
    assert len(stamps) == 4
    rows = json.loads((tmp_path / "comparison.json").read_text())["rows"]
    assert [(row["run"], row["seed"]) for row in rows] == [
        ("quickstart-natural", 0), ("quickstart-pgd-at", 0), ("quickstart-natural", 1), ("quickstart-pgd-at", 1),
    ]  # fmt: skip
    mean = np.mean([100 * row["accuracy"]["clean"] for row in rows if row["run"] == "quickstart-pgd-at"])
    assert f"{mean:.2f} ± " in first
    assert "0, 1" in first
    assert (tmp_path / "frontier.png").stat().st_size > 5000
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")} == stamps
    assert capsys.readouterr().out.splitlines()[-8:] == first.splitlines()[-8:]


def test_check_prints_the_recipe_and_costs_and_runs_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "cifar10-wrn32-10-iaat-paper", "--method.beta", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert "beta: 0.2" in printed
    assert "46,160,474" in printed
    assert "32F 29.2B" in printed
    assert list(tmp_path.iterdir()) == []


def test_keys_may_come_before_the_recipe(capsys):
    assert main(["check", "--train.epochs", "7", "--method=pgd_at", "quickstart", "--seed", "5"]) == 0
    printed = capsys.readouterr().out
    assert "epochs: 7" in printed
    assert "name: pgd_at" in printed
    assert "seed: 5" in printed


def test_two_recipes_of_one_name_are_not_compared(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text("extends: quickstart")
    message = refused(capsys, "compare", tmp_path / "a" / "mine.yaml", tmp_path / "b" / "mine.yaml", "--out", tmp_path)
    assert "mine-seedN" in message
    assert "rename" in message


def test_recipes_lists_every_recipe(capsys):
    assert main(["recipes"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "quickstart",
        "cifar10-resnet18-natural",
        "cifar10-wrn32-10-pgd-at",
        "cifar10-small-iaat",
        "folder-iaat",
    ):
        assert f" {name} " in printed


def test_help_of_a_recipe_documents_every_key_with_the_recipes_defaults(capsys):
    assert main(["train", "cifar10-small-iaat", "--help", "all"]) == 0
    printed = capsys.readouterr().out
    for key in ("--data.root", "--method.reach", "--train.milestones", "--evaluate.restarts", "--model.width"):
        assert key in printed
    assert "default: 0px" in printed  # the recipe's start, not the class's


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["train", "quikstart"], ["'quikstart'", "did you mean 'quickstart'", "iaat recipes"]),
        (["train", "quickstart", "--train.epoch", "3"], ["--train.epoch", "did you mean '--train.epochs'"]),
        (["train", "quickstart", "--train.epochs", "three"], ["train.epochs", "three"]),
        (
            ["train", "quickstart", "--method.norm", "l3"],
            ["method.norm is \"l3\", which should be 'linf' or 'l2'"],
        ),
        (["train", "quickstart", "--method.cap", "x"], ["method.cap", "'x'", "write 8px", "null"]),
        (["train", "quickstart", "--data.limit", "x"], ['data.limit is "x", which should be a valid integer']),
        (["train", "quickstart", "--method.radius", "8"], ["method.radius = 8", "8px", "8/255"]),
        (["train", "quickstart", "--method", "iat"], ["'iat'", "did you mean 'iaat'"]),
        (["train", "quickstart", "--model.name", "resnet81"], ["model.name", "'resnet81'", "resnet18"]),
        (["train", "quickstart", "--data.name", "digit"], ["data.name", "'digit'", "digits"]),
        (["train", "quickstart", "--train.device", "gpu0"], ["train.device", "'gpu0'"]),
        (["train", "quickstart", "--resume", "--overwrite"], ["exclude"]),
        (["train"], ["RECIPE", "iaat train --help"]),
        (["trane", "quickstart"], ["trane"]),
        (["recipes", "--quite"], ["--quite"]),
        (["recipes", "--train.epochs", "3"], ["--train.epochs", "iaat check"]),
        (["compare", "quickstart", "--seed", "3", "--seeds", "3"], ["--seed 3", "--seeds 3", "exclude"]),
        (["compare", "quickstart", "--seeds", "0"], ["--seeds 0", "at least 1", "--seed 0"]),
        (["compare", "quickstart", "--only", "iaat"], ["--only iaat", "quickstart"]),
        (["compare", "quickstart", "--weights", "raws"], ["--weights", "'raw'"]),
        (["train", "quickstart", "--train.epochs"], ["--train.epochs"]),
        (["evaluate", "no-such-run"], ["no-such-run", "neither a run folder"]),
        (["train", "folder-iaat", "--data.root", "no-such-folder"], ["data.root", "no-such-folder"]),
    ],
)
def test_mistakes_are_named_with_place_and_fix(words, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, *words)
    for part in parts:
        assert part in message


def image_folder(root, classes=("cat", "dog"), per_class=30):
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for number, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for image in range(per_class):
                pixels = generator.integers(0, 128, (12, 12, 3)) + 127 * number
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{image:03d}.png")
    return root


FOLDER = [
    *("--data.size", "12", "--model.name", "small-cnn", "--train.epochs", "1", "--train.batch_size", "16"),
    *("--data.crop", "1", "--method.steps", "1", "--train.validation_steps", "1", "--evaluate.steps", "1"),
]


def test_your_own_image_folder_trains_and_its_radii_carry_paths(tmp_path):
    root, out = image_folder(tmp_path / "images"), tmp_path / "run"
    assert main(["train", "folder-iaat", "--data.root", str(root), *FOLDER, "--out", str(out), "--quiet"]) == 0
    table = pd.read_parquet(out / "radii.parquet")
    assert len(table) == 54  # 60 less a validation split of 10 %
    assert all(path.split("/")[1] == label for path, label in zip(table["path"], table["label"], strict=True))


def test_a_corrupt_image_is_named_and_nothing_else_is_lost(tmp_path, capsys):
    root, out = image_folder(tmp_path / "images"), tmp_path / "run"
    broken = root / "train" / "cat" / "003.png"
    broken.write_bytes(broken.read_bytes()[:60])
    message = refused(capsys, "train", "folder-iaat", "--data.root", root, *FOLDER, "--out", out)
    assert "train/cat/003.png" in message


def test_data_that_changed_since_the_checkpoint_is_refused(tmp_path, capsys):
    root, out = image_folder(tmp_path / "images"), tmp_path / "run"
    words = ["train", "folder-iaat", "--data.root", root, *FOLDER, "--out", out]
    assert main([*map(str, words), "--quiet"]) == 0
    (root / "train" / "dog" / "029.png").unlink()
    message = refused(capsys, *words, "--resume")
    assert "59 samples" in message
    assert "60" in message


def test_a_run_that_never_finished_an_epoch_does_not_stand_in_the_way(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "quickstart-natural", *FAST, "--out", str(out), "--quiet"]
    refused(capsys, *words, "--model.name", "resnet81")
    assert main(words) == 0


def test_the_installed_command_ends_without_a_traceback():
    command = [sys.executable, "-m", "iaat.cli.main", "train", "quickstart", "--train.lr", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: recipe quickstart: train.lr is -1, which should be greater than 0\n"


def test_evaluation_and_radii_refuse_other_data_than_the_runs_own(tmp_path, capsys):
    root, out = image_folder(tmp_path / "images"), tmp_path / "run"
    assert main(["train", "folder-iaat", "--data.root", str(root), *FOLDER, "--out", str(out), "--quiet"]) == 0
    results = {path: path.read_bytes() for path in out.rglob("results.json")}
    assert len(results) == 2
    renamed = image_folder(tmp_path / "renamed", classes=("dog", "zebra"))
    assert "the run has cat, dog" in refused(capsys, "evaluate", out, "--data.root", renamed)
    fewer = image_folder(tmp_path / "fewer")
    (fewer / "test" / "cat" / "000.png").unlink()
    (fewer / "train" / "cat" / "000.png").unlink()
    assert "test set has other labels or files" in refused(capsys, "evaluate", out, "--data.root", fewer)
    assert "59 samples" in refused(capsys, "radii", out, "--data.root", fewer)
    assert {path: path.read_bytes() for path in results} == results


def test_radii_of_an_earlier_epoch_leave_the_last_ones_alone_and_claim_no_prediction(trained):
    last = (trained.path / "radii.parquet").read_bytes()
    assert main(["radii", str(trained.path), "--epoch", "1"]) == 0
    earlier = trained.path / "radii" / "0001.parquet"
    table = pd.read_parquet(earlier)
    assert set(table["epoch"]) == {1}
    assert table["prediction"].isna().all()
    assert (trained.path / "radii.parquet").read_bytes() == last
    earlier.unlink()


def test_an_evaluation_by_another_step_size_has_a_folder_of_its_own(trained):
    before = {path: path.read_bytes() for path in trained.path.rglob("results.json")}
    words = ["--evaluate.step_size", "1px", "--checkpoint", "best", "--quiet"]
    assert main(["evaluate", str(trained.path), *words]) == 0
    new = set(trained.path.rglob("results.json")) - set(before)
    assert len(new) == 1
    assert json.loads(new.pop().read_text())["evaluate"]["step_size"] == "1px"
    assert all(path.read_bytes() == content for path, content in before.items())


def test_compare_finds_mistakes_before_it_trains(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("extends: quickstart\nmodel: {name: resnet81}")
    (tmp_path / "other.yaml").write_text("extends: quickstart\nevaluate: {radius: 10px}")
    out = tmp_path / "runs"
    assert "'resnet81'" in refused(capsys, "compare", "quickstart", tmp_path / "bad.yaml", "--out", out)
    assert "different attacks" in refused(capsys, "compare", "quickstart", tmp_path / "other.yaml", "--out", out)
    assert not out.exists()


def test_compare_evaluates_finished_runs_by_another_attack_without_training(tmp_path, capsys):
    words = ["compare", "quickstart-natural", "--out", str(tmp_path), *FAST]
    assert main([*words, "--quiet"]) == 0
    before = (tmp_path / "quickstart-natural-seed0" / "last.pt").read_bytes()
    assert main([*words, "--evaluate.steps", "3", "--checkpoint", "last"]) == 0
    assert "PGD-3 64px" in capsys.readouterr().out
    assert (tmp_path / "quickstart-natural-seed0" / "last.pt").read_bytes() == before
    (row,) = json.loads((tmp_path / "comparison.json").read_text())["rows"]
    assert row["checkpoint"] == "last"


def test_training_in_one_norm_is_not_silently_evaluated_in_another(tmp_path, capsys):
    words = [
        "train",
        "quickstart",
        *FAST,
        *IAAT,
        "--out",
        tmp_path / "run",
        "--method.norm",
        "l2",
        "--method.radius",
        "0.5",
    ]
    assert "evaluate.norm l2" in refused(capsys, *words)
    assert main([*map(str, words), "--evaluate.norm", "l2", "--evaluate.radius", "0.5", "--quiet"]) == 0


def test_the_resolved_recipe_says_the_precision_and_a_resumed_run_keeps_it(tmp_path):
    out = tmp_path / "run"
    words = ["train", "quickstart-natural", *FAST, "--train.precision", "bf16", "--out", str(out), "--quiet"]
    assert main(words) == 0
    words[words.index("bf16")] = "auto"
    assert main([*words, "--resume"]) == 0
    assert "precision: bf16" in (out / "recipe.yaml").read_text()
    assert (
        main(["train", "quickstart-natural", *FAST, "--train.precision", "auto", "--out", str(out), "--overwrite"]) == 0
    )
    assert "precision: auto" not in (out / "recipe.yaml").read_text()


def test_warnings_reach_the_user_without_source_lines(tmp_path):
    words = ["train", "quickstart-natural", *FAST, "--data.size", "32", "--quiet", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-m", "iaat.cli.main", *words], capture_output=True, text=True, check=True)
    assert done.stderr == "warning: data.size=32 has no effect with data.name=digits\n"


def test_variables_of_a_launcher_that_are_no_numbers_are_an_error_without_a_traceback():
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "x"}
    words = [sys.executable, "-m", "iaat", "train", "quickstart"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the launcher has set WORLD_SIZE to 'x', which is no number")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out"), RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()],
)
@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["train", "quickstart"], ": lower train.batch_size, raise train.accumulate, or free memory: training had not"),
        (["compare", "quickstart"], ": lower train.batch_size, raise train.accumulate, or free memory: training had"),
        (
            ["evaluate", "RUN"],
            ": free memory, or lower evaluate.batch_size, which begins the evaluation anew: finished batches",
        ),
        (["radii", "RUN"], ": free memory\n"),
        (["report", "RUN"], ": free memory\n"),
        (["export", "RUN", "--format", "pt2"], ": free memory\n"),
    ],
)
def test_a_lack_of_memory_ends_every_command_with_advice_that_it_takes(capsys, monkeypatch, error, words, advice):
    def failing(*_):
        raise error

    monkeypatch.setattr("iaat.cli.commands.run_command", failing)
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert advice in said


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize(
    ("trained", "advice"),
    [
        ([False], ": raise train.accumulate, which takes batches in parts"),
        ([True], ": free memory, or lower evaluate.batch_size, which"),
        ([True, False], ": raise train.accumulate while a run is trained, lower evaluate.batch_size while one is eval"),
    ],
)
def test_advice_on_memory_for_a_run_that_has_begun_may_be_followed_on_resume(
    capsys, monkeypatch, tmp_path, command, trained, advice
):
    runs = {tmp_path / str(number): done for number, done in enumerate(trained)}

    def failing(options, *_):
        options.runs.extend(map(RunFolder, runs))
        raise MemoryError

    monkeypatch.setattr(RunFolder, "has_results", lambda _: True)
    monkeypatch.setattr(RunFolder, "is_trained", lambda run: runs[run.path])
    monkeypatch.setattr("iaat.cli.commands.run_command", failing)
    assert main([command, "quickstart"]) == 1
    assert advice in capsys.readouterr().err


def test_training_that_is_resumed_may_take_batches_in_parts(tmp_path, capsys):
    words = ["train", "quickstart-natural", *FAST, "--out", str(tmp_path / "run"), "--quiet"]
    assert main(words) == 0
    assert main([*words, "--resume", "--train.accumulate", "2"]) == 0
