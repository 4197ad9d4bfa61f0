"""What two suites of one model share is run once."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.killing import timeless
from helpers.planted import cnn, digits, trained
from helpers.training import Listening
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataConfig, build_data
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.results import ModelFacts
from iaat.models.digest import weights_digest
from iaat.runtime.passes import count_passes
from iaat.units import Radius

FIRST = EvaluateConfig(suite="pgd+screening", steps=3, radius=Radius("40px"), n=40, batch_size=16)


@pytest.fixture(scope="module")
def data():
    return build_data(DataConfig(), seed=0)


@pytest.fixture(scope="module")
def network():
    (x, y), _ = digits()
    torch.manual_seed(0)
    return trained(cnn(), x, y, radius=40 / 255, epochs=3)


def evaluate(network, data, folder, config):
    """Results, the forwards that they cost now, and what was said."""
    model = EvaluatedModel("net", network, weights_digest(network), folder, ModelFacts(run="net", seed=0))
    reporter = Listening()
    with count_passes(network) as passes:
        results = run_evaluation(model, data, config, reporter)
    return results, passes.forward, reporter.said


def content(results):
    """What a file of the results holds, without wall times."""
    return timeless(json.loads(json.dumps(results.to_json())))


@pytest.mark.parametrize(
    ("suite", "shared"),
    [
        ("pgd+pgd-4", ["clean", "pgd-3"]),
        ("pgd+screening+mi-fgsm", ["clean", "pgd-3", "screening/apgd-ce", "screening/apgd-t"]),
        ("mi-fgsm+pgd", ["clean"]),
        ("pgd+screening+radii", ["clean", "pgd-3", "screening/apgd-ce", "screening/apgd-t"]),
    ],
)
def test_a_second_suite_takes_what_both_begin_with(network, data, tmp_path, suite, shared):
    config = replace(FIRST, suite=suite)
    alone, whole, said = evaluate(network, data, tmp_path / "alone", config)
    assert not any("taken from" in line for line in said)
    evaluate(network, data, tmp_path / "both", FIRST)
    again, rest, said = evaluate(network, data, tmp_path / "both", config)
    assert content(again) == content(alone)
    saved = sum(stage.passes.forward for stage in alone.stages if stage.name in shared)
    # Clean accuracy on the samples that are not attacked is taken, too, and is not among the stages.
    assert rest == pytest.approx(whole - saved - (len(data.test_index) - 40))
    assert any(line.startswith("taken from") and line.endswith(", ".join(sorted(shared))) for line in said)


@pytest.mark.parametrize(
    "change", [{"steps": 4}, {"radius": Radius("41px")}, {"seed": 1}, {"n": 39}, {"batch_size": 8}, {"norm": "l2"}]
)
def test_nothing_is_taken_where_anything_else_differs(network, data, tmp_path, change):
    evaluate(network, data, tmp_path, FIRST)
    config = replace(FIRST, suite="pgd", **change)
    _, _, said = evaluate(network, data, tmp_path, config)
    assert not any("taken from" in line for line in said)


def test_nothing_is_taken_from_another_model_or_a_damaged_journal(network, data, tmp_path, recwarn):
    evaluate(network, data, tmp_path, FIRST)
    journal = tmp_path / folder_name(FIRST, None) / "journal.jsonl"
    lines = journal.read_text().splitlines()
    units = [json.loads(line)["unit"] for line in lines]
    damaged = units.index("pgd-3#1")
    lines[damaged] = lines[damaged].replace('"prediction": [', '"prediction": [9, ', 1)
    journal.write_text("\n".join(lines) + "\n")
    config = replace(FIRST, suite="pgd")
    alone, *_ = evaluate(network, data, tmp_path / "alone", config)
    again, cost, _ = evaluate(network, data, tmp_path, config)
    assert content(again) == content(alone)
    assert cost > 0
    (x, y), _ = digits()
    other = trained(cnn(), x, y, epochs=1, seed=1)
    _, _, said = evaluate(other, data, tmp_path, replace(FIRST, suite="pgd+pgd-2"))
    assert not any("taken from" in line for line in said)


def test_pgd_with_a_step_size_is_not_taken_for_another(network, data, tmp_path):
    """`pgd` has the recipe's step size, `pgd-3` the default: two attacks, also within one suite."""
    config = replace(FIRST, suite="pgd-3", step_size=Radius("1px"))
    evaluate(network, data, tmp_path, config)
    found, _, said = evaluate(network, data, tmp_path, replace(config, suite="pgd+pgd-3"))
    assert found.attacks == ("pgd-3 step 1px", "pgd-3")
    assert [line.rpartition(": ")[2] for line in said if line.startswith("taken from")] == ["clean"]
