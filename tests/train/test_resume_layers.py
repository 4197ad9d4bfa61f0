"""A resumed run draws what the uninterrupted one would have: in augmentation, and in layers that draw."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.methods import METHODS, Natural
from iaat.runs.run_folder import RunFolder
from iaat.train import train

NETWORK = """
from torch import nn


def forgetful(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, classes))
"""


@pytest.mark.parametrize("batch", [3, 5], ids=["first epoch lost", "within the second epoch"])
@pytest.mark.parametrize("method", ["natural", "pgd_at"])
def test_dropout_goes_on_where_it_was(tmp_path, monkeypatch, method, batch):
    (tmp_path / "forgetful_network.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = ["--model.name", "forgetful_network:forgetful", "--model.width", "null", "--train.epochs", "3"]
    assert_resumes_bitwise(tiny(method, *options), tmp_path, batch)


class Drawing(Natural):
    """A method of somebody who draws from every global generator there is."""

    def prepare(self, model, batch, context):
        weight = random.random() + float(np.random.rand()) + float(torch.rand(()))  # noqa: NPY002
        objective = super().prepare(model, batch, context)

        def weighted(network):
            output = objective(network)
            return dataclasses.replace(output, loss=output.loss * weight)

        return weighted


@pytest.mark.parametrize("batch", [3, 5], ids=["between epochs", "within the second epoch"])
def test_global_generators_go_on_where_they_were(tmp_path, monkeypatch, batch):
    monkeypatch.setitem(METHODS, "drawing", Drawing)
    assert_resumes_bitwise(tiny("drawing"), tmp_path, batch)


@pytest.mark.parametrize("batch", [3, 5], ids=["first epoch lost", "within the second epoch"])
def test_augmented_images_of_a_resumed_run_are_those_of_the_whole(tmp_path, batch):
    recipe = tiny("pgd_at", "--method.steps", "1", "--data.crop", "1", "--data.flip", "true")
    assert_resumes_bitwise(recipe, tmp_path, batch)


def test_each_epoch_trains_on_images_cropped_and_flipped_anew(tmp_path, monkeypatch):
    seen = {}

    class Looking(Natural):
        def prepare(self, model, batch, context):
            for index, x in zip(batch.index.tolist(), batch.x, strict=True):
                seen[context.epoch, index] = x.clone()
            return super().prepare(model, batch, context)

    monkeypatch.setitem(METHODS, "looking", Looking)
    recipe = tiny("looking", "--data.crop", "1", "--data.flip", "true", "--train.epochs", "2")
    data = train(recipe, RunFolder(tmp_path / "run"), QUIET)
    (stored,) = data.train.batches([data.train_index])
    # One image in 18 comes out as it was: nine crops, two flips.
    for left, right in ((0, 1), (0, None), (1, None)):
        changed = [
            not torch.equal(seen[left, index], x if right is None else seen[right, index])
            for index, x in zip(stored.index.tolist(), stored.x, strict=True)
        ]
        assert sum(changed) / len(changed) > 0.8
