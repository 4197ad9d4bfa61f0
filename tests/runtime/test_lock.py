"""One writer a folder: a second one is refused by name, a dead one's lock is taken over."""

import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from iaat.errors import UserError
from iaat.runtime import lock
from iaat.runtime.lock import SILENCE, folder_lock

HOLDER = """
import sys, time
from pathlib import Path
from iaat.runtime.lock import folder_lock
with folder_lock(Path(sys.argv[1]), "trains"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run" / "train.lock"


@pytest.fixture
def holder(file):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_with_pid_and_host(file, holder):
    with pytest.raises(UserError, match=rf"process {holder.pid} on \S+ trains there, since .*train\.lock"):
        folder_lock(file, "trains").__enter__()
    assert json.loads(file.read_text())["pid"] == holder.pid


def test_a_lock_is_waited_for_and_one_line_names_its_owner(file, holder):
    said = []

    def say(line):
        said.append(line)
        threading.Timer(3 * lock._PAUSE, holder.kill).start()

    with lock.waiting_lock(file, "trains", say):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert len(said) == 1
    assert said[0].startswith(f"waiting: {file.parent} is in use: process {holder.pid} on ")
    assert not file.exists()


def test_the_lock_of_a_killed_process_is_taken_over(file, holder):
    holder.kill()
    holder.wait()
    assert file.exists()
    with folder_lock(file, "trains"):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert not file.exists()


def test_a_second_lock_in_the_same_process_is_refused_too(file):
    with folder_lock(file, "trains"), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        folder_lock(file, "trains").__enter__()
    with folder_lock(file, "trains"):
        pass


def test_a_folder_made_for_the_lock_goes_with_it_and_any_other_stays(file):
    with folder_lock(file, "trains"):
        assert file.exists()
    assert not file.parent.exists()
    file.parent.mkdir()
    with folder_lock(file, "trains"):
        pass
    assert file.parent.exists()
    with folder_lock(file, "trains"):
        (file.parent / "something").write_text("of the run")
    assert (file.parent / "something").exists()


def of_another_host(file, seconds_ago):
    file.parent.mkdir()
    file.write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "2026-01-01 00:00:00"}))
    then = time.time() - seconds_ago
    os.utime(file, (then, then))


def test_an_owner_on_another_host_is_believed_while_it_shows_signs_of_life(file):
    of_another_host(file, SILENCE / 2)
    with pytest.raises(UserError, match="process 7 on elsewhere trains there"):
        folder_lock(file, "trains").__enter__()
    assert json.loads(file.read_text())["host"] == "elsewhere"


def test_a_silent_owner_on_another_host_is_taken_for_dead(file):
    of_another_host(file, SILENCE + 5)
    with folder_lock(file, "trains"):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_the_owner_shows_signs_of_life(file, monkeypatch):
    monkeypatch.setattr("iaat.runtime.lock.BEAT", 0.02)
    with folder_lock(file, "trains"):
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 20
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": 3}', "\0" * 100])
def test_a_lock_file_that_says_nothing_is_taken_over(file, content):
    file.parent.mkdir()
    file.write_text(content)
    with folder_lock(file, "trains"):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_a_forked_worker_that_outlives_its_parent_does_not_keep_the_lock(file):
    context = multiprocessing.get_context("fork")
    stay = context.Event()
    with folder_lock(file, "trains"):
        worker = context.Process(target=stay.wait, daemon=True)
        worker.start()
        # Closing is all that the death of a process does to its lock; giving it back in order would unlock it.
    with folder_lock(file, "trains"):
        pass
    stay.set()
    worker.join()


def open_files():
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


def test_no_descriptor_is_left_open(file):
    before = open_files()
    for _ in range(5):
        with folder_lock(file, "trains"), pytest.raises(UserError):
            folder_lock(file, "trains").__enter__()
    assert open_files() == before


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        folder_lock(tmp_path / "file" / "run" / "train.lock", "trains").__enter__()


def make_link(file, target):
    file.symlink_to(target)


def make_second_name(file, target):
    file.hardlink_to(target)


def make_pipe(file, _target):
    os.mkfifo(file)


def make_folder(file, _target):
    file.mkdir()


@pytest.mark.parametrize("make", [make_link, make_second_name, make_pipe, make_folder])
def test_a_lock_that_is_a_link_or_no_file_is_refused_and_nothing_is_written(file, tmp_path, make):
    target = tmp_path / "other"
    target.write_text("of somebody else")
    file.parent.mkdir()
    make(file, target)
    before = open_files()
    with pytest.raises(UserError, match=r"train\.lock is a link or no plain file.*remove it"):
        folder_lock(file, "trains").__enter__()
    assert target.read_text() == "of somebody else"
    assert open_files() == before


def test_a_lock_that_is_a_link_to_nothing_makes_no_file(file, tmp_path):
    file.parent.mkdir()
    file.symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="is a link"):
        folder_lock(file, "trains").__enter__()
    assert not (tmp_path / "other").exists()


def test_a_lock_that_its_owner_removes_while_it_is_taken_is_made_anew(file, monkeypatch):
    """Else its holder would have a lock on a file that nobody sees any more, and a third process would get in."""
    take = lock._lock
    removed = []

    def remove_first(descriptor):
        if not removed:
            removed.append(file.unlink())
        return take(descriptor)

    monkeypatch.setattr(lock, "_lock", remove_first)
    with folder_lock(file, "trains"):
        assert file.exists()
        with pytest.raises(UserError, match="trains there"):
            folder_lock(file, "trains").__enter__()


def test_without_locks_of_the_kernel_a_living_owner_on_this_machine_is_respected(file, holder, monkeypatch):
    monkeypatch.setattr(lock, "_lock", lambda _: None)
    with pytest.raises(UserError, match=f"process {holder.pid} on"):
        folder_lock(file, "trains").__enter__()
    holder.kill()
    holder.wait()
    with folder_lock(file, "trains"), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        folder_lock(file, "trains").__enter__()


@pytest.fixture
def like_windows(monkeypatch):
    """Take away what only POSIX has; a file that is open cannot be removed."""
    unlink, utime = Path.unlink, os.utime

    def unlink_closed(path, missing_ok=False):
        opened = Path("/proc/self/fd").iterdir()
        if any(each.exists() and path.exists() and each.samefile(path) for each in opened):
            raise PermissionError(13, "in use")
        unlink(path, missing_ok=missing_ok)

    def utime_of_path(path, times=None):
        if isinstance(path, int):
            raise TypeError("utime: path should be string, bytes or os.PathLike, not int")
        utime(path, times)

    monkeypatch.setattr(lock, "fcntl", None)
    for name in ("pread", "pwrite", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(os, "supports_fd", os.supports_fd - {utime})
    monkeypatch.setattr(os, "utime", utime_of_path)
    monkeypatch.setattr(Path, "unlink", unlink_closed)
    monkeypatch.setattr(lock, "BEAT", 0.02)


def test_on_windows_the_lock_is_taken_renewed_and_removed(file, like_windows):
    with folder_lock(file, "trains"):
        assert json.loads(file.read_text())["pid"] == os.getpid()
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 20
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            folder_lock(file, "trains").__enter__()
    assert not file.exists()
    assert not file.parent.exists()


def open_process(_right, _inherit, process):
    """Of the processes 7 runs, 8 has ended and is still known, 9 is of another user, and there are no more."""
    return process if process in (7, 8) else None


def test_on_windows_the_lock_of_a_dead_process_is_taken_over_at_once(monkeypatch):
    closed = []
    kernel = SimpleNamespace(
        OpenProcess=open_process,
        WaitForSingleObject=lambda handle, _wait: 0x102 if handle.value == 7 else 0,
        CloseHandle=lambda handle: closed.append(handle.value),
    )
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_args, **_more: kernel, raising=False)
    for process, error, lives in ((7, 0, True), (8, 0, False), (9, 5, True), (10, 87, False)):
        monkeypatch.setattr(ctypes, "get_last_error", lambda error=error: error, raising=False)
        assert lock._lives_on_windows(process) is lives
    assert closed == [7, 8]
