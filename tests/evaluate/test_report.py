"""Numbers of an evaluation as they are written and shown."""

import io
import json

import pandas as pd
import pytest
import torch
from rich.console import Console
from scipy.stats import binomtest

from iaat.evaluate import EvaluateConfig, Outcome, interval, results_table
from iaat.evaluate.report import attack_name, summary, write_evaluation
from iaat.passes import Passes
from iaat.units import Radius

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def outcome():
    """Eight samples: one wrong untouched, two broken by cross-entropy, one by the margin, four standing."""
    return Outcome(
        index=torch.tensor([5, 3, 8, 13, 0, 1, 2, 4]),
        label=torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]),
        clean=torch.tensor([1, 1, 2, 0, 1, 2, 0, 1]),
        adversarial=torch.tensor([1, 2, 0, 1, 1, 2, 0, 1]),
        broken_by=["clean", "ce", "ce", "margin", "none", "none", "none", "none"],
        size=torch.tensor([0.0, 0.01, 0.02, 0.03, *[torch.nan] * 4]),
        attacks=("ce", "margin"),
        passes=Passes(21.5, 20.25),
    )


def results(outcome, **facts):
    place = {"run": "quickstart", "seed": 7, "checkpoint": "best", "epoch": 12}
    return summary(outcome, EvaluateConfig(), {**place, **facts})


def shown(rows):
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(rows))
    return console.file.getvalue()


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (1, 1), (37, 80), (523, 1000), (9999, 10000)])
def test_interval_is_wilsons(right, n):
    expected = binomtest(right, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert interval(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (EvaluateConfig(), "PGD-20 8px linf"),
        (EvaluateConfig(steps=50, restarts=3, radius=Radius("4/255")), "PGD-50x3 4px linf"),
        (EvaluateConfig(norm="l2", radius=Radius("0.5")), "PGD-20 0.5 l2"),
        (EvaluateConfig(norm="l2", radius=Radius("128/255")), "PGD-20 0.5019607843137255 l2"),
    ],
)
def test_attack_name(config, name):
    assert attack_name(config) == name


def test_summary(outcome):
    found = results(outcome, train_seconds=3.5)
    assert found["accuracy"] == {"clean": 7 / 8, "after_ce": 5 / 8, "after_margin": 4 / 8}
    assert found["interval95"]["after_ce"] == interval(5 / 8, 8)
    assert found["passes_per_sample"] == {"forward": 21.5, "backward": 20.25}
    assert (found["n"], found["attack"]) == (8, "PGD-20 8px linf")
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
    assert (records["broken_by"] == "none").mean() == read["accuracy"]["after_margin"]
    assert (records["label"] == records["clean_prediction"]).mean() == read["accuracy"]["clean"]


def test_results_table_shows_each_run_in_percent(outcome):
    text = shown([results(outcome), results(outcome, run="other", checkpoint="last", epoch=30)])
    low, high = interval(5 / 8, 8)
    lines = [line.split() for line in text.splitlines() if "quickstart" in line or "other" in line]
    assert [line[:4] for line in lines] == [["quickstart", "7", "best", "(12)"], ["other", "7", "last", "(30)"]]
    assert lines[0][4:] == [
        *("87.50", "±", f"{50 * (interval(7 / 8, 8)[1] - interval(7 / 8, 8)[0]):.2f}"),
        *("62.50", "±", f"{50 * (high - low):.2f}"),
        *("50.00", "±", f"{50 * (interval(1 / 2, 8)[1] - interval(1 / 2, 8)[0]):.2f}"),
        *("21.5F", "20.2B"),
    ]
    assert "PGD-20 8px linf; n = 8 test samples" in text
