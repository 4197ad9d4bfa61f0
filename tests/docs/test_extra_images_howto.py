"""docs/howto/extra-images.md works as written."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from iaat.config.load_recipe import load_recipe
from iaat.data import DataConfig
from iaat.evaluate.training_predictions import training_predictions
from iaat.report.collect import collect_content
from iaat.report.run_figures import write_radii
from iaat.report.scope import Scope
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import train

HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "extra-images.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Words after `iaat train` of the commands shown."""
    return [line.split() for line in re.findall(r"^iaat train (.*)$", HOWTO, flags=re.MULTILINE)]


def test_the_example_makes_a_file_and_trains_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", HOWTO, flags=re.DOTALL)
    exec(compile(code, "extra-images.md", "exec"), {})
    name, *words = commands()[-1]
    words += ["--train.epochs", "2", "--model.width", "4", "--method.steps", "1", "--train.validation_n", "20"]
    recipe, run, quiet = load_recipe(name, words), RunFolder(tmp_path / "run"), Reporter(quiet=True)
    data = train(recipe, run, quiet)
    rows = write_radii(run, data.train, training_predictions(run, recipe, data, quiet))[0].to_pylist()
    made = [row for row in rows if row["path"]]
    assert [row["path"] for row in made] == [f"pairs.npz#{position}" for position in range(500)]
    assert [row["label_id"] for row in made] == [position // 50 for position in range(500)]
    assert [row["index"] for row in made] == list(range(1438, 1938))
    assert sum(row["prediction"] == row["label"] for row in made) > 250
    assert len(rows) == len(data.train_index) + 500
    scope = Scope(images=5, details=0)
    assert collect_content([run], [], quiet, scope, recipes=[recipe]).gallery.extra_from == 1438


def test_commands_and_keys_shown_exist() -> None:
    for name, *words in commands():
        load_recipe(name, words)
    known = {field.name for field in fields(DataConfig)}
    assert set(re.findall(r"(?:`|--)data\.([a-z_]+)", HOWTO)) <= known
