"""Recipes read the same data set where all that decides it is the same."""

import dataclasses
from pathlib import Path

import pytest
import torch

from helpers.training import QUIET, tiny
from iaat.errors import UserError
from iaat.experiments import evaluate_targets
from iaat.experiments.resolved_recipe import data_key, resolved
from iaat.experiments.targets import Target
from iaat.runs.run_folder import RunFolder

OWN_SPLIT = ["--train.device", "cpu", "--data.split_seed", "null"]


@pytest.mark.parametrize("words", [["--train.device", "cuda"], ["--seed", "1"], ["--data.limit", "7"]])
def test_a_data_set_goes_by_its_settings_its_split_and_its_device(words):
    assert data_key(tiny("natural", *OWN_SPLIT, *words)) != data_key(tiny("natural", *OWN_SPLIT))


def test_seeds_share_a_data_set_where_they_do_not_split_it():
    first, second = (tiny("natural", "--data.split_seed", "0", "--seed", seed) for seed in "12")
    assert data_key(first) == data_key(second)


def test_the_device_that_is_taken_by_itself_is_no_other(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    own, named = (tiny("natural", *OWN_SPLIT[2:], "--train.device", device) for device in ("auto", "cpu"))
    assert data_key(own) == data_key(named)


def test_the_command_that_goes_on_has_what_no_file_may_choose_by_itself(tmp_path):
    run = RunFolder(tmp_path / "run")
    words = ["--train.radii_folder", str(tmp_path / "fast"), "--model.name", "helpers.training:tiny", *OWN_SPLIT]
    recipe = tiny("iaat", *words)
    run.path.mkdir()
    run.recipe_file.write_text(recipe.to_yaml())
    run.checkpoint("last").touch()
    with pytest.raises(UserError, match="of another recipe") as refused:
        resolved(dataclasses.replace(recipe, seed=7), run)
    command = f"--out {run.path} --resume --train.radii_folder={tmp_path / 'fast'} --trust helpers.training`"
    assert command in str(refused.value)


def test_runs_on_different_devices_are_evaluated_on_data_of_their_own(monkeypatch):
    recipes = [tiny("natural", "--train.device", device) for device in ("cpu", "cuda", "cpu")]
    runs = [Target(f"run {number}", recipe, None, Path()) for number, recipe in enumerate(recipes)]
    read = []
    monkeypatch.setattr(Target, "preload", lambda _: None)
    monkeypatch.setattr(Target, "data", lambda target, *_: read.append(target.recipe.train.device) or read[-1])
    monkeypatch.setattr(Target, "models", lambda target, _, data, *__: evaluated.append((target.name, data)) or [])
    monkeypatch.setattr(evaluate_targets, "run_evaluations", lambda *_, **__: [])
    evaluated = []
    evaluate_targets.evaluate_targets(runs, [], ["best"], QUIET)
    assert evaluated == [("run 0", "cpu"), ("run 1", "cuda"), ("run 2", "cpu")]
    assert read == ["cpu", "cuda"]
