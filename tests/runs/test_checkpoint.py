"""A checkpoint comes back bit for bit, or is refused: damaged, cut short, or holding anything that could run."""

import dataclasses
import os
import pickle
import random
import shutil
import warnings
import zipfile
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.external_models import save_script
from iaat.config.load_recipe import load_recipe
from iaat.config.train_config import TrainConfig
from iaat.data import build_data
from iaat.errors import UserError
from iaat.models import build_model
from iaat.runs.checkpoint import load_checkpoint, restore_model, save_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.runtime.rng import batch_generator
from iaat.train import train
from iaat.train.optim import build_optimizer, build_schedule
from iaat.train.state import TrainState
from iaat.train.trainer import Trainer

WEIGHTS = torch.arange(500.0)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"weights": WEIGHTS, "epoch": 3, "names": ["a", None, True, 0.5]})
    return path


def refused(path, match=None):
    with pytest.raises(UserError, match=match) as error:
        load_checkpoint(path)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_saved_comes_back(file):
    state = load_checkpoint(file)
    assert torch.equal(state["weights"], WEIGHTS)
    assert (state["epoch"], state["names"]) == (3, ["a", None, True, 0.5])
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    "settings", [{"schedule": name} for name in ("onecycle", "cosine", "constant")] + [{"milestones": [1, 2]}], ids=str
)
def test_optimizer_and_schedule_go_on_from_a_checkpoint(tmp_path, settings):
    config = TrainConfig(epochs=4, **{"schedule": "multistep", **settings})

    def steps(model, optimizer, schedule, count=4):
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(3, 2)).square().sum().backward()
            optimizer.step()
            schedule.step()
        return model.weight.detach().clone(), optimizer.param_groups[0]["lr"]

    def build():
        model = nn.Linear(2, 2)
        optimizer = build_optimizer(model, config)
        return model, optimizer, build_schedule(optimizer, config, steps_per_epoch=3)

    old, new = build(), build()
    steps(*old)
    save_checkpoint(tmp_path / "last.pt", {"parts": [part.state_dict() for part in old]})
    for part, state in zip(new, load_checkpoint(tmp_path / "last.pt")["parts"], strict=True):
        part.load_state_dict(state)
    (weight, rate), (new_weight, new_rate) = steps(*old), steps(*new)
    assert torch.equal(weight, new_weight)
    assert rate == new_rate


class Malicious:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path, save):
    path, folder = tmp_path / "evil.pt", tmp_path / "made-by-the-checkpoint"
    save({"format": 2, "weights": Malicious(folder)}, path)
    refused(path)
    assert not folder.exists()
    # The trap is real: an ordinary unpickling springs it.
    pickle.loads(pickle.dumps(Malicious(folder)))
    assert folder.exists()


def test_objects_that_are_not_plain_data_are_refused_as_such(tmp_path):
    torch.save({"format": 2, "model": nn.Linear(2, 2)}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "could run code")


@pytest.mark.parametrize("kept", [0, 0.001, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    refused(file, "cut short")


def test_a_flipped_bit_in_the_weights_is_noticed(file):
    content = bytearray(file.read_bytes())
    start = content.index(WEIGHTS.numpy().tobytes())
    for offset in (0, 999, 1999):
        damaged = bytearray(content)
        damaged[start + offset] ^= 4
        file.write_bytes(damaged)
        refused(file, "damaged")


def test_a_flipped_bit_anywhere_is_harmless_or_noticed(file):
    content, draw = file.read_bytes(), random.Random(0)
    noticed = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            state = load_checkpoint(file)
        except UserError:
            noticed += 1
        else:
            assert torch.equal(state["weights"], WEIGHTS)
            assert state["epoch"] == 3
    assert noticed > 100


@pytest.mark.parametrize("content", [b"", b"hello world\n", b"\x80\x02.", pickle.dumps({"format": 1}), bytes(1000)])
def test_files_that_are_no_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "file.pt").write_bytes(content)
    refused(tmp_path / "file.pt", "cannot be read")


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("notes.txt", "not weights")
    refused(tmp_path / "archive.pt", "cannot be read")


@pytest.mark.parametrize("state", [{"format": 1}, {"model": {}}, [1, 2], WEIGHTS], ids=repr)
def test_another_format_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "format 2")


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "last.pt", "no checkpoint")
    (tmp_path / "last.pt").mkdir()
    refused(tmp_path / "last.pt", "no checkpoint")


