"""Signals stop the real command where nothing is lost, and it goes on bit for bit; a second one stops it at once."""

# ruff: noqa: PT012 - what happens in the block, and what does not, is what is tested
import os
import random
import signal
import time

import pytest

from helpers.killing import command, digest, start
from helpers.sending import STEP, sending
from helpers.training import QUIET, same, tiny
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import STOPPED, Stop, Stopped, ignore_stops
from iaat.train import train

# Without checkpoints of its own accord within an epoch: what is there was written because of the signal.
QUIETLY = ("quickstart", "--train.save_steps", "0")


@pytest.fixture(autouse=True)
def _usual_handler():
    """Ctrl-C means what it does in a terminal, also where a shell has put the tests into the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = start(command(folder, *QUIETLY))
    _, text = process.communicate()
    assert process.returncode == 0, text
    return digest(folder)


def test_each_signal_saves_says_how_to_go_on_and_nothing_differs_in_the_end(tmp_path, whole):
    run, draw = tmp_path / "run", random.Random(0)
    words = command(run, *QUIETLY)
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        # Of 64 steps in all.
        process = start(sending([how], STEP, draw.randint(1, 15), words[3:]))
        _, text = process.communicate()
        assert process.returncode == STOPPED, text
        assert f"stopped by {how.name}: training is kept" in text
        assert f"--out {run} --resume" in text.splitlines()[-1]
        assert "Traceback" not in text
        assert not (run / "train.lock").exists()
    process = start(words)
    _, text = process.communicate()
    assert process.returncode == 0, text
    assert digest(run) == whole


def test_a_second_ctrl_c_ends_at_once_and_the_run_still_goes_on(tmp_path, whole):
    run = tmp_path / "run"
    words = command(run, *QUIETLY)
    process = start(sending([signal.SIGINT, signal.SIGINT], STEP, 20, words[3:]))
    _, text = process.communicate()
    assert process.returncode == 130, text
    assert (run / "best.pt").exists()
    assert "Traceback" not in text
    process = start(words)
    process.communicate()
    assert digest(run) == whole


class Asking(Reporter):
    """Asks for a stop while the batch of that number is trained on."""

    def __init__(self, stop, batch):
        super().__init__(quiet=True)
        self.stop, self.left = stop, batch

    def track(self, items, **_):
        for item in items:
            self.left -= 1
            if self.left == 0:
                self.stop.requested = "SIGTERM"
            yield item


class AskingAfterTheLastStep(Reporter):
    """Asks for a stop when all steps of the epoch are taken."""

    def __init__(self, stop):
        super().__init__(quiet=True)
        self.stop = stop

    def track(self, items, **_):
        yield from items
        self.stop.requested = "SIGTERM"


def test_an_epoch_is_kept_where_the_stop_comes_after_its_last_step(tmp_path):
    run, stop = RunFolder(tmp_path / "run"), Stop()
    with pytest.raises(Stopped, match="SIGTERM"):
        train(tiny("natural"), run, AskingAfterTheLastStep(stop), stop=stop)
    assert [file.name for file in run.path.glob("checkpoints/*-*.pt")] == ["0000-000003.pt"]
    train(tiny("natural"), run, QUIET, resume=True)
    whole = RunFolder(tmp_path / "whole")
    train(tiny("natural"), whole, QUIET)
    assert same(load_checkpoint(run.checkpoint("last")), load_checkpoint(whole.checkpoint("last")))


@pytest.mark.parametrize("batch", range(1, 7))  # of 3 an epoch
def test_no_step_is_lost_wherever_in_an_epoch_the_stop_comes(tmp_path, batch):
    run, stop = RunFolder(tmp_path / "run"), Stop()
    with pytest.raises(Stopped, match="SIGTERM"):
        train(tiny("natural"), run, Asking(stop, batch), stop=stop)
    epoch, step = divmod(batch - 1, 3)
    (file,) = run.path.glob("checkpoints/*-*.pt")
    assert file.name == f"{epoch:04d}-{step + 1:06d}.pt"
    assert load_checkpoint(file)["tally"]["steps"] == step + 1
    train(tiny("natural"), run, QUIET, resume=True)
    whole = RunFolder(tmp_path / "whole")
    train(tiny("natural"), whole, QUIET)
    assert same(load_checkpoint(run.checkpoint("last")), load_checkpoint(whole.checkpoint("last")))


def test_a_stop_waits_for_the_end_of_what_must_not_be_cut():
    stop, seen = Stop(), []
    with pytest.raises(Stopped, match="SIGTERM"), stop.listening(), stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append(stop.requested)
        stop.check()
    assert seen == ["SIGTERM"]


def test_elsewhere_a_stop_comes_at_once():
    stop = Stop()
    with pytest.raises(Stopped), stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")


def test_a_second_signal_interrupts_what_must_not_be_cut():
    stop = Stop()
    with pytest.raises(KeyboardInterrupt) as error, stop.listening(), stop.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert not isinstance(error.value, Stopped)


def test_handlers_are_put_back_and_what_was_ignored_stays_ignored():
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        old = signal.getsignal(signal.SIGINT)
        with Stop().listening():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) is not old
        assert signal.getsignal(signal.SIGINT) is old
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_inside_goes_before_the_stop():
    stop = Stop()
    with pytest.raises(ValueError, match="mine"), stop.deferred():
        stop.requested = "SIGTERM"
        raise ValueError("mine")


def test_a_stop_that_python_swallows_in_a_finaliser_comes_again(capsys):
    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)

    stop = Stop()
    with pytest.raises(Stopped, match="SIGTERM"), stop.listening():
        thing = Finalised()
        del thing
        for _ in range(100):
            time.sleep(0.01)
        pytest.fail("went on")
    assert "ignored" not in capsys.readouterr().err


def test_a_signal_after_the_work_is_done_changes_nothing():
    before = {
        name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP", "SIGXCPU")
    }
    try:
        ignore_stops()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
