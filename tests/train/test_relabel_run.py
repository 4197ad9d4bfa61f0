"""Runs on corrected labels: what is trained on, what resumes, and what the report and Python say."""

import pytest
import torch

import iaat
from helpers.training import QUIET, tiny
from iaat.data import build_data
from iaat.data.data_config import DataConfig
from iaat.errors import UserError
from iaat.evaluate.training_predictions import last_model
from iaat.runs.run_folder import RunFolder
from iaat.train import train


def table(folder, *rows, name="relabel.csv"):
    file = folder / name
    file.write_text("\n".join(["index,label,new_label,decision", *rows]) + "\n")
    return str(file)


def row(labels, position, decision="relabel"):
    return f"{position},{labels[position]},{(labels[position] + 1) % 10},{decision}"


@pytest.fixture
def plain():
    return build_data(tiny().data, seed=0)


def test_a_changed_table_does_not_resume_and_a_moved_one_does(tmp_path, plain):
    labels, (first, second) = plain.train.labels, plain.train_index[:2].tolist()
    run = RunFolder(tmp_path / "run")
    file = table(tmp_path, row(labels, first))
    more = ("--train.epochs", "1")
    data = train(tiny("iaat", *more, "--data.relabel", file), run, QUIET)
    assert int(data.train.labels[first]) == (int(labels[first]) + 1) % 10
    moved = table(tmp_path, row(labels, first), row(labels, second, "keep"), name="other.csv")
    train(tiny("iaat", *more, "--data.relabel", moved), run, QUIET, resume=True)
    changed = table(tmp_path, row(labels, first), row(labels, second))
    for settings in (["--data.relabel", changed], []):
        with pytest.raises(UserError, match=r"other labels, .* corrected labels \(--data\.relabel\)"):
            train(tiny("iaat", *more, *settings), run, QUIET, resume=True)


def test_training_sees_the_corrected_label(tmp_path, plain):
    """A network that is trained on one wrong label alone gets it by heart."""
    index = plain.train_index
    rows = [f"{at},{plain.train.labels[at]},3,relabel" for at in index.tolist() if plain.train.labels[at] != 3]
    keep = next(at for at in index.tolist() if plain.train.labels[at] == 3)
    # One sample of each class stays, because a class needs one.
    stay = {int(plain.train.labels[at]): at for at in reversed(index.tolist())}
    rows = [each for each in rows if int(each.partition(",")[0]) not in stay.values()]
    recipe = tiny("natural", "--train.epochs", "2", "--data.relabel", table(tmp_path, *rows))
    run = RunFolder(tmp_path / "run")
    data = train(recipe, run, QUIET)
    (batch,) = data.train.batches([index])
    assert int((batch.y == 3).sum()) == len(index) - 9
    assert keep in index
    predicted = last_model(run, run.recipe(), data)(batch.x).argmax(dim=1)
    assert float((predicted == 3).float().mean()) > 0.9


def test_the_count_is_logged_once(tmp_path, plain):
    labels, first = plain.train.labels, int(plain.train_index[0])
    said = []
    reporter = QUIET.__class__(quiet=True)
    reporter.say = said.append
    run = RunFolder(tmp_path / "run")
    recipe = tiny("iaat", "--train.epochs", "1", "--data.relabel", table(tmp_path, row(labels, first)))
    train(recipe, run, reporter)
    found = [line for line in said if "data.relabel=" in line]
    assert len(found) == 1
    assert "1 of 1 rows changes a label (training 1)" in found[0]


def test_fit_takes_a_table(tmp_path):
    digits = build_data(DataConfig(limit=100), seed=0)
    (batch,) = digits.train.batches([digits.train_index])
    x, y = batch.x, batch.y
    other = (int(y[5]) + 1) % 10
    file = table(tmp_path, f"5,{int(y[5])},{other},relabel")
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    run = iaat.fit(network, (x, y), epochs=1, quiet=True, relabel=file, out=tmp_path / "run")
    assert run.recipe.data.relabel == file
    with pytest.raises(UserError, match=r"data\.relabel=.*row 2: label is"):
        iaat.fit(network, (x, y), epochs=1, quiet=True, relabel=table(tmp_path, f"5,{other},{int(y[5])},relabel"))