def test_a_full_disk_is_a_user_error_and_leaves_the_old_checkpoint(file, monkeypatch):
    def full(_state, opened):
        opened.write(b"half")
        raise RuntimeError("unexpected pos 704 vs 598\nat some line of C++")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="unexpected pos 704 vs 598; free space"):
        save_checkpoint(file, {"epoch": 4})
    assert load_checkpoint(file)["epoch"] == 3
    assert list(file.parent.iterdir()) == [file]


def trained(recipe, classes=3):
    """A checkpoint of a network with random weights, and the network."""
    model = build_model(
        recipe.model, shape=(1, 8, 8), classes=classes, mean=torch.tensor([0.3]), std=torch.tensor([0.2]), seed=5
    )
    names = [str(number) for number in range(classes)]
    of_data = {"shape": [1, 8, 8], "classes": names, "train_size": 9, "train_fingerprint": "", "test_fingerprint": ""}
    return {"model": model.state_dict(), "data": of_data}, model


def test_a_restored_network_is_the_saved_one_in_eval_mode(tmp_path):
    recipe = load_recipe("quickstart", ["--model.width", "4"])
    state, model = trained(recipe)
    save_checkpoint(tmp_path / "last.pt", state)
    restored = restore_model(recipe, load_checkpoint(tmp_path / "last.pt"))
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(restored(x), model.eval()(x))
    assert not any(module.training for module in restored.modules())


@pytest.mark.parametrize("words", [["--model.width", "5"], ["--model.norm", "group"], ["--model.name", "resnet18"]])
def test_a_checkpoint_of_another_network_is_refused(words):
    state, _ = trained(load_recipe("quickstart", ["--model.width", "4"]))
    recipe = load_recipe("quickstart", ["--model.width", "4", *words])
    with pytest.raises(UserError, match=f"does not fit model {recipe.model.name}") as error:
        restore_model(recipe, state)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_other_classes_is_refused():
    recipe = load_recipe("quickstart", ["--model.width", "4"])
    state, _ = trained(recipe)
    state["data"]["classes"].append("one more")
    with pytest.raises(UserError, match="does not fit"):
        restore_model(recipe, state)


PARTS = ("model", "averaged", "method", "optimizer", "schedule", "generator", "globals", "tally", "records", "data")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs with a moving average and radii."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    words = ["--data.limit", "60", "--train.epochs", "2", "--train.validation_steps", "1", "--train.ema", "0.9"]
    train(load_recipe("quickstart", [*words, "--model.width", "4"]), run, Reporter(quiet=True))
    return run


@pytest.mark.parametrize("key", ["model", "data"])
def test_a_network_is_not_restored_without(tmp_path, run, key):
    state = load_checkpoint(run.checkpoint("last"))
    del state[key]
    save_checkpoint(tmp_path / "last.pt", state)
    with pytest.raises(UserError, match=rf"last\.pt has no {key}"):
        restore_model(run.recipe(), load_checkpoint(tmp_path / "last.pt"), raw=True)


@pytest.mark.parametrize("key", [*PARTS, "epoch", "best", "faults", "lr_share"])
def test_a_run_with_a_part_missing_or_of_another_kind_ends_in_a_line_that_names_it(tmp_path, run, key):
    for value in (None, "text", {"other": "dict"}):
        folder = RunFolder(tmp_path / str(value)[:4])
        shutil.copytree(run.path, folder.path)
        state = load_checkpoint(run.checkpoint("last"))
        if value is None:
            del state[key]
        else:
            state[key] = value
        save_checkpoint(folder.checkpoint("last"), state)
        with pytest.raises(UserError, match=r"checkpoint .*last\.pt") as error:
            train(folder.recipe(), folder, Reporter(quiet=True), resume=True)
        assert key in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("named", [True, False], ids=["", "earlier version"])
