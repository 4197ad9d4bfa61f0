"""The pictures of README and docs are made anew from files, by the scripts of docs/pictures."""

import re
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import matplotlib.image
import pytest

from helpers.training import QUIET, tiny
from iaat.experiments.comparison import Comparison
from iaat.experiments.comparison_results import read_comparison
from iaat.experiments.run_recipe import run_recipe
from iaat.experiments.sweep import read_cells
from iaat.runs.run_folder import RunFolder

DOCS = Path(__file__).parents[2] / "docs"
FRONTIER = DOCS / "results" / "frontier"


def script(name):
    spec = spec_from_file_location(name, DOCS / "pictures" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make():
    return script("make")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("runs") / "iaat")
    run_recipe(tiny("iaat"), run, QUIET)
    return run


def test_the_frontier_is_drawn_from_what_lies_in_the_tree_and_names_the_worst_case(make, tmp_path):
    make.frontier(str(FRONTIER / "sweep.yaml"), FRONTIER / "comparison.json", tmp_path / "frontier.png")
    found = read_comparison(FRONTIER / "comparison.json")
    figure = Comparison(read_cells([str(FRONTIER / "sweep.yaml")]), found.rows, ()).draw(tmp_path / "again.png")
    assert figure.axes[0].get_ylabel() == "robust accuracy (%)"
    assert "robust: worst case over PGD-20, screening; 8px linf" in figure.axes[0].get_title("left")
    drawn, kept = (matplotlib.image.imread(file) for file in (tmp_path / "frontier.png", FRONTIER / "frontier.png"))
    assert drawn.shape == kept.shape


def test_pictures_of_a_run_are_drawn_again(make, run, tmp_path):
    make.pictures_of_run(run.path, tmp_path / "pictures", [])
    assert {"extremes.png", "radii.png"} <= {file.name for file in (tmp_path / "pictures").iterdir()}


def test_extremes_are_drawn_from_a_table_of_radii(make, run, tmp_path):
    make.extremes(str(run.recipe_file), run.path / "radii.parquet", tmp_path / "extremes.png", [])
    height, width, _ = matplotlib.image.imread(tmp_path / "extremes.png").shape
    assert width > height > 500


def test_the_page_is_photographed(make, run, tmp_path):
    if not any(map(shutil.which, make.BROWSERS)):
        pytest.skip("chromium is needed on the PATH")
    make.report(tmp_path / "report.png", [str(run.path)])
    height, width, _ = matplotlib.image.imread(tmp_path / "report.png").shape
    assert (width, height) == (1400, 1600)


def texts_of(svg):
    return re.findall(r">([^<]+)</text>", svg.read_text(encoding="utf-8"))


def test_figures_of_the_ideas_are_drawn_again(run, tmp_path):
    script("ideas").draw(run.path, tmp_path)
    drawn = sorted(file.name for file in tmp_path.iterdir())
    assert drawn == sorted(file.name for file in (DOCS / "pictures").glob("ideas-*"))
    for name in drawn:
        if name.endswith(".svg"):
            texts = (texts_of(folder / name) for folder in (tmp_path, DOCS / "pictures"))
            assert next(texts) == next(texts)
