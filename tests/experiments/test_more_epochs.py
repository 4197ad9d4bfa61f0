"""More epochs on a finished run: radii and state are kept; schedules that have ended refuse."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from helpers.training import QUIET, same, tiny
from iaat import UserError
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.radius_range import radius_span, warn_of_radii
from iaat.evaluate.evaluate_run import load_evaluated
from iaat.experiments.resolved_recipe import resolved
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train

CONSTANT = ("--train.schedule", "constant", "--method.steps", "1")
DROPS = ("--train.schedule", "multistep", "--train.milestones", "[1]", "--method.steps", "1")


def epochs(count, *words, method="pgd_at"):
    return tiny(method, *words, "--train.epochs", str(count))


def trained(folder, recipe, *, longer=False):
    run = RunFolder(folder)
    recipe = resolved(recipe, run if longer else None, longer=longer)
    data = train(recipe, run, QUIET, resume=longer)
    return run, recipe, data


@pytest.mark.parametrize("words", [CONSTANT, DROPS], ids=["constant", "multistep"])
def test_two_and_two_epochs_are_four(tmp_path, words):
    """Where nothing follows from the number of epochs, to the bit."""
    whole, *_ = trained(tmp_path / "whole", epochs(4, *words))
    trained(tmp_path / "longer", epochs(2, *words))
    longer, recipe, data = trained(tmp_path / "longer", epochs(4, *words), longer=True)
    for which in ("last", "best"):
        mine, theirs = load_checkpoint(longer.checkpoint(which)), load_checkpoint(whole.checkpoint(which))
        assert same(mine["model"], theirs["model"])
        assert same(mine["optimizer"], theirs["optimizer"])
    assert longer.metrics_file.read_bytes() == whole.metrics_file.read_bytes()
    assert longer.recipe().train.epochs == 4
    assert (longer.lengthened(), whole.lengthened()) == ([2], [])
    digests = [load_evaluated(run, recipe, "last", data).facts.recipe for run in (longer, whole)]
    assert digests[0] != digests[1]  # one is no seed of the other


def test_radii_are_kept_and_move_by_what_follows_from_all_epochs(tmp_path):
    words = (*CONSTANT, "--method.reach", "0.4")
    run, *_ = trained(tmp_path / "run", epochs(2, *words, method="iaat"))
    before = torch.from_numpy(run.radii_after(2)[1])
    trained(tmp_path / "run", epochs(3, *words, method="iaat"), longer=True)
    moved = (torch.from_numpy(run.radii_after(3)[1]) - before).abs() * 255
    torch.testing.assert_close(moved, torch.full_like(moved, 0.4 * 64 / 3))
    assert run.radii_epochs() == [1, 2, 3]


def test_the_warm_up_of_a_run_that_goes_on_is_over(tmp_path):
    words = (*CONSTANT, "--method.beta", "0.01")
    run, *_ = trained(tmp_path / "run", epochs(1, *words, method="iaat_paper"))
    before = torch.from_numpy(run.radii_after(1)[1]) * 255
    assert epochs(17, *words, method="iaat_paper").run_method.warmup == 2
    trained(tmp_path / "run", epochs(17, *words, method="iaat_paper"), longer=True)
    after = torch.from_numpy(run.radii_after(2)[1]) * 255
    assert float((after - before).abs().max()) < 1  # and not up to 64, as by another warm-up
    for count in (17, 50):  # resumed, and given more again
        again = resolved(epochs(count, *words, method="iaat_paper"), run, longer=True)
        assert (again.method.warmup, again.run_method.warmup) == (0, 0)
    assert run.recipe().method.warmup == 0
    assert resolved(epochs(17, *words, method="iaat_paper"), run).method.warmup == 0  # as a comparison


def test_a_run_that_older_versions_gave_more_epochs_keeps_the_warm_up_of_all(tmp_path):
    """They wrote none down: the constants in use are those of all epochs."""
    run, *_ = trained(tmp_path / "run", epochs(1, *CONSTANT, method="iaat_paper"))
    run.lengthen(17)
    for longer in (True, False):
        recipe = resolved(epochs(17, *CONSTANT, method="iaat_paper"), run, longer=longer)
        assert recipe.run_method == epochs(17, *CONSTANT, method="iaat_paper").run_method
    run.lengthen(50, {"warmup": 2})  # by this version
    assert resolved(epochs(50, *CONSTANT, method="iaat_paper"), run, longer=True).method.warmup == 2


def test_a_run_that_goes_on_is_resumed_as_the_longer_one(tmp_path):
    trained(tmp_path / "run", epochs(2, *CONSTANT))
    run, *_ = trained(tmp_path / "run", epochs(3, *CONSTANT), longer=True)
    with pytest.raises(UserError, match=r"train\.epochs: 3 -> 2"):
        resolved(epochs(2, *CONSTANT), run, longer=True)
    assert resolved(epochs(3, *CONSTANT), run, longer=True).train.epochs == 3
    trained(tmp_path / "run", epochs(5, *CONSTANT), longer=True)
    assert run.lengthened() == [2, 3]
    assert json.loads((run.path / "run.json").read_text())["name"] == "quickstart"


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_schedule_that_has_ended_is_named_with_the_way_on(tmp_path, schedule):
    words = ("--train.schedule", schedule)
    run, *_ = trained(tmp_path / "run", epochs(1, *words, method="natural"))
    with pytest.raises(UserError, match=rf"by train\.schedule {schedule}.*method\.start_from.*constant or"):
        resolved(epochs(2, *words, method="natural"), run, longer=True)


def test_a_stopped_run_is_not_said_to_have_ended_its_schedule(tmp_path):
    run, *_ = trained(tmp_path / "run", epochs(1, method="natural"))
    run.lengthen(3)  # as one that was stopped after the first of three
    with pytest.raises(UserError) as caught:
        resolved(epochs(4, method="natural"), run, longer=True)
    message = str(caught.value)
    assert "has 1 of its 3 epochs, and train.schedule onecycle was planned for 3: with 4 the learning rates" in message
    assert "Finish it with train.epochs 3, or train all 4 epochs in another run folder" in message
    assert "to its end" not in message


ACCEPTED = {
    "suite": "pgd",
    "steps": "3",
    "step_size": "2px",
    "restarts": "2",
    "n": "9",
    "order": "published",
    "seed": "5",
    "autoattack_arithmetic": "bfloat16",
}
REFUSED = {"radius": "32px", "norm": "l2", "target": "random", "batch_size": "7"}


def test_every_key_of_the_evaluation_is_accepted_on_resume_or_refused_with_the_reason(tmp_path):
    keys = {each.name for each in dataclasses.fields(EvaluateConfig)}
    assert keys == {*ACCEPTED, *REFUSED}
    run, *_ = trained(tmp_path / "run", epochs(1, method="natural"))
    for key, value in ACCEPTED.items():
        resolved(epochs(1, f"--evaluate.{key}", value, method="natural"), run, longer=True)
    named = ", ".join(f"evaluate.{key}" for key in REFUSED)
    for key, value in REFUSED.items():
        radius = ("--evaluate.radius", "1") if key == "norm" else ()
        changed = epochs(1, f"--evaluate.{key}", value, *radius, method="natural")
        with pytest.raises(UserError, match=rf"evaluate\.{key}: .*{named} are also those of the attack on validation"):
            resolved(changed, run, longer=True)
    with pytest.raises(UserError) as caught:
        resolved(epochs(1, "--train.lr", "0.3", method="natural"), run, longer=True)
    assert "validation" not in str(caught.value)
    text = (Path(__file__).parents[2] / "docs/reliability.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`evaluate\.(\w+)`", text)) == set(REFUSED)


def test_only_a_finished_run_that_differs_in_nothing_else_goes_on(tmp_path):
    words = ("--train.schedule", "constant")
    run, *_ = trained(tmp_path / "run", epochs(1, *words, method="natural"))
    with pytest.raises(UserError, match=r"train\.epochs: 1 -> 2; train\.lr"):
        resolved(epochs(2, *words, "--train.lr", "0.3", method="natural"), run, longer=True)
    with pytest.raises(UserError, match=r"train\.epochs: 1 -> 2"):
        resolved(epochs(2, *words, method="natural"), run)  # as a comparison, which trains all from the start
    run.lengthen(3)
    with pytest.raises(UserError, match=r"has 1 of its 3 epochs: finish it with train\.epochs 3"):
        resolved(epochs(4, *words, method="natural"), run, longer=True)


# Radii of a run as the start of another


def test_a_run_begins_with_the_radii_of_another_and_resumes_without_it(tmp_path):
    first, _, data = trained(tmp_path / "first", epochs(1, *CONSTANT, "--method.reach", "0.4", method="iaat"))
    index, radius = first.radii_after(1)
    words = (*CONSTANT, "--method.start_from", str(first.path), "--method.reach", "0.5")
    second, recipe, _ = trained(tmp_path / "second", epochs(2, *words, method="iaat"))
    moved = (torch.from_numpy(second.radii_after(1)[1]) - torch.from_numpy(radius)).abs() * 255
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5 * 64 / 2))
    rest = [position for position in range(len(data.train)) if position not in set(index.tolist())]
    values = load_checkpoint(second.checkpoint("last"))["method"]["radii"]["values"] * 255
    torch.testing.assert_close(values[rest], torch.full((len(rest),), 64.0))
    (tmp_path / "first").rename(tmp_path / "moved")
    trained(tmp_path / "second", recipe, longer=True)


def test_a_start_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"radii .*radii\.parquet: no such file"):
        trained(tmp_path / "run", epochs(1, "--method.start_from", str(tmp_path), method="iaat"))


def test_radii_of_another_run_are_no_bound_that_is_known():
    words = ("--method.start_from", "run", "--method.norm", "l2", "--method.radius", "1", "--evaluate.norm", "l2")
    assert radius_span(tiny("iaat", *words, "--evaluate.radius", "1")) is None
    capped = tiny("iaat", "--method.start_from", "run", "--method.cap", "70px")
    assert radius_span(capped).startswith("each image its own, at most 70px")
    warn_of_radii(tiny("iaat", "--method.start_from", "run"))