def test_a_run_of_another_kind_of_device_goes_on_with_fresh_random_numbers_of_attacks(tmp_path, run, named):
    drawn = []
    for place in ("one", "two"):
        folder = RunFolder(tmp_path / place)
        shutil.copytree(run.path, folder.path)
        state = load_checkpoint(run.checkpoint("last"))
        assert state["generator_device"] == "cpu"
        state |= {"generator": torch.zeros(16, dtype=torch.uint8), "generator_device": "cuda"}
        if not named:
            del state["generator_device"]
        save_checkpoint(folder.checkpoint("last"), state)
        recipe = dataclasses.replace(run.recipe(), train=dataclasses.replace(run.recipe().train, epochs=3))
        device = "'cuda'" if named else "another device"
        with pytest.warns(UserWarning, match=f"made on {device}, this is 'cpu': the random numbers of attacks"):
            train(recipe, folder, Reporter(quiet=True), resume=True)
        assert len(folder.metrics()) == 3
        drawn.append(load_checkpoint(folder.checkpoint("last"))["generator"])
    assert torch.equal(*drawn)


def test_random_numbers_of_attacks_that_begin_anew_are_of_the_epoch(run):
    recipe, state = run.recipe(), load_checkpoint(run.checkpoint("last"))
    data = build_data(recipe.data, seed=recipe.seed, device="cpu")
    trainer = Trainer(recipe, data, run, start_weights=False)
    generators = [batch_generator(recipe.seed, "attack", device="cpu").get_state()]
    for epoch in (1, 2):
        with pytest.warns(UserWarning, match="made on 'cuda'"):
            trainer.state.load_state_dict({**state, "generator_device": "cuda", "epoch": epoch})
        generators.append(trainer.state.generator.get_state())
    assert not any(torch.equal(*pair) for pair in combinations(generators, 2))


def test_an_earlier_checkpoint_of_a_device_with_short_generator_states_is_restored():
    class Short:
        """Generator of a device other than CUDA that has states of 16 bytes, too."""

        device = torch.device("xpu")

        def get_state(self):
            return torch.zeros(16, dtype=torch.uint8)

        def set_state(self, state):
            self.restored = state

    generator, saved = Short(), torch.ones(16, dtype=torch.uint8)
    TrainState._restore_generator(SimpleNamespace(generator=generator), saved, None)
    assert generator.restored is saved


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("shape", [3, 2**31, 2**31], "data.shape is a list, not the shape of one input"),
        ("shape", [3, -8, 8], "data.shape is a list"),
        ("shape", [], "data.shape is a list"),
        ("classes", [1, 2], "data.classes is a list, not a list of names"),
        ("classes", ["a", "b" * 10_000_000], r"the name of class 1 has 10,000,000 characters \('bbb"),
        ("train_size", -1, "data.train_size is -1"),
        ("test_fingerprint", 3, "data.test_fingerprint is 3, not a text"),
    ],
)
def test_what_a_checkpoint_says_of_its_data_is_checked(tmp_path, run, part, value, message):
    state = load_checkpoint(run.checkpoint("last"))
    state["data"] = {**state["data"], part: value}
    save_checkpoint(tmp_path / "last.pt", state)
    refused(tmp_path / "last.pt", message)


def test_odd_tensors_and_programs_in_a_checkpoint_are_refused(tmp_path, run):
    state = load_checkpoint(run.checkpoint("last"))
    state["model"] = {**state["model"], "network.head.bias": torch.zeros(10, device="meta")}
    save_checkpoint(tmp_path / "last.pt", state)
    refused(tmp_path / "last.pt", "model.network.head.bias is on the meta device")
    state = load_checkpoint(run.checkpoint("last"))
    momentum = state["optimizer"]["state"][0]
    momentum["momentum_buffer"] = momentum["momentum_buffer"].to_sparse()
    save_checkpoint(tmp_path / "last.pt", state)
    refused(tmp_path / "last.pt", r"optimizer\.state\.0\.momentum_buffer is sparse")
    save_script(nn.Linear(2, 2), tmp_path / "best.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of PyTorch, which would be a second line
        refused(tmp_path / "best.pt", "TorchScript")


def test_an_archive_that_claims_more_than_its_file_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "last.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("last/data.pkl", b"x")
        archive.writestr("last/data/0", bytes(50_000_000))
    refused(tmp_path / "last.pt", "its parts claim 50,000,001 bytes")
