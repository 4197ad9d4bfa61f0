"""Kill the real command at moments of chance, start it again, and compare two run folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors.numpy import load_file

from iaat.runs.checkpoint import load_checkpoint

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TIMES = {"train_seconds", "seconds", "date"}
"""What results say of wall time: nothing can make it equal."""


def command(out, recipe="quickstart", *more):
    """A training run of some seconds that writes a checkpoint after every step."""
    settings = {
        "data.limit": 300, "model.width": 4, "train.epochs": 8, "train.batch_size": 32, "train.save_steps": 1,
        "train.validation_steps": 2, "train.validation_n": 20, "evaluate.steps": 2, "evaluate.n": 60,
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return [
        sys.executable,
        "-m",
        "iaat.cli.main",
        "train",
        recipe,
        *words,
        *more,
        "--out",
        str(out),
        "--resume",
        "--quiet",
    ]


def answer_signals():
    """Answer signals that the tests ignore.

    A shell that puts the tests into the background has them ignore Ctrl-C, nohup SIGHUP, and so their children.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


def start(words, prepare=None):
    """The command as a process of its own group; `prepare` is called in it before it begins."""

    def begin():
        answer_signals()
        if prepare is not None:
            prepare()

    pipe = subprocess.PIPE
    return subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=ENVIRONMENT, preexec_fn=begin
    )


def begun(folder, pid):
    """Whether the process has got as far as to hold the folder's lock; a killed one leaves the file behind."""
    with contextlib.suppress(OSError):
        return f'"pid": {pid},' in (folder / "train.lock").read_text()
    return False


def is_writing(folder, pid):
    """Whether the process has half written a checkpoint at this moment."""
    with contextlib.suppress(FileNotFoundError):  # a run that begins anew clears its folder away
        return any(folder.glob(f".*.pt.{pid}.tmp")) or any(folder.glob(f"checkpoints/.*.pt.{pid}.tmp"))
    return False


def position(folder):
    """How far a run has come by its checkpoints: epochs finished, and steps of the next."""
    found = [(0, 0)]
    for file in folder.glob("checkpoints/*-*.pt"):
        epoch, step = file.stem.split("-")
        found.append((int(epoch), int(step)))
    with contextlib.suppress(OSError):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        found += [(json.loads(line)["epoch"], 0) for line in lines if line.endswith("}")]
    return max(found)


def killed(words, folder, draw: random.Random, *, while_writing: bool, window: float, how=signal.SIGKILL):
    """Start the command and kill it; returns its exit code, text on stderr and whether a checkpoint was half written.

    Args:
        words: The command.
        folder: Its run folder.
        draw: Decides the moment.
        while_writing: Wait for the first half-written checkpoint after that moment.
        window: Seconds, after it began to train, from which the moment is drawn.
        how: The signal.
    """
    process = start(words)
    while not begun(folder, process.pid) and process.poll() is None:
        time.sleep(0.005)
    until = time.monotonic() + draw.uniform(0, window)
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    while while_writing and process.poll() is None and not is_writing(folder, process.pid):
        pass
    if process.poll() is None:
        os.killpg(process.pid, how)
    _, text = process.communicate()
    return process.returncode, text, is_writing(folder, process.pid)


def digest(folder: Path) -> dict[str, str]:
    """A hash of everything a run has left, but for wall times and what says how often it was interrupted."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    skipped = ("timings.jsonl", "journal.jsonl", "run.json")
    return {file.relative_to(folder).as_posix(): _hash(file) for file in files if file.name not in skipped}


def _hash(file: Path) -> str:
    if file.suffix == ".pt":
        content = _as_bytes(load_checkpoint(file))
    elif file.suffix == ".safetensors":
        content = _as_bytes({name: array.tolist() for name, array in load_file(file).items()})
    elif file.name == "results.json":
        content = _as_bytes(timeless(json.loads(file.read_text())))
    else:
        content = file.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _as_bytes(value) -> bytes:
    """A nested state as bytes, tensors bit by bit."""
    if isinstance(value, dict):
        return b"{" + b",".join(_as_bytes(key) + b":" + _as_bytes(item) for key, item in value.items()) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_as_bytes, value)) + b"]"
    if hasattr(value, "numpy"):
        value = value.contiguous().cpu().numpy()
        return f"{value.dtype} {value.shape} ".encode() + value.tobytes()
    return repr(value).encode()


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value
