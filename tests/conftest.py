"""One thread, no deadlines: the same speed everywhere. Its place also makes `tests/reference` importable."""

import gc
import shutil
import subprocess

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("iaat", deadline=None)
settings.load_profile("iaat")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws from the global generator does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 KB, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True)
    if not made or made.returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    gc.collect()  # closes what is mapped from there
    subprocess.run(["umount", place], check=True)
