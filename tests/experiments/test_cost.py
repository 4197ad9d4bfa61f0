"""What a recipe costs is stated correctly, without training or downloading."""

import io
import socket

import numpy as np
import pytest
import torch
import torchvision
from rich.console import Console
from torch import nn

from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.experiments.cost import activation_bytes, cost_table, total_passes
from iaat.runtime.passes import Passes


def lines(table):
    """Value of each row by its label."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    rows = [line.strip().split("  ", maxsplit=1) for line in console.file.getvalue().splitlines()]
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


PAPER = ["--method", "iaat_paper", "--method.steps", "7"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "natural"], Passes(1, 1)),
        (["--method", "pgd_at", "--method.steps", "7"], Passes(8, 8)),
        (["--method", "pgd_at", "--method.steps", "7", "--method.inner", "nfgsm"], Passes(2, 2)),
        (["--method.steps", "7"], Passes(8, 8)),
        # 3 epochs of warm-up at 7 + 2 and 7 + 1, then 2 at 3 * 7 + 4 and 3 * 7 + 1.
        ([*PAPER, "--method.warmup", "3"], Passes((3 * 9 + 2 * 25) / 5, (3 * 8 + 2 * 22) / 5)),
    ],
)
def test_total_passes_are_the_mean_over_the_epochs(words, expected):
    recipe = load_recipe("quickstart", ["--train.epochs", "5", *words])
    assert total_passes(recipe) == expected


class Awkward(nn.Module):
    """A network of the user's own that looks at its inputs and keeps a tensor that does not move with it."""

    def __init__(self):
        super().__init__()
        self.scale = torch.ones(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x * self.scale if x.mean() > 1 else x)


def test_activations_are_counted_for_every_layer_and_sample():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    assert activation_bytes(net, (1, 4, 4), batch_size=10, bytes_per_value=4) == 4 * 10 * (4 * 32 + 5)
    assert activation_bytes(net, (1, 4, 4), batch_size=3, bytes_per_value=2) == 2 * 3 * (4 * 32 + 5)
    assert activation_bytes(Awkward(), (4,), batch_size=10, bytes_per_value=4) == 4 * 10 * 3


def test_counting_activations_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    net[2].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    activation_bytes(net, (4,), batch_size=8, bytes_per_value=4)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert not any(module._forward_hooks for module in net.modules())


def test_cost_table_of_the_digits():
    words = ["--method=pgd_at", "--method.steps=5", "--train.epochs=5", "--train.batch_size=100", "--model.width=16"]
    rows = lines(cost_table(load_recipe("quickstart", [*words, "--train.device", "cpu", "--train.precision", "fp32"])))
    assert rows["training samples"] == "about 1,294 of the 1,438 of digits"
    assert rows["inputs, classes"] == "[1, 8, 8], 10"
    assert rows["passes per sample and step"].startswith("6F 6B ")
    assert rows["forwards, backwards in all"] == "3.88e+04, 3.88e+04"  # 1,294 samples, 5 epochs, 6 passes
    assert rows["steps"] == "65 of batch size 100"
    assert rows["parameters"] == "144,954"
    assert rows["device"] == "cpu, layers in float32"
    assert rows["weights, gradients, momentum"] == "1.7 MiB"  # 12 bytes a parameter
    assert rows["radii"] == "0.01 MiB"


def test_extra_images_lengthen_the_epochs(tmp_path):
    file = tmp_path / "more.npz"
    np.savez(file, image=np.zeros((500, 8, 8), dtype=np.uint8), label=np.arange(500) % 10)
    words = ["--method=pgd_at", "--method.steps=5", "--train.epochs=5", "--train.batch_size=100"]
    rows = lines(cost_table(load_recipe("quickstart", [*words, "--data.extra", str(file), "--data.extra_limit=400"])))
    # Batches of 30 and 70: 43 full ones and one of 4 and 9.
    assert rows["training samples"] == "about 1,294 of the 1,438 of digits + 400 extra, 3,019 visits to them an epoch"
    assert rows["steps"] == "220 of batch size 100"
    assert rows["forwards, backwards in all"] == "1.29e+05, 1.29e+05"  # 4,313 visits, 5 epochs, 6 passes
    with pytest.raises(UserError, match=r"data\.extra gives 400 images, too few for 140 of them in a batch"):
        cost_table(
            load_recipe("quickstart", ["--data.extra", str(file), "--data.extra_limit=400", "--train.batch_size=200"])
        )


def test_costs_of_cifar10_are_known_without_data_model_or_training(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("not for a cost estimate")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", forbidden)
    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(torch.Tensor, "backward", forbidden)
    rows = lines(cost_table(load_recipe("cifar10-small-iaat", ["--data.limit", "10000"])))
    assert rows["training samples"] == "about 9,000 of the 50,000 of cifar10"
    assert rows["radii"] == "0.19 MiB"
    assert list(tmp_path.iterdir()) == []


def test_fp16_counts_two_bytes_a_number():
    recipe = load_recipe("quickstart", ["--train.precision", "fp16", "--train.device", "cuda"])
    assert lines(cost_table(recipe))["device"] == "cuda, layers in float16"
    halves, full = (
        float(lines(cost_table(each))["activations of a step"].split()[1])
        for each in (recipe, load_recipe("quickstart", ["--train.batch_size", "128"]))
    )
    assert halves == pytest.approx(full / 2, abs=1)
