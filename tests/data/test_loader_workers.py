"""Reader processes: deaf to signals, gone with the loader or with the main process, and explained when they die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from iaat.data import StreamingSource, loader_workers, sequential_order
from iaat.errors import UserError

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
N = 40


class Items:
    """Each item says which process has read it; the one at `hangs` is never ready."""

    def __init__(self, hangs: int | None = None, dies: int | None = None) -> None:
        self.hangs = hangs
        self.dies = dies

    def __len__(self) -> int:
        return N

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position == self.hangs:
            time.sleep(1000)
        if position == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.tensor([os.getpid() % 256, os.getpid() // 256 % 256, os.getpid() >> 16]).to(
            torch.uint8
        ), position % 2


def source(**settings: int) -> StreamingSource:
    return StreamingSource(Items(**settings), torch.arange(N) % 2, ("cat", "dog"), workers=2)


def reader_of(x: Tensor) -> int:
    low, middle, high = (x[0] * 255).round().int().tolist()
    return low + 256 * middle + 65536 * high


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(seconds: float, processes: set[int]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(alive, processes)):
        time.sleep(0.05)
    return not any(map(alive, processes))


def order() -> list[Tensor]:
    return sequential_order(torch.arange(N), 2)


def test_readers_go_on_after_signals_meant_for_the_main_process_and_end_with_the_loader() -> None:
    readers = set()
    for number, batch in enumerate(batches := source().batches(order())):
        readers.add(reader_of(batch.x))
        if number == 2:
            assert len(readers) == 2
            assert os.getpid() not in readers
            for reader in readers:
                for sent in SIGNALS:
                    os.kill(reader, sent)
    assert len(readers) == 2
    assert number == N // 2 - 1
    del batches
    assert gone_within(5, readers)


def test_readers_end_when_reading_is_broken_off() -> None:
    batches = source().batches(order())
    readers = {reader_of(next(batches).x), reader_of(next(batches).x)}
    batches.close()  # type: ignore[attr-defined]
    assert gone_within(5, readers)


PROGRAM = """
import sys, time
from data.test_loader_workers import order, reader_of, source
batches = source({settings}).batches(order())
print(reader_of(next(batches).x), reader_of(next(batches).x), flush=True)
{then}
"""


def start(then: str, settings: str = "") -> tuple["subprocess.Popen[str]", set[int]]:
    """A process that has two readers, and the readers."""
    program = PROGRAM.format(then=then, settings=settings)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    main = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert main.stdout is not None
    readers = set(map(int, main.stdout.readline().split()))
    assert len(readers) == 2
    assert all(map(alive, readers))
    return main, readers


def test_readers_end_when_the_main_process_is_killed() -> None:
    main, readers = start("time.sleep(1000)")
    main.kill()
    main.wait()
    # PyTorch's readers look every 5 seconds whether the process that started them is there.
    assert gone_within(20, readers)


@pytest.mark.parametrize("settings", ["", "hangs=20"], ids=["idle", "hanging"])
def test_python_ends_with_readers_that_nobody_has_ended(settings: str) -> None:
    main, readers = start("keep = sys.modules['builtins'].keep = batches", settings)
    try:
        assert main.wait(30) == 0
        assert gone_within(5, readers)
    finally:
        for process in (main.pid, *readers):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)


def died(act: Callable[[], object]) -> None:
    message = r"a process that reads samples ended by itself \(DataLoader worker .*\): .*fewer data\.workers"
    with pytest.raises(UserError, match=message):
        act()


def test_a_reader_that_is_killed_is_explained() -> None:
    died(lambda: list(source(dies=5).batches(order())))


def test_a_reader_that_dies_while_the_main_process_does_something_else_is_explained() -> None:
    def train() -> None:
        for _ in source(dies=30).batches(order()):
            time.sleep(0.05)

    died(train)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_what_a_dead_reader_has_sent_and_cannot_be_fetched_is_explained(error):
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()
    message = rf"ended by itself \(DataLoader worker \(pid {process.pid}\) was gone: "
    with pytest.raises(UserError, match=message), loader_workers._explained([process]):
        raise error


def test_an_error_of_the_data_is_not_taken_for_a_death(monkeypatch):
    monkeypatch.setattr(loader_workers, "_DYING", 0.0)
    with pytest.raises(ConnectionResetError), loader_workers._explained([multiprocessing.current_process()]):
        raise ConnectionResetError(104, "Connection reset by peer")


def test_the_dead_are_no_trouble_to_the_next_loader() -> None:
    died(lambda: list(source(dies=5).batches(order())))
    assert len(list(source().batches(order()))) == N // 2


def test_a_signal_while_readers_start_is_answered_when_they_have(monkeypatch):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append((number, len(seen))))
    try:
        with loader_workers._held_back():
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.05)
            assert seen == []
        assert seen == [(signal.SIGUSR1, 0)]
    finally:
        signal.signal(signal.SIGUSR1, before)
