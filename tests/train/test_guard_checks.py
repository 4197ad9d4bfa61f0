"""The loop shows a method's guard held-out samples, logs what it finds, and is otherwise the loop it was."""

import io

import pytest
import torch
from rich.console import Console

from helpers.training import QUIET, assert_resumes_bitwise, same, tiny
from iaat.data import build_data
from iaat.methods.guard import Guard, GuardCheck
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import train

SINGLE = ["pgd_at", "--method.inner", "nfgsm", "--method.steps", "2"]
GUARD_KEYS = {"guard_gap", "guard_backed_off", "guard_forwards", "guard_backwards"}
# 180 samples in batches of 64: 3 steps an epoch, 9 in all.


@pytest.fixture
def toggling(monkeypatch):
    """A guard that changes its mind at every check."""

    def decide(guard, finding):
        guard.backed_off = not guard.backed_off
        return f"now {'pgd' if guard.backed_off else 'one step'}, gap {finding.gap:.2f}"

    monkeypatch.setattr(Guard, "_decide", decide)


def trained(recipe, folder, reporter=QUIET):
    run = RunFolder(folder)
    train(recipe, run, reporter)
    return run


def test_what_the_guard_decides_is_trained_with_logged_and_said_once(tmp_path, toggling):
    console = Console(file=io.StringIO(), width=200)
    run = trained(tiny(*SINGLE, "--method.guard_every", "2"), tmp_path / "run", Reporter(console=console))
    first, second, third = run.metrics()
    # Checks after steps 2, 4, 6 and 8: steps 3, 4 and 7, 8 are taken with PGD.
    assert [record.guard_backed_off for record in (first, second, third)] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    said = [line for line in console.file.getvalue().splitlines() if "now " in line]
    assert [line.partition(",")[0] for line in said] == [
        *("epoch 1: now pgd", "epoch 2: now one step", "epoch 2: now pgd", "epoch 3: now one step")
    ]
    # The last batch of an epoch has 52 samples of 180; the first two 64 each.
    for record, mended in ((first, 52), (second, 64), (third, 128)):
        assert record.forwards == record.backwards == pytest.approx(2 + mended / 180)
    # Up to 128 samples, of the 20 held out, 13 forwards and 11 backwards each.
    for record, checks in ((first, 1), (second, 2), (third, 1)):
        assert record.guard_forwards == pytest.approx(checks * 20 * 13 / 180)
        assert record.guard_backwards == pytest.approx(checks * 20 * 11 / 180)


@pytest.mark.parametrize("batch", [3, 5, 8])
def test_an_interrupted_run_remembers_what_its_guard_had_noticed(tmp_path, toggling, batch):
    assert_resumes_bitwise(tiny(*SINGLE, "--method.guard_every", "2"), tmp_path, batch)


def test_a_guard_that_sees_nothing_changes_nothing(tmp_path):
    runs = {every: trained(tiny(*SINGLE, "--method.guard_every", every), tmp_path / every) for every in ("0", "1")}
    states = [load_checkpoint(run.checkpoint("last")) for run in runs.values()]
    for key in ("model", "optimizer", "generator", "globals"):
        assert same(states[0][key], states[1][key]), key
    without, with_guard = ([record.to_json() for record in run.metrics()] for run in runs.values())
    assert all(set(after) - set(before) == GUARD_KEYS for before, after in zip(without, with_guard, strict=True))
    assert [{**record, **before} for record, before in zip(with_guard, without, strict=True)] == with_guard
    assert all(record["guard_backed_off"] == 0 for record in with_guard)


def test_epochs_without_a_check_have_no_gap(tmp_path):
    run = trained(tiny(*SINGLE, "--method.guard_every", "4"), tmp_path / "run")
    assert [record.guard_gap is not None for record in run.metrics()] == [False, True, True]
    assert [record.guard_forwards > 0 for record in run.metrics()] == [False, True, True]


def test_methods_without_a_guard_have_no_word_of_it(tmp_path):
    run = trained(tiny("pgd_at", "--method.steps", "1", "--train.epochs", "1"), tmp_path / "run")
    assert not GUARD_KEYS & set(run.metrics()[0].to_json())


def test_the_guard_sees_the_same_validation_samples_each_time_and_random_numbers_of_its_own(tmp_path, monkeypatch):
    seen = []

    def check(guard, model, batch, generator):
        seen.append((batch.index, batch.x, torch.rand(1, generator=generator).item(), model.training))
        return GuardCheck(0.5, 0.5, 0.5, 128)

    monkeypatch.setattr(Guard, "check", check)
    recipe = tiny(*SINGLE, "--method.guard_every", "1", "--data.crop", "1", "--data.limit", "1400")
    trained(recipe, tmp_path / "run")
    data = build_data(recipe.data, seed=0)
    index = seen[0][0]
    assert len(index) == 128
    assert set(index.tolist()) <= set(data.validation_index.tolist())
    (clean,) = data.train.batches([index])
    assert all(torch.equal(i, index) and torch.equal(x, clean.x) for i, x, _, _ in seen)
    draws = [draw for _, _, draw, _ in seen]
    assert len(set(draws)) == len(draws) == 3 * -(-1260 // 64)
    assert all(training for *_, training in seen)
