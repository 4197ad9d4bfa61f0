"""One of several processes that train together, in float64; the loss of every step is kept beside the run.

    python training_process.py FOLDER/RUN [FOLDER/RUN ...]

A run is a key of `RUNS`, with `@N` behind it to stop after N steps, and resumed where its folder is there already.
"""

import hashlib
import json
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import pytest
import torch

from helpers.damaged import damaged_digits
from helpers.extra import extra_digits
from helpers.training import QUIET, tiny
from iaat.errors import UserError
from iaat.runs.run_folder import RunFolder
from iaat.runtime.distributed import current
from iaat.runtime.launch import processes
from iaat.runtime.process_end import exit_process
from iaat.runtime.signals import Stop, Stopped
from iaat.train import build_state, state, train
from iaat.train.nonfinite import NonfiniteMonitor
from iaat.train.run_writer import RunWriter

# Without BatchNorm, which has statistics of each process's own on a CPU; the last batch of 59 has 3 samples.
PLAIN = ("--model.norm", "group", "--train.precision", "fp32", "--train.epochs", "2", "--train.batch_size", "59")
RUNS = {
    "natural": ("natural", *PLAIN),
    "pgd_at": ("pgd_at", *PLAIN),
    "iaat": ("iaat", *PLAIN),
    "trades": ("trades", *PLAIN),
    "sharded": ("iaat", *PLAIN, "--train.radii", "sharded"),
    "mapped": ("iaat", *PLAIN, "--train.radii", "sharded", "--train.radii_folder", gettempdir()),
    "paper": ("iaat_paper", *PLAIN, "--method.warmup", "1"),
    "in-parts": ("iaat", *PLAIN, "--train.accumulate", "3"),
    "everything": ("pgd_at", *PLAIN, "--train.awp", "0.005", "--train.ema", "0.9", "--method.inner", "nfgsm",
                   "--method.guard_every", "2"),
    "soft": ("iaat", *PLAIN, "--train.accumulate", "2", "--train.ema", "0.9", "--method.soft_labels", "0.8",
             "--method.soft_by_radius", "true", "--method.start", "16px", "--method.kl", "2"),
    "spread": ("iaat", *PLAIN, "--method.spread", "0.4", "--method.success", "0.3"),
    "gradnorm": ("gradnorm", *PLAIN),
    "mma": ("mma", *PLAIN, "--train.epochs", "1"),
    "targets": ("vpb", *PLAIN, "--method.target", "random", "--train.epochs", "1"),
    "cat": ("cat", *PLAIN, "--method.c", "3"),
    "batchnorm": ("iaat", *PLAIN, "--model.norm", "batch", "--train.batch_size", "60"),
    "skipping": ("iaat", *PLAIN, *damaged_digits(), "--train.batch_size", "23"),
    "recurring": ("iaat", *PLAIN, *extra_digits(), "--train.epochs", "3"),
    "faulty": ("iaat", *PLAIN, "--train.nonfinite", "skip"),
    "falling-back": ("iaat", *PLAIN, "--train.nonfinite", "rollback"),
    "unreadable": ("iaat", *PLAIN),
}  # fmt: skip
SPOILT = {"faulty": 2, "falling-back": 5, "unreadable": 2}
"""Batch, from 0, that the last process of these runs gets NaNs in, or cannot read."""


def recipe_of(name):
    method, *more = RUNS[name]
    return tiny(method, *more)


class StopAfter(Stop):
    """Asks for a stop, in the last process, after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def count(self):
        self.left -= 1
        if self.left == 0 and current().rank == current().world - 1:
            self.requested = "a test"


def memory_format_as(name):
    """What becomes of batches: float64, where the order of a sum shows in the 15th digit alone; spoilt in some runs.

    In float32 it shows in the 7th, and signs of gradients that are nearly 0, as those of TRADES' attack are at its
    start, make that a difference of a per cent within ten steps.
    """
    own, seen = state.TrainState.to_memory_format, 0

    def to_memory_format(self, batch):
        nonlocal seen
        seen += 1
        x = own(self, batch).x.double()
        if seen == SPOILT.get(name, -1) + 1 and current().rank == current().world - 1:
            if name == "unreadable":
                raise UserError("image 17 cannot be read")
            x[0] = torch.nan
        return replace(batch, x=x)

    return to_memory_format


def digest(saved):
    """Of all that training has learned."""
    tensors = dict(saved["model"])
    if "radii" in saved["method"]:
        tensors["radii"] = saved["method"]["radii"]["values"]
    return hashlib.sha256(b"".join(value.cpu().numpy().tobytes() for value in tensors.values())).hexdigest()


@contextmanager
def watched(name, losses, stop):
    """Training as it is, in float64, with a list of its losses; at each checkpoint all processes must be equal."""
    build, content, checked = build_state.build_model, RunWriter._checkpoint, NonfiniteMonitor.check

    def check(self, step, *arguments):
        finite = checked(self, step, *arguments)
        losses.append(float(self._unread[-1][1][0]))
        if stop is not None:
            stop.count()
        return finite

    def checkpoint(writer, training):
        found = content(writer, training)
        current().check_same(digest(found), "the states of training")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_state, "build_model", lambda *arguments, **more: build(*arguments, **more).double())
        patch.setattr(state.TrainState, "to_memory_format", memory_format_as(name))
        patch.setattr(RunWriter, "_checkpoint", checkpoint)
        patch.setattr(NonfiniteMonitor, "check", check)
        yield


def train_watched(name, folder, steps=None):
    """Train a run, or `steps` steps of it; FOLDER gets `NAME.losses.json`."""
    losses, stop = [], StopAfter(steps) if steps else None
    run = RunFolder(folder / name)
    with watched(name, losses, stop), suppress(Stopped):
        train(recipe_of(name), run, QUIET, resume=run.path.exists(), stop=stop)
    if current().main:
        file = folder / f"{name}.losses.json"
        file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else []) + losses))


def main():
    torch.set_num_threads(1)
    try:
        with processes():
            for word in sys.argv[1:]:
                path, _, steps = word.partition("@")
                train_watched(Path(path).name, Path(path).parent, int(steps or 0))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        exit_process(1)


if __name__ == "__main__":
    main()
