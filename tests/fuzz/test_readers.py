"""Damaged and forged files of models and runs are read or refused in one line; more cases by `reader_fuzzer.py`."""

import pytest

from fuzz.reader_cases import Readers
from fuzz.reader_fuzzer import run_case

CASES = 300


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return Readers(tmp_path_factory.mktemp("readers"))


def test_whole_files_are_read(readers):
    for name, reader in readers.readers.items():
        if not name.startswith("program"):  # which need trust
            reader.file.write_bytes(reader.content)
            reader.read()


def test_mutated_files_are_read_or_refused(readers):
    outcomes = {}
    for number in range(CASES):
        name, refused = run_case(readers, 0, number)
        outcomes.setdefault(name, set()).add(refused)
    assert outcomes.keys() == readers.readers.keys()
    assert all(True in outcomes[name] for name in ("last.pt", "bare.pt", "old.pt", "w.safetensors", "radii"))
