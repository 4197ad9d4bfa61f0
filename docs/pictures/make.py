"""Make the pictures of README and docs anew, from finished runs; nothing is trained.

    python docs/pictures/make.py frontier SWEEP.yaml COMPARISON.json OUT.png
    python docs/pictures/make.py run RUN OUT [data.root=DIR]
    python docs/pictures/make.py extremes RECIPE RADII OUT.png [--data.root DIR]
    python docs/pictures/make.py report OUT.png RUN [RUN ...] [--top PIXELS] [--data DIR]

`frontier` draws `docs/results/frontier/frontier.png` from the sweep and the `comparison.json` beside it. `run` draws
all pictures of a run folder and copies them to the folder OUT: `radii.png` of a run of `cifar10-small-iaat-paper` is
`cifar10-small-radii.png` here. `extremes` draws the images of the smallest and the largest radii in a table:
`cifar10-extremes.png` is of `docs/results/cifar10/testbed-iaat.yaml` and `runs/iaat-seed0.radii.parquet` beside it.
`report` takes a picture of the page of some runs, from PIXELS below its top; it needs Chromium on the PATH.
`report.png` is the top of the page of all runs of
`iaat compare quickstart-natural quickstart-pgd-at quickstart --seeds 3 --out runs`, made in the folder of `runs`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from iaat.analysis.charts import draw_extremes
from iaat.analysis.style import SCREEN
from iaat.analysis.tables import radii_table
from iaat.cli.main import main as iaat
from iaat.config.load_recipe import load_recipe
from iaat.data import build_data
from iaat.errors import UserError
from iaat.experiments.comparison import Comparison
from iaat.experiments.comparison_results import read_comparison
from iaat.experiments.run_recipe import write_pictures
from iaat.experiments.sweep import read_cells
from iaat.radius.radii_table_file import RadiiTable
from iaat.report.run_figures import extreme_thumbnails
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter

WIDTH, HEIGHT = 1400, 1600
"""Of the picture of a page, in pixels."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def frontier(sweep: str, comparison: Path, out: Path) -> None:
    """Draw the trade-off of a finished comparison."""
    found = read_comparison(comparison)
    Comparison(read_cells([sweep]), found.rows, found.missing).draw(out)


def pictures_of_run(folder: Path, out: Path, overrides: list[str]) -> None:
    """Draw the pictures of a run folder and copy them."""
    run = RunFolder(folder)
    recipe = run.recipe(overrides)
    out.mkdir(parents=True, exist_ok=True)
    for picture in write_pictures(run, recipe, build_data(recipe.data, seed=recipe.seed), Reporter()):
        shutil.copy(picture, out / picture.name)


def extremes(recipe: str, radii: Path, out: Path, overrides: list[str]) -> None:
    """Draw the images of the smallest and of the largest radii in a table, which has no predictions."""
    train = build_data(load_recipe(recipe, [*overrides, "--data.stream", "true"]).data, seed=0).train
    table = RadiiTable.read(str(radii))
    table.check_labels(table.index, train.labels[table.index])
    index, label, radius = (each.numpy() for each in (table.index, table.label, table.radius))
    rows = radii_table(index, label, np.full(len(index), -1), radius, 0, train.classes)
    SCREEN.save(draw_extremes(*extreme_thumbnails(rows, train), style=SCREEN), out)


def report(out: Path, runs: list[str], top: int = 0) -> None:
    """Take a picture of the page of some runs, with `iaat report`'s own options among the runs."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        raise UserError(f"no browser: install one of {', '.join(BROWSERS)}")
    with TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        if code := iaat(["report", *runs, "-o", str(page)]):
            sys.exit(code)
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000")
        size, where = f"--window-size={WIDTH},{top + HEIGHT}", f"--user-data-dir={folder}/profile"
        whole = Path(folder) / "whole.png"
        subprocess.run([binary, *flags, size, where, f"--screenshot={whole}", page.as_uri()], check=True)
        Image.open(whole).convert("RGB").crop((0, top, WIDTH, top + HEIGHT)).save(out, optimize=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("frontier")
    one.add_argument("sweep")
    one.add_argument("comparison", type=Path)
    one.add_argument("out", type=Path)
    two = commands.add_parser("run")
    two.add_argument("run", type=Path)
    two.add_argument("out", type=Path)
    two.add_argument("overrides", nargs="*")
    four = commands.add_parser("extremes")
    four.add_argument("recipe")
    four.add_argument("radii", type=Path)
    four.add_argument("out", type=Path)
    four.add_argument("overrides", nargs=argparse.REMAINDER)
    three = commands.add_parser("report")
    three.add_argument("out", type=Path)
    three.add_argument("runs", nargs="+")
    three.add_argument("--top", type=int, default=0)
    three.add_argument("--data", nargs=1, default=[])
    given = parser.parse_args()
    try:
        if given.command == "frontier":
            frontier(given.sweep, given.comparison, given.out)
        elif given.command == "run":
            pictures_of_run(given.run, given.out, given.overrides)
        elif given.command == "extremes":
            extremes(given.recipe, given.radii, given.out, given.overrides)
        else:
            report(given.out, [*given.runs, *(f"--data.root={root}" for root in given.data)], given.top)
    except UserError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
