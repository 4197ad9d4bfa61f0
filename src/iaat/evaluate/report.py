"""Results of an evaluation: intervals, the files in the run folder, the table people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.table import Table

from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.robust import Outcome
from iaat.files import encodable, replacing, write_json
from iaat.units import Radius


def interval(accuracy: float, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share measured on n independent samples (Wilson 1927)."""
    z = 1.959963984540054
    centre = accuracy + z * z / (2 * n)
    half = z * math.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (centre - half) / scale, (centre + half) / scale


def attack_name(config: EvaluateConfig) -> str:
    """Short name of the attack, such as `PGD-20x2 8px linf`."""
    restarts = f"x{config.restarts}" if config.restarts > 1 else ""
    size = str(config.radius) if config.norm == "linf" else repr(float(config.radius))
    step = "" if config.step_size is None else f" step {config.step_size}"
    return f"PGD-{config.steps}{restarts} {size} {config.norm}{step}"


def summary(outcome: Outcome, config: EvaluateConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """The results as plain values: accuracies with their intervals, the attack, the cost, and `facts` of the caller."""
    n = len(outcome.broken_by)
    accuracies = {"clean": outcome.accuracy("clean")}
    accuracies |= {f"after_{loss}": outcome.accuracy(loss) for loss in outcome.attacks}
    return {
        **facts,
        "n": n,
        "attack": attack_name(config),
        "evaluate": {key: str(value) if isinstance(value, Radius) else value for key, value in asdict(config).items()},
        "accuracy": accuracies,
        "interval95": {name: interval(value, n) for name, value in accuracies.items()},
        "passes_per_sample": {"forward": outcome.passes.forward, "backward": outcome.passes.backward},
    }


def write_evaluation(folder: Path, outcome: Outcome, results: dict[str, Any], classes: Sequence[str]) -> None:
    """Write `results.json` and `records.parquet`, one row a sample."""
    write_json(folder / "results.json", results)
    classes = [encodable(name) for name in classes]
    columns = {
        "index": pa.array(outcome.index.numpy()),
        "label": pa.array([classes[number] for number in outcome.label.tolist()]),
        "clean_prediction": pa.array([classes[number] for number in outcome.clean.tolist()]),
        "adversarial_prediction": pa.array([classes[number] for number in outcome.adversarial.tolist()]),
        "broken_by": pa.array(outcome.broken_by),
        "size": pa.array(outcome.size.numpy()),
    }
    with replacing(folder / "records.parquet") as temporary:
        pq.write_table(pa.table(columns), temporary)


ATTACK_NOTE = "PGD: on cross-entropy. worst: also on the margin loss, worst case per sample. checkpoint: (epoch)."


def plain_table(title: str, caption: str | None = None) -> Table:
    """An empty table in the one style of the command line."""
    return Table(
        title=title, caption=caption, title_justify="left", caption_justify="left", title_style="", box=box.SIMPLE_HEAD
    )


def results_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One line an evaluation, accuracies in percent with half the width of their 95 % interval."""
    attack = ", ".join(sorted({row["attack"] for row in rows}))
    counts = ", ".join(sorted({str(row["n"]) for row in rows}))
    table = plain_table(f"accuracy in % with 95 % intervals; {attack}; n = {counts} test samples", ATTACK_NOTE)
    for name in ("run", "seed", "checkpoint"):
        table.add_column(name, no_wrap=True)
    for name in ("clean", "PGD", "worst", "passes/sample"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        accuracies = [_percent(row, key) for key in ("clean", "after_ce", "after_margin")]
        passes = row["passes_per_sample"]
        cost = f"{passes['forward']:.1f}F {passes['backward']:.1f}B"
        table.add_row(row["run"], str(row["seed"]), f"{row['checkpoint']} ({row['epoch']})", *accuracies, cost)
    return table


def _percent(row: dict[str, Any], key: str) -> str:
    low, high = row["interval95"][key]
    return f"{100 * row['accuracy'][key]:.2f} ± {50 * (high - low):.2f}"
