"""A process that waits, for others or for files, says for whom, and answers a request to stop."""

import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.killing import answer_signals, command
from helpers.processes import environment, free_port
from iaat.runs.run_folder import RunFolder

LATE = 600
"""Seconds in which an answer must come on a machine that is busy; that it would not come at all is half an hour."""
HOST = platform.node()


class Watched:
    """A process and the lines it has written so far."""

    def __init__(self, words, env=None):
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            start_new_session=True,
            preexec_fn=answer_signals,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self):
        return "".join(self.lines)

    def await_line(self, pattern):
        return wait_for(lambda: re.search(pattern, self.text), self)

    def ended(self):
        """The exit code, which comes within `LATE` seconds."""
        code = self.process.wait(LATE)
        self._reader.join(LATE)
        return code


def wait_for(condition, *watched, seconds=LATE):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, [each.text for each in watched]
        assert all(each.process.poll() is None for each in watched), [each.text for each in watched]
        time.sleep(0.05)
    return found


@pytest.fixture
def started():
    """Starts processes, which are killed in the end."""
    found = []

    def begin(words, env=None):
        found.append(Watched(words, env))
        return found[-1]

    yield begin
    for each in found:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.wait()


def ranks(started, words, present, world, port):
    return [started([sys.executable, *words], environment(rank, world, port)) for rank in present]


def two_in_an_epoch(started, run, port):
    """Two processes in the middle of an epoch of many steps.

    The main one is not saving there: processes that wait for that do not stop by themselves.
    """
    settings = ("--data.limit", "1300", "--train.batch_size", "4", "--train.save_steps", "100000")
    words = command(run.path, "quickstart", *settings, "--train.epochs", "100000")[1:]
    both = ranks(started, words, (0, 1), 2, port)
    wait_for(lambda: run.checkpoint("last").exists(), *both)
    time.sleep(0.5)
    return both


def said_beside(stopped, waiting, pattern, seconds=15, tries=12):
    """What a process says of another that stands still.

    Caught in PyTorch's own exchange of gradients it says nothing: then the other goes on for a moment and is stopped
    anew.
    """
    for _ in range(tries):
        stopped.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := re.search(pattern, waiting.text):
                return found
            time.sleep(0.1)
        stopped.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    raise AssertionError(waiting.text)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_main_process_names_who_has_not_come_and_stops(tmp_path, started, sent):
    port = free_port()
    main, other = ranks(started, command(tmp_path / "run")[1:], (0, 2), 4, port)
    main.await_line(rf"process 0 of 4 on {HOST} waits at 127\.0\.0\.1:{port} for 2 more: process 1, 3\n")
    other.process.send_signal(sent)
    assert other.ended() == 75
    main.process.send_signal(sent)
    for each in (main, other):
        assert each.ended() == 75
        assert f"stopped by {sent.name}" in each.text
        assert "Traceback" not in each.text


def test_a_process_that_finds_no_main_process_says_so_and_stops(tmp_path, started):
    port = free_port()
    (other,) = ranks(started, command(tmp_path / "run")[1:], (1,), 2, port)
    other.await_line(rf"process 1 of 2 on {HOST} waits at 127\.0\.0\.1:{port} for the main process, which does not")
    other.process.send_signal(signal.SIGINT)
    assert other.ended() == 75


@pytest.mark.parametrize("frozen", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_stands_still_is_named_and_does_not_hold_up_a_stop(tmp_path, started, frozen):
    run, port = RunFolder(tmp_path / "run"), free_port()
    both = two_in_an_epoch(started, run, port)
    waiting = both[1 - frozen]
    missing = (
        rf"others; the store at 127\.0\.0\.1:{port}, on the machine of process 0, does not answer",  # it has the store
        rf"1 of 2 processes \(they met at 127\.0\.0\.1:{port}\): process 1 on {HOST}",
    )
    said_beside(both[frozen], waiting, rf"process {1 - frozen} of 2 on {HOST} has waited \d+ s for {missing[frozen]}\n")
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.ended() == 75
    assert re.search(
        r"stopped by SIGTERM while waiting for .*: training is kept up to the last checkpoint", waiting.text
    )
    assert "Traceback" not in waiting.text


def test_a_second_signal_ends_the_waiting_at_once(tmp_path, started):
    run, port = RunFolder(tmp_path / "run"), free_port()
    both = two_in_an_epoch(started, run, port)
    said_beside(both[1], both[0], "has waited")
    both[0].process.send_signal(signal.SIGINT)
    both[0].await_line("once more stops at once")
    both[0].process.send_signal(signal.SIGINT)
    assert both[0].ended() == 130


@pytest.fixture
def images(tmp_path):
    """A folder of small images in two classes."""
    draws = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 10)):
        for name in ("a", "b"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def children(process):
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
    return list(map(int, text.split()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_readers_that_stand_still_do_not_hold_up_a_stop_that_saves(tmp_path, images, started):
    run = RunFolder(tmp_path / "run")
    settings = {
        "data.root": images, "data.size": 8, "data.stream": "true", "data.workers": 3, "model.width": 16,
        "train.epochs": 100_000, "train.batch_size": 4, "train.save_steps": 1, "train.device": "cpu",
    }  # fmt: skip
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    main = started([*command(run.path)[:4], "folder-pgd-at", *words, "--out", str(run.path)])

    def frozen():
        """Freeze the readers of one epoch before it is over: then no other ones are started."""
        readers = children(main.process.pid)
        for reader in readers:
            os.kill(reader, signal.SIGSTOP)
        time.sleep(0.5)
        return len(readers) >= 3 and set(readers) <= set(children(main.process.pid))

    wait_for(lambda: run.checkpoint("last").exists(), main)
    wait_for(frozen, main)
    main.process.send_signal(signal.SIGTERM)
    assert main.ended() == 75
    assert "stopped by SIGTERM: training is kept up to the last checkpoint" in main.text
    assert "Traceback" not in main.text, main.text[-2000:]
