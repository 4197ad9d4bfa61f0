"""One of several processes that train together; the loss of every step is kept beside the run.

    python training_process.py FOLDER RUN [RUN ...]

A run is a key of `RUNS`, with `@N` behind it to stop after N steps, and resumed where its folder is there already.
"""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from helpers.training import QUIET, tiny
from iaat.ranks import current, processes
from iaat.run import RunFolder
from iaat.stopping import Stop, Stopped
from iaat.train import state
from iaat.train.faults import Faults
from iaat.train.loop import train

# Without BatchNorm, whose statistics are each process's own on a CPU; the last batch of 59 has 3 samples.
PLAIN = ("--model.norm", "group", "--train.precision", "fp32", "--train.epochs", "2", "--train.batch_size", "59")
RUNS = {
    "natural": ("natural", *PLAIN),
    "pgd_at": ("pgd_at", *PLAIN),
    "iaat": ("iaat", *PLAIN),
    "trades": ("trades", *PLAIN),
    "sharded": ("iaat", *PLAIN, "--train.radii", "sharded"),
    "paper": ("iaat", *PLAIN, "--method.rule", "paper", "--method.warmup", "1"),
    "in-parts": ("iaat", *PLAIN, "--train.accumulate", "3"),
    "everything": ("pgd_at", *PLAIN, "--train.awp", "0.005", "--train.ema", "0.9", "--method.inner", "nfgsm",
                   "--method.guard_every", "2"),
    "cat": ("cat", *PLAIN, "--method.c", "3"),
}  # fmt: skip


def recipe_of(name):
    method, *more = RUNS[name]
    return tiny(method, *more)


class StopAfter(Stop):
    """Asks for a stop when so many steps have been looked at."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def counted(self):
        self.left -= 1
        if self.left == 0:
            self.requested = "a test"


@contextmanager
def in_double_precision():
    """Networks and inputs of training in float64, where the order of a sum shows in the 15th digit alone.

    In float32 it shows in the 7th, and signs of gradients that are nearly 0, as those of TRADES' attack are at its
    start, make that a difference of a per cent within ten steps.
    """
    build, laid_out = state.build_model, state.TrainState.laid_out
    state.build_model = lambda *arguments, **more: build(*arguments, **more).double()
    state.TrainState.laid_out = lambda self, batch: replace(laid_out(self, batch), x=batch.x.double())
    try:
        yield
    finally:
        state.build_model, state.TrainState.laid_out = build, laid_out


def train_recorded(name, folder, stop=None):
    """Train a run in float64; FOLDER gets `NAME.losses.json`, the loss of each step over all processes."""
    with in_double_precision():
        return _train_recorded(name, folder, stop)


def _train_recorded(name, folder, stop):
    recipe, losses = recipe_of(name), []
    judge = Faults.judge

    def recorded(self, step, *arguments):
        finite = judge(self, step, *arguments)
        losses.append(float(self._unread[-1][1][0]))
        if stop is not None:
            stop.counted()
        return finite

    Faults.judge = recorded
    run = RunFolder(folder / name)
    try:
        train(recipe, run, QUIET, resume=run.path.exists(), stop=stop)
    except Stopped:
        pass
    finally:
        Faults.judge = judge
    if current().main:
        (folder / f"{name}.losses.json").write_text(json.dumps(losses))
    return run


def main():
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with processes():
        for word in sys.argv[2:]:
            name, _, steps = word.partition("@")
            train_recorded(name, folder, StopAfter(int(steps)) if steps else None)


if __name__ == "__main__":
    main()
