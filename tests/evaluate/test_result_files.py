"""Numbers of an evaluation as they are written and shown."""

import io
import json

import pandas as pd
import pytest
import torch
from rich.console import Console
from scipy.stats import binomtest

from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate import Outcome, results_table
from iaat.evaluate.evaluation import folder_name
from iaat.evaluate.result_files import (
    columns,
    evaluation_name,
    per_class,
    stages_table,
    summary,
    worst_case_name,
    write_evaluation,
)
from iaat.evaluate.robust import StageRecord
from iaat.runtime.passes import Passes
from iaat.statistics import wilson_interval
from iaat.units import Radius

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def outcome():
    """Eight samples: one wrong untouched, two broken by PGD, one by screening, four standing."""
    return Outcome(
        index=torch.tensor([5, 3, 8, 13, 0, 1, 2, 4]),
        label=torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        clean=torch.tensor([1, 1, 2, 0, 1, 2, 0, 1]),
        adversarial=torch.tensor([1, 2, 0, 1, 1, 2, 0, 1]),
        broken_by=["clean", "pgd-20", "pgd-20", "screening/apgd-t", "none", "none", "none", "none"],
        size=torch.tensor([0.0, 0.01, 0.02, 0.03, *[torch.nan] * 4]),
        stages=(
            StageRecord("clean", 8, 1, 0, Passes(8, 0), 0.5),
            StageRecord("pgd-20", 7, 2, 0, Passes(84, 82), 1.0),
            StageRecord("screening/apgd-ce", 5, 0, 0, Passes(40, 40), 1.0),
            StageRecord("screening/apgd-t", 5, 1, 0, Passes(40, 40), 1.0),
        ),
    )


def results(outcome, **facts):
    place = {"run": "quickstart", "seed": 7, "checkpoint": "best", "epoch": 12}
    return summary(outcome, EvaluateConfig(), CLASSES, {**place, **facts})


def shown(rows):
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(rows))
    return console.file.getvalue()


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (1, 1), (37, 80), (523, 1000), (9999, 10000)])
def test_interval_is_wilsons(right, n):
    expected = binomtest(right, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


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
    assert found["accuracy"] == {"clean": 7 / 8, "pgd-20": 5 / 8, "screening": 4 / 8, "worst": 4 / 8}
    assert found["attacks"] == ["pgd-20", "screening"]
    assert found["interval95"]["pgd-20"] == wilson_interval(5 / 8, 8)
    assert found["passes_per_sample"] == {"forward": 21.5, "backward": 20.25}
    assert found["seconds"] == 3.5
    assert [stage["broken"] for stage in found["stages"]] == [1, 2, 0, 1]
    assert (found["n"], found["attack"]) == (8, "quick PGD-20 8px linf")
    assert (found["run"], found["seed"], found["epoch"], found["train_seconds"]) == ("quickstart", 7, 12, 3.5)


def test_written_files_come_back(outcome, tmp_path):
    write_evaluation(tmp_path / "evaluation", outcome, results(outcome), CLASSES)
    read = json.loads((tmp_path / "evaluation" / "results.json").read_text())
    assert read == json.loads(json.dumps(results(outcome)))
    records = pd.read_parquet(tmp_path / "evaluation" / "records.parquet")
    assert records["index"].tolist() == outcome.index.tolist()
    assert records["label"].tolist() == ["cat", "dog", "owl", "cat", "dog", "owl", "cat", "dog"]
    assert records["clean_prediction"].tolist() == ["dog", "dog", "owl", "cat", "dog", "owl", "cat", "dog"]
    assert records["adversarial_prediction"].tolist() == ["dog", "owl", "cat", "dog", "dog", "owl", "cat", "dog"]
    assert records["broken_by"].tolist() == outcome.broken_by
    assert records["size"][:4].tolist() == pytest.approx([0, 0.01, 0.02, 0.03])
    assert records["size"][4:].isna().all()
    # The files agree with each other.
    assert (records["broken_by"] == "none").mean() == read["accuracy"]["worst"]
    assert (records["label"] == records["clean_prediction"]).mean() == read["accuracy"]["clean"]


def bounds(accuracy):
    low, high = wilson_interval(accuracy, 8)
    return f"[{100 * low:.1f},", f"{100 * high:.1f}]"


def test_results_table_shows_each_run_in_percent(outcome):
    text = shown([results(outcome), results(outcome, run="other", checkpoint="last", epoch=30)])
    lines = [line.split() for line in text.splitlines() if "quickstart" in line or "other" in line]
    assert [line[:4] for line in lines] == [["quickstart", "7", "best", "(12)"], ["other", "7", "last", "(30)"]]
    assert lines[0][4:] == [
        *("87.50", *bounds(7 / 8), "62.50", *bounds(5 / 8), "50.00", *bounds(1 / 2)),
        *("cat:", "33.3", "21.5F", "20.2B"),
    ]
    assert "quick PGD-20 8px linf; n = 8 test samples" in text
    assert "it is not AutoAttack" in " ".join(text.split())


def test_per_class_accuracy_and_the_worst_class(outcome):
    assert per_class(outcome, CLASSES) == [
        {"class": "cat", "n": 3, "clean": 2 / 3, "worst": 1 / 3},
        {"class": "dog", "n": 3, "clean": 1.0, "worst": 2 / 3},
        {"class": "owl", "n": 2, "clean": 1.0, "worst": 1 / 2},
    ]
    assert results(outcome)["worst_class"]["class"] == "cat"
    assert [row["class"] for row in per_class(outcome, (*CLASSES, "unseen"))] == list(CLASSES)


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


def test_the_worst_case_is_named_by_all_attacks_and_the_radius():
    row = {"attacks": ["pgd-20", "screening", "masking"], "evaluate": {"radius": "8px", "norm": "linf"}}
    assert worst_case_name(row) == "worst case over PGD-20, screening, masking; 8px linf"
    assert worst_case_name({**row, "evaluate": {"radius": "0.5", "norm": "l2"}}).endswith("; 0.5 l2")


@pytest.mark.parametrize(
    ("stages", "shown"),
    [
        (["pgd-20", "screening"], ["clean", "pgd-20", "screening"]),
        (["pgd-20", "screening", "masking"], ["clean", "pgd-20", "screening", "worst"]),
        (["pgd-20", "cw", "autoattack", "masking"], ["clean", "pgd-20", "cw", "autoattack", "worst"]),
        (["pgd-20", "pgd-50x5", "cw", "deepfool", "autoattack"], ["clean", "pgd-20", "worst"]),
    ],
)
def test_what_no_attack_broke_shows_in_the_worst_case_alone(stages, shown):
    assert columns([{"attacks": stages}]) == shown
