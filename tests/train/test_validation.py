"""Which epoch is kept as best, and which samples decide it."""

import pytest
import torch

from helpers.training import QUIET, Interrupting, same, tiny
from iaat.data import build_data
from iaat.methods import METHODS, Natural
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.types import StepOutput

# Without momentum and decay, an epoch with a loss of 0 leaves the weights where the method puts them.
STILL = [
    *("--data.limit", "600", "--train.schedule", "constant", "--train.momentum", "0", "--train.weight_decay", "0"),
    *("--train.select", "clean"),
]


class Spoiling(Natural):
    """Natural training with a model that knows nothing after some epochs, and is itself again in the others."""

    bad: frozenset[int]

    def __init__(self, config, *, size, device):
        super().__init__(config, size=size, device=device)
        self.head = None

    def prepare(self, model, batch, context):
        head = model.network.head.weight
        if context.epoch + 1 not in self.bad:
            if self.head is not None:
                head.data.copy_(self.head)
                self.head = None
            return super().prepare(model, batch, context)
        if self.head is None:
            self.head = head.detach().clone()
        head.data.zero_()

        def objective(network):
            logits = network(batch.x)
            return StepOutput(logits.sum() * 0, logits.detach())

        return objective


@pytest.fixture
def spoiled_in(monkeypatch):
    """Registers `Spoiling` for these epochs."""

    def register(*epochs):
        monkeypatch.setitem(METHODS, "spoiling", type("Spoiling", (Spoiling,), {"bad": frozenset(epochs)}))

    return register


def ends(run):
    """The best and the last checkpoint."""
    return load_checkpoint(run.checkpoint("best")), load_checkpoint(run.checkpoint("last"))


def test_an_epoch_that_made_the_network_worse_is_not_kept_as_best(tmp_path, spoiled_in):
    spoiled_in(3)
    run = RunFolder(tmp_path / "run")
    train(tiny("spoiling", *STILL), run, QUIET)
    accuracies = [record.validation_clean for record in run.metrics()]
    assert accuracies[2] < min(accuracies[:2])
    best, last = ends(run)
    assert best["epoch"] == 1 + accuracies.index(max(accuracies)) < last["epoch"] == 3
    assert best["best"] == last["best"] == max(accuracies)
    assert best["model"]["network.head.weight"].any()
    assert not last["model"]["network.head.weight"].any()


def test_an_epoch_that_made_the_network_better_is_kept_as_best(tmp_path, spoiled_in):
    spoiled_in(1, 2)
    run = RunFolder(tmp_path / "run")
    train(tiny("spoiling", *STILL), run, QUIET)
    accuracies = [record.validation_clean for record in run.metrics()]
    assert accuracies[2] > max(accuracies[:2])
    best, last = ends(run)
    assert best["epoch"] == last["epoch"] == 3
    assert same(best["model"], last["model"])


def test_of_equal_epochs_the_first_is_kept_as_best(tmp_path, spoiled_in):
    spoiled_in(1, 2, 3)
    run = RunFolder(tmp_path / "run")
    train(tiny("spoiling", *STILL), run, QUIET)
    assert len({record.validation_clean for record in run.metrics()}) == 1
    best, _ = ends(run)
    assert best["epoch"] == 1


def test_a_resumed_run_remembers_how_good_its_best_was(tmp_path, spoiled_in):
    spoiled_in(2, 3)
    recipe, run = tiny("spoiling", *STILL), RunFolder(tmp_path / "run")
    steps = -(-540 // 64)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, run, Interrupting(steps + 1))
    assert ends(run)[1]["epoch"] == 1
    train(recipe, run, QUIET, resume=True)
    best, last = ends(run)
    assert (best["epoch"], last["epoch"]) == (1, 3)


@pytest.mark.parametrize("select", ["clean", "robust", "mean"])
def test_the_recipe_says_which_accuracy_selects(tmp_path, select):
    run = RunFolder(tmp_path / "run")
    train(tiny("natural", "--data.limit", "600", "--train.validation_n", "60", "--train.select", select), run, QUIET)
    columns = {
        name: [getattr(record, f"validation_{name}") for record in run.metrics()] for name in ("clean", "robust")
    }
    assert max(columns["clean"]) > max(columns["robust"])
    columns["mean"] = [(clean + robust) / 2 for clean, robust in zip(columns["clean"], columns["robust"], strict=True)]
    best, _ = ends(run)
    assert best["best"] == max(columns[select])
    assert best["epoch"] == 1 + columns[select].index(best["best"])


@pytest.fixture
def reads(monkeypatch):
    """All that the loop reads of the training set: `(indices, augment)` each time."""
    seen = []

    def spied(*args, **kwargs):
        data = build_data(*args, **kwargs)
        read = data.train.batches

        def batches(order, *, augment=None, visits=None):
            seen.append((torch.cat(list(order)).tolist(), augment))
            return read(order, augment=augment, visits=visits)

        data.train.batches = batches
        return data

    monkeypatch.setattr("iaat.train.train_recipe.build_data", spied)
    return seen


def test_the_validation_samples_select_and_the_others_train(tmp_path, reads):
    data = train(tiny("natural"), RunFolder(tmp_path / "run"), QUIET)
    trained = [index for index, augment in reads if augment is not None]
    validated = [index for index, augment in reads if augment is None]
    assert len(trained) == 3
    assert all(sorted(index) == data.train_index.tolist() for index in trained)
    # Each epoch: all of them clean, then those to be attacked clean, then of these the correct ones.
    clean, chosen, attacked = validated[::3], validated[1::3], validated[2::3]
    assert len(clean) == len(chosen) == len(attacked) == 3
    assert sorted(clean[0]) == data.validation_index.tolist()
    assert chosen[0] == clean[0][:10]
    assert len(set(map(tuple, clean))) == len(set(map(tuple, chosen))) == 1
    assert all(set(some) <= set(chosen[0]) for some in attacked)


def test_runs_of_other_seeds_are_selected_by_the_same_samples(tmp_path, reads):
    for seed in (0, 1):
        recipe = tiny("natural", "--train.epochs", "1", "--seed", str(seed))
        train(recipe, RunFolder(tmp_path / str(seed)), QUIET)
    epochs = [number for number, (_, augment) in enumerate(reads) if augment is not None]
    first, second = (reads[start + 1 : start + 3] for start in epochs)
    assert [augment for _, augment in first] == [None, None]
    assert first == second


def test_training_samples_are_augmented_by_seed_and_epoch_and_validation_samples_never(tmp_path, reads):
    recipe = tiny("natural", "--data.crop", "1", "--data.flip", "true", "--seed", "5")
    train(recipe, RunFolder(tmp_path / "run"), QUIET)
    augmented = [augment for _, augment in reads if augment is not None]
    assert augmented == [(5, 0), (5, 1), (5, 2)]
    validated = {number for index, augment in reads if augment is None for number in index}
    assert validated.isdisjoint(number for index, augment in reads if augment is not None for number in index)
