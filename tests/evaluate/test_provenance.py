"""results.json backs a number by itself: versions, date, digests, the radius as given, clean accuracy of everything."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import iaat
from helpers.damaged import EVERY, FIRST
from helpers.planted import cnn, digits
from iaat import UserError
from iaat.cli.main import main
from iaat.config.evaluate_config import EvaluateConfig
from iaat.corruptions import STANDARD
from iaat.data import DataConfig, InMemorySource, build_data
from iaat.evaluate.evaluate_given import as_test_set, evaluate_model
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.results import ModelFacts, plain_config, shown_config
from iaat.evaluate.sample_choice import test_sample as sample_of
from iaat.evaluate.sections import Extras
from iaat.models.digest import weights_digest
from iaat.runtime.json_files import from_json
from iaat.runtime.progress import Reporter
from iaat.statistics import wilson_interval
from iaat.units import Radius


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return cnn().eval()


def evaluated(network, folder, **more):
    _, (x, y) = digits()
    return evaluate_model(network, x, y, classes=10, suite="pgd-1", radius="8px", n=30, folder=folder, **more)


def journal(folder):
    (file,) = Path(folder).rglob("journal.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_versions_and_date_are_written_and_the_reference_attacks_version_decides(network, tmp_path):
    found = evaluated(network, tmp_path)
    assert found.versions.items() >= {
        "iaat": iaat.__version__, "torch": torch.__version__, "pyautoattack": version("pyautoattack")
    }.items()  # fmt: skip
    assert timedelta() <= datetime.now(UTC) - datetime.fromisoformat(found.date) < timedelta(hours=1)
    assert evaluated(network, tmp_path).date == found.date
    assert journal(tmp_path)[0]["value"]["pyautoattack"] == version("pyautoattack")


def test_digests_differ_for_other_weights_and_other_pixels(network, tmp_path):
    first = evaluated(network, tmp_path / "a").digests
    _, (x, y) = digits()
    other = x.clone()
    other[:, 0, 0, 0] = 1 - other[:, 0, 0, 0]
    changed = evaluate_model(network, other, y, classes=10, suite="pgd-1", n=30).digests
    assert (changed.model, changed.test_set) == (first.model, first.test_set)
    assert changed.inputs != first.inputs
    everything = evaluate_model(network, x, y, classes=10, suite="pgd-1").digests
    assert everything.inputs == sha256(x.numpy().tobytes()).hexdigest()
    torch.manual_seed(4)
    assert evaluate_model(cnn().eval(), x, y, classes=10, suite="pgd-1", n=30).digests.model != first.model


def test_clean_accuracy_of_all_samples_is_shown_beside_that_of_the_attacked(network, tmp_path):
    _, (x, y) = digits()
    with torch.no_grad():
        correct = float((network(x).argmax(1) == y).double().mean())
    found = evaluated(network, tmp_path)
    assert found.n == 30
    assert found.clean_all.n == len(y)
    assert found.clean_all.accuracy == pytest.approx(correct)
    assert found.clean_all.interval95 == (wilson_interval(correct, len(y)))
    whole = evaluate_model(network, x, y, classes=10, suite="pgd-1")
    assert whole.clean_all.accuracy == whole.accuracy["clean"] == pytest.approx(correct)
    units = [line["unit"] for line in journal(tmp_path)]
    assert "correct-of-the-rest" in units


def damaged_digits_data():
    """Test images of which 16 of 397 cannot be read, some of them among the attacked ones."""
    config = DataConfig(name="helpers.damaged:make", stream=True, skip_damaged=200, workers=0)
    return build_data(config, seed=0)


def evaluated_in_part(network, data, folder, suite="pgd-1", extras=None):
    model = EvaluatedModel("net", network, weights_digest(network), folder, ModelFacts(run="net"))
    config = EvaluateConfig(suite=suite, radius=Radius("8px"), n=100)
    return run_evaluation(model, data, config, Reporter(quiet=True), extras)


def test_clean_accuracy_of_all_samples_is_without_those_that_cannot_be_read(network, tmp_path):
    data = damaged_digits_data()
    found = evaluated_in_part(network, data, tmp_path)
    readable = [row for row in range(397) if row % EVERY != FIRST]
    assert found.n < 100  # some of the attacked ones, too
    assert found.clean_all.n == len(readable) == 381
    (batch,) = data.test.batches([torch.tensor(readable)])
    with torch.no_grad():
        correct = float((network(batch.x).argmax(1) == batch.y).double().mean())
    assert found.clean_all.accuracy == pytest.approx(correct)
    assert evaluated_in_part(network, damaged_digits_data(), tmp_path) == found


def test_a_baseline_is_taken_where_test_images_cannot_be_read(network, tmp_path, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", ("fog",))
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.STANDARD", ("fog",))
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.mean_corruption_error", lambda _errors, _base: 0.75)
    suite = "pgd-1+corruptions"
    baseline = evaluated_in_part(network, damaged_digits_data(), tmp_path / "base", suite)
    found = evaluated_in_part(network, damaged_digits_data(), tmp_path / "own", suite, Extras(baseline=baseline))
    assert found.corruptions.mce == 0.75


def test_all_that_is_clean_is_a_column_where_fewer_were_attacked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(cnn().state_dict(), "net.pth")
    words = ["evaluate", "helpers.planted:cnn", "--model.weights", "net.pth", "--data.name", "digits", "--quiet"]
    assert main([*words, "--suite", "pgd-1", "--samples", "30"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "clean, all: on all 359 test samples, unattacked." in text
    assert main([*words, "--suite", "pgd-1"]) == 0
    assert "clean, all" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("norm", "given", "written"),
    [
        ("l2", "0.5", "0.5"), ("l2", "128/255", "128/255"), ("l2", "127.5px", "0.5"),
        ("linf", "8px", "8px"), ("linf", "8/255", "8/255"), ("linf", "0.03", "0.03"),
    ],
)  # fmt: skip
def test_the_radius_is_written_as_it_was_given(norm, given, written):
    config = EvaluateConfig(norm=norm, radius=Radius(given))
    assert shown_config(config)["radius"] == written
    assert from_json(json.loads(json.dumps(shown_config(config))), EvaluateConfig) == config
    assert plain_config(config)["radius"] == str(Radius(given))
    assert EvaluateConfig(norm=norm, radius=Radius("0.4")) != config


# The first n in published order


def test_the_first_samples_in_published_order(network):
    data = build_data(DataConfig(name="digits"), seed=0)
    config = EvaluateConfig(n=25, order="published")
    assert sample_of(data, config).tolist() == list(range(25))
    assert sample_of(data, EvaluateConfig(n=25)).tolist() != list(range(25))
    assert folder_name(config, "best") != folder_name(EvaluateConfig(n=25), "best")
    assert "first25" in folder_name(config, "best")


def test_published_order_is_refused_where_there_is_none():
    _, (x, y) = digits()
    order = y.argsort(stable=True)
    names = [str(number) for number in range(10)]
    by_class = as_test_set(InMemorySource(x[order], y[order], names, complete=False))
    with pytest.raises(UserError, match=r"sorted by class, as image folders are"):
        sample_of(by_class, EvaluateConfig(n=25, order="published"))
    limited = build_data(DataConfig(name="digits", test_limit=100), seed=0)
    with pytest.raises(UserError, match=r"data\.test_limit leaves test samples out"):
        sample_of(limited, EvaluateConfig(n=25, order="published"))


def test_a_baseline_may_be_evaluated_in_the_same_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.corruption_accuracy.CORRUPTIONS", STANDARD)
    fast = ["--data.limit", "200", "--model.width", "4", "--train.validation_n", "10", "--train.validation_steps", "1"]
    fast += ["--evaluate.n", "20", "--evaluate.suite", "pgd-1", "--quiet"]
    for name, epochs in (("base", "1"), ("other", "2")):
        words = ["--train.epochs", epochs, "--out", str(tmp_path / name)]
        assert main(["train", "quickstart-natural", *fast, *words]) == 0
    words = ["--samples", "20", "--checkpoint", "last", "--quiet", "--suite", "pgd-1+corruptions"]
    capsys.readouterr()
    other, base = str(tmp_path / "other"), str(tmp_path / "base")
    assert main(["evaluate", other, base, *words, "--baseline", base]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "mCE 100.0 % of base" in text
    assert text.count("% of base") == 2
    assert text.index("other seed 0 last") < text.index("base seed 0 last")
