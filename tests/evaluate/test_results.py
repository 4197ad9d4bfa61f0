"""Numbers of an evaluation as they are written and shown."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from scipy.stats import binomtest

from helpers.results import made_up
from iaat.config.evaluate_config import EvaluateConfig
from iaat.errors import UserError
from iaat.evaluate import Outcome, results_table
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.naming import evaluation_name, worst_case_name
from iaat.evaluate.results import (
    ClassResult,
    EvaluationResult,
    ModelFacts,
    StageResult,
    TransferResult,
    read_results,
    shown_config,
    upgraded,
)
from iaat.evaluate.results_table import caption, columns, stages_table
from iaat.evaluate.sample_records import read_records
from iaat.evaluate.write_results import per_class, summary, write_evaluation
from iaat.experiments.comparison_results import read_comparison
from iaat.runtime.json_files import from_json
from iaat.runtime.passes import Passes
from iaat.statistics import wilson_interval
from iaat.units import Radius

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def outcome():
    """Eight samples: one misclassified clean, two under PGD, one under screening, four robust."""
    return Outcome(
        index=torch.tensor([5, 3, 8, 13, 0, 1, 2, 4]),
        label=torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        clean=torch.tensor([1, 1, 2, 0, 1, 2, 0, 1]),
        adversarial=torch.tensor([1, 2, 0, 1, 1, 2, 0, 1]),
        misclassified_by=["clean", "pgd-20", "pgd-20", "screening/apgd-t", "none", "none", "none", "none"],
        perturbation_norm=torch.tensor([0.0, 0.01, 0.02, 0.03, *[torch.nan] * 4]),
        stages=(
            StageResult("clean", 8, 1, Passes(8, 0), 0.5),
            StageResult("pgd-20", 7, 2, Passes(84, 82), 1.0),
            StageResult("screening/apgd-ce", 5, 0, Passes(40, 40), 1.0),
            StageResult("screening/apgd-t", 5, 1, Passes(40, 40), 1.0),
        ),
    )


def results(outcome, **facts):
    place = {"run": "quickstart", "seed": 7, "checkpoint": "best", "epoch": 12}
    return summary(outcome, EvaluateConfig(), CLASSES, ModelFacts(**{**place, **facts}), verdict="fine", findings=())


def shown(rows):
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(rows))
    return console.file.getvalue()


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (1, 1), (37, 80), (523, 1000), (9999, 10000)])
def test_interval_is_wilsons(correct, n):
    expected = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(correct / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (EvaluateConfig(), "quick PGD-20 8px linf"),
        (EvaluateConfig(suite="standard", steps=50, restarts=3, radius=Radius("4/255")), "standard PGD-50x3 4px linf"),
        (EvaluateConfig(norm="l2", radius=Radius("0.5")), "quick PGD-20 0.5 l2"),
        (EvaluateConfig(norm="l2", radius=Radius("128/255")), "quick PGD-20 0.502 l2"),
    ],
)
def test_evaluation_name(config, name):
    assert evaluation_name(config) == name


def test_folders_of_nearly_equal_radii_are_apart():
    near = [EvaluateConfig(norm="l2", radius=Radius(text)) for text in ("0.50001", "0.50002")]
    assert len({evaluation_name(config) for config in near}) == 1
    assert len({folder_name(config, "best") for config in near}) == 2


def test_summary(outcome):
    found = results(outcome, train_seconds=3.5)
    assert found.accuracy == {"clean": 7 / 8, "pgd-20": 5 / 8, "screening": 4 / 8, "worst": 4 / 8}
    assert found.attacks == ("pgd-20", "screening")
    assert found.interval95["pgd-20"] == wilson_interval(5 / 8, 8)
    assert found.passes_per_sample == Passes(21.5, 20.25)
    assert found.seconds == 3.5
    assert [stage.adversarial for stage in found.stages] == [1, 2, 0, 1]
    assert (found.n, found.attack) == (8, "quick PGD-20 8px linf")
    assert (found.run, found.seed, found.epoch, found.train_seconds) == ("quickstart", 7, 12, 3.5)


def test_results_are_written_last(outcome, tmp_path, monkeypatch):
    """An evaluation with results counts as finished."""

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(UserError, match="no space left"):
        write_evaluation(tmp_path, outcome, results(outcome), CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_written_files_come_back(outcome, tmp_path):
    write_evaluation(tmp_path / "evaluation", outcome, results(outcome), CLASSES)
    read = read_results(tmp_path / "evaluation" / "results.json")
    assert read == results(outcome)
    records = pd.read_parquet(tmp_path / "evaluation" / "records.parquet")
    assert records["index"].tolist() == outcome.index.tolist()
    assert records["label"].tolist() == ["cat", "dog", "owl", "cat", "dog", "owl", "cat", "dog"]
    assert records["clean_prediction"].tolist() == ["dog", "dog", "owl", "cat", "dog", "owl", "cat", "dog"]
    assert records["adversarial_prediction"].tolist() == ["dog", "owl", "cat", "dog", "dog", "owl", "cat", "dog"]
    assert records["label_id"].tolist() == outcome.label.tolist()
    assert records["clean_prediction_id"].tolist() == outcome.clean.tolist()
    assert records["adversarial_prediction_id"].tolist() == outcome.adversarial.tolist()
    assert records["misclassified_by"].tolist() == outcome.misclassified_by
    assert records["perturbation_norm"][:4].tolist() == pytest.approx([0, 0.01, 0.02, 0.03])
    assert records["perturbation_norm"][4:].isna().all()
    # The files agree with each other.
    assert (records["misclassified_by"] == "none").mean() == read.accuracy["worst"]
    assert (records["label"] == records["clean_prediction"]).mean() == read.accuracy["clean"]


def test_two_classes_of_one_name_stay_apart_in_records(outcome, tmp_path):
    names = ["crane", "dog", "crane"]
    unknown = replace(outcome, adversarial=torch.where(outcome.adversarial == 1, -1, outcome.adversarial))
    write_evaluation(tmp_path, unknown, results(outcome), names)
    file = tmp_path / "records.parquet"
    found = read_records(file, names)
    for part, own in (("label", unknown.label), ("clean", unknown.clean), ("adversarial", unknown.adversarial)):
        assert getattr(found, part).tolist() == own[unknown.index.argsort()].tolist()
    # Without numbers, as in older files, and with those of other classes, names decide.
    table = pd.read_parquet(file)
    table.drop(columns=[name for name in table if name.endswith("_id")]).to_parquet(file)
    by_name = read_records(file, ["dog", "crane"])
    assert set(by_name.label.tolist()) == {0, 1}
    table.to_parquet(file)
    assert read_records(file, ["dog", "crane"]).label.tolist() == by_name.label.tolist()


def bounds(accuracy):
    low, high = wilson_interval(accuracy, 8)
    return f"[{100 * low:.1f},", f"{100 * high:.1f}]"


def test_results_table_shows_each_run_in_percent(outcome):
    text = shown([results(outcome), results(outcome, run="other", checkpoint="last", epoch=30)])
    lines = [line.split() for line in text.splitlines() if "quickstart" in line or "other" in line]
    assert [line[:4] for line in lines] == [["quickstart", "7", "best", "(12)"], ["other", "7", "last", "(30)"]]
    assert lines[0][4:] == [
        *("87.50", *bounds(7 / 8), "62.50", *bounds(5 / 8), "50.00", *bounds(1 / 2)),
        *("33.3", "(cat)", "21.5F", "20.2B"),
    ]
    assert "quick PGD-20 8px linf; n = 8 test samples" in text
    assert "it is not AutoAttack" in " ".join(text.split())


def test_per_class_accuracy_and_the_worst_class(outcome):
    assert per_class(outcome, CLASSES) == (
        ClassResult("cat", 3, 2 / 3, 1 / 3),
        ClassResult("dog", 3, 1.0, 2 / 3),
        ClassResult("owl", 2, 1.0, 1 / 2),
    )
    assert results(outcome).worst_class.name == "cat"
    assert [row.name for row in per_class(outcome, (*CLASSES, "unseen"))] == list(CLASSES)


def test_stages_table_counts_down_to_the_worst_case(outcome):
    console = Console(file=io.StringIO(), width=200)
    console.print(stages_table(results(outcome)))
    lines = [line.split() for line in console.file.getvalue().splitlines() if "F " in line]
    assert [line[:4] for line in lines] == [
        ["clean", "8", "1", "87.50"],
        ["pgd-20", "7", "2", "62.50"],
        ["screening/apgd-ce", "5", "0", "62.50"],
        ["screening/apgd-t", "5", "1", "50.00"],
    ]
    # Errors on clean images are not adversarial.
    headings = [column.heading for column in stages_table(results(outcome)).columns]
    assert "misclassified" in headings
    assert "adversarial" not in headings


def test_the_worst_class_is_named_behind_its_accuracy_in_one_line():
    console = Console(file=io.StringIO(), width=80)
    console.print(results_table([made_up(worst_class=ClassResult("8", 50, 0.5, 0.0))]))
    assert "  0.0 (8)" in console.file.getvalue()


def test_the_worst_case_is_named_by_all_attacks_and_the_radius():
    row = made_up(dict.fromkeys(("clean", "pgd-20", "screening", "masking", "worst"), 0.5))
    assert worst_case_name(row) == "worst case over PGD-20, screening, masking; 8px linf"
    in_l2 = EvaluateConfig(radius=Radius("0.5"), norm="l2")
    assert worst_case_name(replace(row, evaluate=in_l2)).endswith("; 0.5 l2")


@pytest.mark.parametrize(
    ("stages", "shown"),
    [
        (["pgd-20", "screening"], ["clean", "pgd-20", "screening"]),
        (["pgd-20", "screening", "masking"], ["clean", "pgd-20", "screening", "worst"]),
        (["pgd-20", "cw", "autoattack", "masking"], ["clean", "pgd-20", "cw", "autoattack", "worst"]),
        (["pgd-20", "pgd-50x5", "cw", "deepfool", "autoattack"], ["clean", "pgd-20", "worst"]),
    ],
)
def test_what_sections_find_shows_in_the_worst_case_alone(stages, shown):
    assert columns([made_up(dict.fromkeys(("clean", *stages, "worst"), 0.5))]) == shown


def test_results_of_version_1_are_read():
    old = results_of_version_1()
    found = from_json(upgraded(old), EvaluationResult)
    assert found.stages == (StageResult("clean", 8, 1, Passes(8, 0), 0.5),)
    assert found.worst_class == found.per_class[0] == ClassResult("cat", 3, 0.9, 0.5)
    assert found.transfer == (TransferResult("other", "PGD-100", 0.5, 0.25),)
    assert (found.seed, found.evaluate, found.version) == (None, EvaluateConfig(n=8), 2)
    assert from_json(upgraded(json.loads(json.dumps(found.to_json()))), EvaluationResult) == found


def test_an_older_name_of_pgd_with_a_step_size_is_todays():
    """Tables have one column for it, also where a seed was evaluated before."""
    new = made_up(
        {"clean": 0.9, "pgd-20 step 1px": 0.5, "worst": 0.5}, evaluate=EvaluateConfig(step_size=Radius("1px"))
    )
    old = json.loads(json.dumps(new.to_json()).replace("pgd-20 step 1px", "pgd-20"))
    assert old["attacks"] == ["pgd-20"]
    assert from_json(upgraded(old), EvaluationResult) == new
    as_usual = made_up({"clean": 0.9, "pgd-20": 0.5, "worst": 0.5}).to_json()
    assert list(upgraded(as_usual)["attacks"]) == ["pgd-20"]


CAT = {"n": 3, "clean": 0.9, "worst": 0.5}


def results_of_version_1():
    accuracy = {"clean": 0.9, "worst": 0.9}
    worst = {"class": "cat", **CAT}
    passes = {"forward": 8.0, "backward": 0.0}
    return {
        **{"run": "net", "seed": None, "verdict": "fine", "suite": "quick", "attack": "quick", "n": 8, "classes": 3},
        **{"seconds": 0.5, "evaluate": shown_config(EvaluateConfig(n=8)), "attacks": [], "accuracy": accuracy},
        **{"interval95": {name: [0.5, 1.0] for name in accuracy}, "passes_per_sample": passes, "findings": []},
        "stages": [{"name": "clean", "met": 8, "broken": 1, "outside": 0, "passes": passes, "seconds": 0.5}],
        **{"per_class": [worst], "worst_class": worst},
        "transfer": [{"from": "other", "attack": "PGD-100", "accuracy": 0.5, "accuracy_of_source": 0.25}],
    }


def test_results_of_a_newer_version_are_refused(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({**results_of_version_1(), "version": 3}))
    with pytest.raises(UserError, match=r"results\.json: version 3 of results was written by a newer iaat"):
        read_results(tmp_path / "results.json")


@pytest.mark.parametrize("version", [{}, {"version": 2}])
def test_the_names_that_weights_had_are_read(version, tmp_path):
    new = {
        **results_of_version_1(),
        "stages": [],
        "worst_class": {**CAT, "name": "cat"},
        "per_class": [],
        "transfer": [],
    }
    for old, name in (("averaged", "ema"), ("trained", "raw"), ("ema", "ema")):
        (tmp_path / "results.json").write_text(json.dumps({**new, **version, "weights": old}))
        assert read_results(tmp_path / "results.json").weights == name


def test_a_comparison_by_the_names_that_weights_had_is_read(tmp_path):
    file = Path(__file__).parents[2] / "docs" / "results" / "frontier" / "comparison.json"
    old = json.loads(file.read_text(encoding="utf-8"))
    assert {row["weights"] for row in old["rows"]} == {"averaged"}
    old["cells"][0]["name"], old["rows"][0]["weights"] = "vpb (trained weights)", "trained"
    (tmp_path / "comparison.json").write_text(json.dumps(old))
    found = read_comparison(tmp_path / "comparison.json")
    assert found.cells[0].name == "vpb (raw weights)"
    assert [row.weights for row in found.rows] == ["raw", *["ema"] * (len(found.rows) - 1)]


@pytest.mark.parametrize("folder", ["frontier"])
def test_comparisons_of_version_1_are_read(folder):
    file = Path(__file__).parents[2] / "docs" / "results" / folder / "comparison.json"
    found, raw = read_comparison(file), json.loads(file.read_text(encoding="utf-8"))
    assert "version" not in raw
    assert [row.accuracy for row in found.rows] == [row["accuracy"] for row in raw["rows"]]
    assert [cell.accuracy["worst"].mean for cell in found.cells] == [
        cell["accuracy"]["worst"]["mean"] for cell in raw["cells"]
    ]
    assert any(cell.above_curve is not None for cell in found.cells)


def test_the_table_states_what_screening_misses_of_autoattack():
    accuracy = {"clean": 0.7, "screening": 0.4, "autoattack": 0.38, "worst": 0.38}
    stages = (
        StageResult("clean", 500, 150, Passes(500, 0), 1.0),
        StageResult("screening/apgd-ce", 350, 150, Passes(1, 1), 1.0),
        StageResult("autoattack/apgd-ce", 200, 2, Passes(1, 1), 1.0),
        StageResult("autoattack/apgd-t", 198, 8, Passes(1, 1), 1.0),
    )
    row = made_up(accuracy, stages=stages)
    text = "Of the samples that screening calls robust AutoAttack breaks"
    assert f"{text} 10 of 200." in caption([row])
    assert f"{text} 10 of 200, 10 of 200." in caption([row, made_up(), row])
    turned = made_up({"clean": 0.7, "autoattack": 0.4, "screening": 0.4, "worst": 0.4}, stages=stages)
    between = made_up({"clean": 0.7, "screening": 0.4, "cw": 0.4, "autoattack": 0.4, "worst": 0.4}, stages=stages)
    assert text not in caption([turned, between, made_up()])  # who missed what is not known there
