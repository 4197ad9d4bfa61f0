"""The coverage-guided fuzzer of recipes, a fixed number of cases from a fixed seed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import recipe_cases
from iaat.methods import find_method

FUZZER = Path(__file__).with_name("recipe_fuzzer.py")
RUNS = 800


def test_no_recipe_of_the_fuzzer_is_more_than_refused(tmp_path):
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python or system")
    command = [sys.executable, str(FUZZER), f"-runs={RUNS}", "-seed=1", str(tmp_path / "corpus")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]
    assert [int(count) for count in re.findall(r"^Done (\d+) runs", done.stderr, flags=re.MULTILINE)] == [RUNS]
    assert {path.name for path in tmp_path.iterdir()} == {"corpus"}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (lambda *_: {}["fault"], KeyError),
        (lambda *_: Path("made").write_text("x"), AssertionError),
        (lambda *_: subprocess.run(["true"], check=False), AssertionError),
        (lambda *_: find_method("os:system"), AssertionError),
    ],
)
def test_a_fault_would_be_found(tmp_path, monkeypatch, fault, found):
    """A fuzzer that can find nothing would look the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(recipe_cases, "load_recipe", fault)
    with pytest.raises(found):
        recipe_cases.run_bytes(b"\0extends: quickstart", tmp_path / "scratch")
    assert not (tmp_path / "made").exists()
