"""Disks that are full, folders that cannot be written or are gone: a clear message, and the last good checkpoint."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from helpers.killing import ENVIRONMENT, begun, command, digest, start
from iaat.runs.checkpoint import load_checkpoint


def outcome(words, prepare=None):
    process = start(words, prepare)
    _, text = process.communicate()
    assert "Traceback" not in text
    return process.returncode, text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert outcome(command(folder)) == (0, "")
    return folder


def checkpoints(folder):
    return [*folder.glob("*.pt"), *folder.glob("checkpoints/*.pt")]


def test_a_full_disk_ends_the_run_with_a_message_and_every_checkpoint_is_whole(small_disk, tmp_path, whole):
    run = small_disk / "run"
    code, text = outcome(command(run))
    assert (code, "No space left on device; free space" in text) == (2, True), text
    assert checkpoints(run)
    for file in checkpoints(run):
        load_checkpoint(file)
    assert not list(run.rglob("*.tmp"))
    # With room the same command goes on, and nothing differs in the end.
    shutil.move(run, tmp_path / "run")
    code, text = outcome(command(tmp_path / "run"))
    assert code == 0, text
    assert digest(tmp_path / "run") == digest(whole)


def limited():
    """Writes beyond 100 KB fail in this process from now on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_write_that_fails_half_way_leaves_no_checkpoint(tmp_path):
    code, text = outcome(command(tmp_path / "run"), prepare=limited)
    assert code == 2
    assert "cannot write" in text
    assert ".pt: " in text
    assert not checkpoints(tmp_path / "run")


def without_rights(words):
    """The command as one who may not write everywhere, as root may."""
    if os.getuid():
        return words
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv to give up the rights of root")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]


def test_folders_that_may_not_be_written_or_read_are_named(tmp_path, whole):
    place = tmp_path / "place"
    shutil.copytree(whole, place / "run")
    for folder in (place, place / "run", place / "run" / "checkpoints"):
        folder.chmod(0o555)
    for folder in ("new", "run"):
        code, text = outcome(without_rights(command(place / folder)))
        assert (code, "cannot write" in text, "Permission denied" in text) == (2, True, True), text
        assert str(place / folder) in text
    (place / "run").chmod(0o755)
    (place / "run" / "last.pt").chmod(0o000)
    code, text = outcome(without_rights(command(place / "run")))
    assert (code, "last.pt cannot be read: Permission denied" in text) == (2, True), text
    assert (place / "run" / "last.pt").exists()


def test_a_data_folder_that_vanishes_while_training_is_named_and_what_was_trained_is_saved(tmp_path):
    draw = np.random.default_rng(0)
    for split, count in (("train", 150), ("test", 10)):
        for label in ("a", "b"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    settings = {"data.root": tmp_path / "data", "data.size": 8, "data.stream": "true", "model.name": "small-cnn"}
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    run = tmp_path / "run"
    words = command(run, "folder-natural", *words, "--train.save_steps", "0", "--train.epochs", "200")
    process = start(words)
    while not (run / "best.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.Random(0).uniform(0, 0.5))
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    _, text = process.communicate()
    assert process.returncode == 2, text
    assert "Traceback" not in text
    assert str(tmp_path / "data") in text
    for file in checkpoints(run):
        load_checkpoint(file)
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    process = start(words)
    while not begun(run, process.pid) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    _, text = process.communicate()
    assert process.returncode == 75, text


def test_a_broken_pipe_is_no_traceback():
    words = f"{sys.executable} -m iaat.cli.main recipes | head -c 10 > /dev/null; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", words], capture_output=True, text=True, env=ENVIRONMENT)
    assert ended.stderr == ""
