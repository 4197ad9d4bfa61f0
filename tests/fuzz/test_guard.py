"""The guard of the fuzzers stops what it is there for, and lets the rest pass."""

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from fuzz.guard import guarded


def effects(outside):
    return {
        "open": lambda: outside.write_text("x"),
        "os.open": lambda: os.close(os.open(outside, os.O_CREAT | os.O_WRONLY)),
        "append": lambda: outside.open("a").close(),
        "mkdir": lambda: outside.mkdir(),
        "remove": lambda: (outside.parent / "kept").unlink(),
        "rename": lambda: (outside.parent / "kept").rename(outside),
        "subprocess": lambda: subprocess.run(["touch", str(outside)], check=False),
        "os.system": lambda: os.system(f"touch {outside}"),
        "network": lambda: socket.create_connection(("127.0.0.1", 9)),
    }


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("name", effects(Path()))
def test_an_effect_is_stopped_and_reported_even_if_the_code_catches_all_it_can(tmp_path, name, caught):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "kept").write_text("kept")
    effect = effects(tmp_path / "outside")[name]
    with (
        pytest.raises(AssertionError, match="forbidden: "),
        guarded(tmp_path / "scratch"),
        suppress(*([BaseException] if caught else [])),
    ):
        effect()
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "scratch"}


def test_reading_anything_and_writing_in_the_scratch_folder_are_allowed(tmp_path):
    with guarded(tmp_path):
        Path(__file__).read_text(encoding="utf-8")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("x")
        (tmp_path / "a" / "b").unlink()
        with Path(os.devnull).open("w") as nothing:
            nothing.write("x")
    (tmp_path.parent / f"{tmp_path.name}-after").write_text("no guard any more")


def test_what_the_code_raises_passes_through(tmp_path):
    with pytest.raises(KeyError), guarded(tmp_path):
        {}["x"]
