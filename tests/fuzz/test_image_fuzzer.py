"""The coverage-guided fuzzer of images, for a fixed number of cases."""

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 2000
SCRIPT = Path(__file__).with_name("image_fuzzer.py")


def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the fuzzer needs atheris, which there is for Linux and macOS")
    words = [f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/", str(tmp_path / "corpus")]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert f"Done {RUNS} runs" in done.stderr
