"""Several runs of a comparison at once, each in a process of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from iaat.runtime.progress import Reporter
from iaat.runtime.signals import STOPPED, Stopped
from iaat.runtime.text import counted

_WARNING, _ERROR = "warning: ", "error: "
_OF_ALL = ("# ", "note ")
"""Beginnings of lines that are about all runs alike: what the columns of epochs mean, notes on the attacks."""
_THREADS = "OMP_NUM_THREADS"
_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Job:
    """One run of a comparison.

    Attributes:
        name: Name of the run in messages.
        command: What trains and evaluates it: a program and its arguments.
    """

    name: str
    command: Sequence[str]


@dataclass(frozen=True)
class Jobs:
    """How the runs of a comparison are trained and evaluated beside each other.

    Attributes:
        at_once: How many at once.
        command: For the name of a cell and a seed, what trains and evaluates that run: a program and its arguments.
    """

    at_once: int
    command: Callable[[str, int], Sequence[str]]


@dataclass(eq=False)
class _Child:
    """A job that is running."""

    job: Job
    process: subprocess.Popen[str]
    slot: int
    errors: list[str] = field(default_factory=list)


def run_jobs(jobs: Sequence[Job], count: int, reporter: Reporter) -> dict[str, str]:
    """Run all jobs, `count` at once; what they print appears line by line behind their names.

    Each job gets its part of the processors, unless OMP_NUM_THREADS says otherwise, and where there are several GPUs
    one of them in turn. A job that fails ends none of the others. A stop stops all: each keeps what it has done.

    Args:
        jobs: The jobs, in the order in which they begin.
        count: How many run at once.
        reporter: Shows what they print.

    Returns:
        Why jobs have failed, by their names; empty where none has.

    Raises:
        Stopped: a stop was asked for, or a job was stopped.
    """
    if not jobs:
        return {}
    count = min(count, len(jobs))
    waiting, slots = list(jobs), list(range(count))
    lines: queue.Queue[tuple[_Child, str | None]] = queue.Queue()
    running: list[_Child] = []
    failed: dict[str, str] = {}
    threads = os.environ.get(_THREADS) or str(max(1, (os.cpu_count() or 1) // count))
    reporter.say(f"{counted(len(jobs), 'run')}, {count} at once, each on {counted(int(threads), 'thread')}")
    shown: set[str] = set()
    try:
        while waiting or running:
            while waiting and slots:
                running.append(_start(waiting.pop(0), slots.pop(0), threads, lines))
            child, line = lines.get()
            if line is not None:
                _show(child, line, reporter, shown)
                continue
            running.remove(child)
            slots.append(child.slot)
            code = child.process.wait()
            _close(child)
            if code == STOPPED:
                raise Stopped("its run " + child.job.name)
            if code:
                failed[child.job.name] = _reason(child)
            ended = f"failed: {failed[child.job.name]}" if code else "finished"
            reporter.say(f"{child.job.name}: {ended}. {len(waiting) + len(running)} of {len(jobs)} runs are left")
    finally:
        _end(running)
    return failed


def environment(slot: int, threads: str, known: Mapping[str, str], gpus: int) -> dict[str, str]:
    """Environment of the job in a slot: its threads, and one GPU of several.

    Args:
        slot: Number of the slot, from 0.
        threads: Value of OMP_NUM_THREADS.
        known: The environment it is derived from.
        gpus: How many GPUs this process sees.
    """
    own = {**known, _THREADS: threads}
    if gpus > 1:
        visible = known[_GPUS].split(",") if known.get(_GPUS) else [str(number) for number in range(gpus)]
        own[_GPUS] = visible[slot % len(visible)]
    return own


def _start(job: Job, slot: int, threads: str, lines: queue.Queue[tuple[_Child, str | None]]) -> _Child:
    process = subprocess.Popen(
        job.command,
        stdin=subprocess.PIPE,  # ends with this process, whatever ends it: see `iaat.runtime.process_end`
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**environment(slot, threads, os.environ, torch.cuda.device_count()), "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,  # Ctrl-C reaches this process alone, which stops all in order
    )
    child = _Child(job, process, slot)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put((child, line.rstrip("\n")))
        lines.put((child, None))

    threading.Thread(target=read, daemon=True).start()
    return child


def _show(child: _Child, line: str, reporter: Reporter, shown: set[str]) -> None:
    """Show a line of a job: what runs warn of or say of all alike once, errors when it has ended."""
    if line.startswith(_ERROR) or child.errors:
        child.errors.append(line)
    elif line.startswith(_OF_ALL):
        reporter.say_once(line)
    elif not line.startswith(_WARNING):
        reporter.say(f"{child.job.name}: {line}")
    elif line not in shown:
        shown.add(line)
        warnings.warn(line.removeprefix(_WARNING), stacklevel=4)


def _reason(child: _Child) -> str:
    code = child.process.returncode
    if child.errors:
        return " ".join(child.errors).removeprefix(_ERROR)
    if code == -getattr(signal, "SIGKILL", 9):  # which Windows has not
        return "killed by SIGKILL, as the system does where memory runs out; it goes on from its last checkpoint"
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"


def _close(child: _Child) -> None:
    for pipe in (child.process.stdin, child.process.stdout):
        assert pipe is not None
        pipe.close()


def _end(running: Sequence[_Child]) -> None:
    """Stop jobs and wait for what they save; kill them where this is interrupted once more."""
    try:
        for child in running:
            with suppress(ProcessLookupError):
                child.process.terminate()
        for child in running:
            child.process.wait()
            _close(child)
    except BaseException:
        for child in running:
            child.process.kill()
        raise
