"""Radii of other data are refused before samples are read or a model is built, by every command that trains."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import iaat.experiments.check_recipe
import iaat.train.train_recipe
from iaat.cli.main import main
from iaat.data import DataConfig, read_dataset_info
from iaat.errors import UserError
from iaat.radius import RadiiTable

DIGITS = read_dataset_info(DataConfig(name="digits"))


def table(path, index, label):
    columns = {"index": index, "label_id": label, "radius": np.zeros(len(index), dtype=np.float32)}
    pa.parquet.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture
def larger(tmp_path):
    """Radii of a data set of more samples than digits have for training, 1438."""
    return table(tmp_path / "radii.parquet", [0, 1438, 1439, 9000, 9001], [0] * 5)


@pytest.mark.parametrize(
    "words",
    [
        ["check", "quickstart", "--method.start_from"],
        ["train", "quickstart", "--out", "{out}", "--method.start_from"],
        ["train", "quickstart-pgd-at", "--out", "{out}", "--method.radii"],
        ["compare", "quickstart", "--out", "{out}", "--method.start_from"],
    ],
    ids=" ".join,
)
def test_no_sample_is_read_and_no_model_built_for_radii_of_other_data(words, larger, tmp_path, monkeypatch, capsys):
    def unexpected(*_, **__):
        raise AssertionError

    monkeypatch.setattr(iaat.train.train_recipe, "build_data", unexpected)
    monkeypatch.setattr(iaat.train.train_recipe, "Trainer", unexpected)
    monkeypatch.setattr(iaat.experiments.check_recipe, "untrained_model", unexpected)
    assert main([*(word.format(out=tmp_path / "out") for word in words), larger]) == 2
    message = capsys.readouterr().err
    assert f"{words[-1][2:]} {larger}: these are radii of other data" in message
    assert "5 samples up to index 9001, of which digits with its 1,438 training samples lacks 4" in message
    assert "(1438, 1439, 9000, ...): give the radii of a run on this data, or leave method." in message


def test_a_sweep_is_checked_too(larger, tmp_path, capsys):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"cells: {{a: {{recipe: quickstart, set: {{method.start_from: {larger}}}}}}}")
    assert main(["check", str(sweep)]) == 2
    assert "these are radii of other data" in capsys.readouterr().err


def test_classes_are_compared_too(tmp_path, capsys):
    index, label = [0, 5, 9], DIGITS.labels[[0, 5, 9]].tolist()
    words = ["check", "quickstart", "--method.start_from"]
    assert main([*words, table(tmp_path / "own.parquet", index, label)]) == 0
    other = table(tmp_path / "other.parquet", index, [label[0], 9 - label[1], label[2]])
    capsys.readouterr()
    assert main([*words, other]) == 2
    expected = f"1 of 3 samples have another class in digits, such as sample 5 (class {9 - label[1]} in the file"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("words", [["quickstart", "--method.start_from"], ["quickstart-pgd-at", "--method.radii"]])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_radii_of_another_norm_are_refused(words, norm, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    file, other = table(run / "radii.parquet", [0], [int(DIGITS.labels[0])]), "l2" if norm == "linf" else "linf"
    in_norm = ["--norm", norm, "--radius", "8px" if norm == "linf" else "128/255"]
    (run / "recipe.yaml").write_text(f"method: {{name: iaat, norm: {other}}}")
    assert main(["check", *words, file, *in_norm]) == 0  # a recipe that lies beside it may be any
    (run / "run.json").write_text("{}")
    (run / "radii").mkdir()
    for source in (file, str(run), shutil.copy(file, run / "radii/0003.parquet")):
        assert main(["check", *words, str(source), *in_norm]) == 2
        assert f"these are radii in '{other}', and method.norm is {norm}" in capsys.readouterr().err
    (run / "recipe.yaml").write_text(f"method: {{name: iaat, norm: {norm}}}")
    assert main(["check", *words, str(run), *in_norm]) == 0
    # What the file itself says comes first: it may lie anywhere.
    pa.parquet.write_table(pa.parquet.read_table(file).replace_schema_metadata({"norm": other}), file)
    assert main(["check", *words, file, *in_norm]) == 2
    capsys.readouterr()
    with pytest.raises(UserError, match=f"these are radii in '{other}', and method.norm is {norm}"):
        RadiiTable.read(file).check_norm("method.radii", norm)
