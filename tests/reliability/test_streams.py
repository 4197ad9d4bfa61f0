"""Standard output and error that are closed, or that nobody reads, cost no work and change no exit code."""

import io
import os
import subprocess
import sys

import pytest

from helpers.killing import ENVIRONMENT, command
from iaat.runs.run_folder import RunFolder
from iaat.runtime.streams import LastingStream, lasting_streams

LOST = "warning: standard output cannot be written to any more"


def run_command(words, **options):
    return subprocess.run(words, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=240, **options)


def finished(folder):
    run = RunFolder(folder)
    return len(run.metrics()) == 2 and len(list(folder.glob("evaluations/*/results.json"))) == 2


def training(folder):
    return [word for word in command(folder, "quickstart", "--train.epochs", "2") if word != "--quiet"]


def test_a_pipe_that_is_read_no_more_does_not_end_a_run(tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen(
        training(run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(240) == 0, said
    assert said.count(LOST) == 1
    assert "Traceback" not in said
    assert finished(run)


@pytest.mark.parametrize(
    "closed", [*(pytest.param(each, marks=pytest.mark.slow) for each in [(1,), (2,)]), (0, 1, 2)], ids=str
)
def test_streams_that_are_closed_from_the_start_do_not_end_a_run(tmp_path, closed):
    run = tmp_path / "run"

    def close():
        for number in closed:
            os.close(number)

    ended = subprocess.run(training(run), preexec_fn=close, env=ENVIRONMENT, timeout=240, capture_output=True)
    assert ended.returncode == 0, ended.stderr
    assert finished(run)
    assert b"Traceback" not in ended.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_an_output_on_a_full_disk_does_not_end_a_run(tmp_path):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        ended = run_command(training(tmp_path / "run"), stdout=full)
    assert ended.returncode == 0
    assert ended.stderr.count(LOST) == 1
    assert finished(tmp_path / "run")


def test_a_mistake_has_its_exit_code_where_nobody_reads_it(tmp_path):
    words = [sys.executable, "-m", "iaat.cli.main", "train", "nonsense", "--out", str(tmp_path / "run")]
    ended = subprocess.run(words, preexec_fn=lambda: os.closerange(1, 3), env=ENVIRONMENT, timeout=240)
    assert ended.returncode == 2


def test_a_list_that_is_cut_by_its_reader_is_no_failure():
    read, write = os.pipe()
    os.close(read)
    ended = run_command([sys.executable, "-m", "iaat.cli.main", "recipes"], stdout=write)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_list_that_a_full_disk_cuts_is_a_failure():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        ended = run_command([sys.executable, "-m", "iaat.cli.main", "recipes"], stdout=full)
    assert (ended.returncode, ended.stderr) == (1, "error: standard output: No space left on device\n")


class Broken(io.StringIO):
    """A stream that takes two writes."""

    left = 2

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


def test_what_comes_after_a_loss_is_dropped_and_the_loss_is_reported_once():
    reported = []
    stream = LastingStream(inner := Broken(), reported.append)
    for text in "abcd":
        assert stream.write(text) == 1
    assert inner.getvalue() == "ab"
    assert [type(error) for error in reported] == [BrokenPipeError]


def test_streams_are_put_back():
    before = sys.stdout, sys.stderr
    with lasting_streams(lambda _: None):
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before
