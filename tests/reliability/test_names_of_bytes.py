"""Run folders with names that are no UTF-8, and a locale that knows ASCII alone, work in all commands."""

import os
import subprocess
import sys

import pytest

from iaat.cli.main import main

PROGRAM = """
import sys
from iaat.cli.main import main
out, figures = sys.argv[1:]
RECIPE = ("quickstart", "--data.limit", "200", "--model.width", "4", "--train.epochs", "2")
QUICK = ("--evaluate.suite", "pgd-2", "--evaluate.n", "20")
RUN = f"{out}/quickstart-seed0"
for words in (
    ("train", *RECIPE, *QUICK, "--out", RUN, "--tensorboard"),
    ("train", *RECIPE, *QUICK, "--out", RUN, "--resume"),
    ("compare", *RECIPE, *QUICK, "--out", out, "--seeds", "2"),
    ("evaluate", RUN, "--suite", "pgd-2", "--samples", "20"),
    ("radii", RUN),
    ("radii", RUN, "--out", f"{out}/radii.csv"),
    ("report", RUN, "-o", f"{out}/page.html", "--images", "20", "--details", "1", "--figures", f"{out}/{figures}"),
    ("check", "quickstart"),
    ("recipes",),
    ("train", "--help"),
    ("train", "quickstart", "--help"),
):
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    assert code == 0, (words, code)
print("all done")
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("more", [pytest.param({}, marks=pytest.mark.slow), ASCII], ids=["usual", "ASCII"])
def test_all_commands_work_in_a_folder_of_other_bytes(tmp_path, more):
    folder = os.fsencode(tmp_path) + b"/runs-\xff-\xc3\xa4"
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder, b"figures-\xfe"],
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **more},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.rstrip().endswith(b"all done")
    assert b"Traceback" not in ended.stderr
    assert os.path.exists(folder + b"/quickstart-seed0/radii.parquet")  # noqa: PTH110


def test_a_data_folder_of_other_bytes_is_refused_before_training(tmp_path, capsys):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/data-\xff")
    words = ["train", "folder-iaat", "--data.root", root, "--data.size", "8", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "error: recipe folder-iaat: data.root" in said
    assert "U+DCFF" in said
    assert not (tmp_path / "run").exists()
