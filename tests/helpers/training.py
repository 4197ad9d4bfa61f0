"""Small training runs on real digits, shared by the tests of the loop."""

import dataclasses
import random
import shutil

import numpy as np
import pytest
import torch

from iaat.config.load_recipe import load_recipe
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import train

TINY = [
    *("--data.limit", "200", "--model.width", "4", "--train.epochs", "3", "--train.batch_size", "64"),
    *("--train.validation_steps", "2", "--train.validation_n", "10"),
]
QUIET = Reporter(quiet=True)


def tiny(method="iaat", *more):
    """A small recipe, called quickstart whatever its method is."""
    return dataclasses.replace(load_recipe("quickstart", [*TINY, "--method", method, *more]), name="quickstart")


class Listening(Reporter):
    """Keeps what it is to say."""

    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def say(self, text):
        self.said.append(text)


class Interrupting(Reporter):
    """Stops the run as Ctrl-C would, when the batch of that number has been trained on."""

    def __init__(self, batch):
        super().__init__(quiet=True)
        self.left = batch

    def track(self, items, **_):
        for item in items:
            yield item
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def same(left, right):
    """Whether two nested states are equal to the last bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def assert_resumes_bitwise(recipe, folder, batch):
    """Train whole, and interrupted at `batch` and resumed, from the last step and from the last epoch's end.

    All must end in the same state; returns the whole run and the one resumed within its epoch.
    """
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, save_steps=1))
    whole, within, ended = (RunFolder(folder / name) for name in ("whole", "within", "ended"))
    train(recipe, whole, QUIET)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, within, Interrupting(batch))
    shutil.copytree(within.path, ended.path)
    for file in ended.path.glob("checkpoints/*-*.pt"):
        file.unlink()
    for broken in (within, ended):
        torch.manual_seed(12345)  # a new process has another global state
        random.seed(12345)
        np.random.seed(12345)  # noqa: NPY002
        train(recipe, broken, QUIET, resume=True)
        for which in ("last", "best"):
            assert same(load_checkpoint(whole.checkpoint(which)), load_checkpoint(broken.checkpoint(which)))
        assert whole.metrics_file.read_bytes() == broken.metrics_file.read_bytes()
    return whole, within
