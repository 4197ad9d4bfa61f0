"""Screening against the reference AutoAttack, in one process: accuracy, agreement per sample, seconds, passes.

    python benchmarks/screening.py RUN [RUN ...] --n 200 [--checkpoint best] [--data.root DIR]

Both evaluate the same samples of each run, each from the clean images on. The result is printed as a table and
written as JSON with the hardware, the versions and the command (`--out`).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from iaat.evaluate import attack_samples
from iaat.evaluate.sample_choice import test_sample
from iaat.evaluate.stages import stages_of
from iaat.experiments.targets import find_targets
from iaat.runtime.console_table import PlainTable
from iaat.runtime.progress import Reporter

ENSEMBLES = ("screening", "autoattack")


def main() -> None:
    """Run the comparison on every run named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run folders")
    parser.add_argument("--n", type=int, default=200, help="test samples")
    parser.add_argument("--checkpoint", default="best", choices=("best", "last"))
    parser.add_argument("--out", type=Path, help="JSON file of the result")
    options, overrides = parser.parse_known_args()
    reporter = Reporter()
    rows = [_compare(run, options, overrides, reporter) for run in options.runs]
    table = PlainTable(f"robust accuracy in %, n = {options.n}; {_machine()}")
    for name in ("run", "clean", *ENSEMBLES, "robust in one only", "screening s", "AutoAttack s", "ratio", "passes"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in rows:
        passes = " / ".join(f"{row[name]['forward']:.0f}F {row[name]['backward']:.0f}B" for name in ENSEMBLES)
        ratio = row["screening"]["seconds"] / row["autoattack"]["seconds"]
        accuracies = (f"{100 * value:.2f}" for value in (row["clean"], *(row[name]["accuracy"] for name in ENSEMBLES)))
        seconds = (f"{row[name]['seconds']:.1f}" for name in ENSEMBLES)
        table.add_row(row["run"], *accuracies, str(row["disagree"]), *seconds, f"1/{1 / ratio:.0f}", passes)
    reporter.result(table)
    if options.out:
        record = {"command": " ".join(sys.argv), "machine": _machine(), "rows": rows}
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _compare(name: str, options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> dict[str, Any]:
    ((target,), _) = find_targets([name], [], overrides, Path("evaluations"))
    data = target.data()
    config = replace(target.recipe.evaluate, n=options.n)
    (evaluated,) = target.models([options.checkpoint], data)
    index, row, robust = test_sample(data, config), {"run": Path(name).name}, {}
    for ensemble in ENSEMBLES:
        outcome = attack_samples(
            evaluated.model,
            data.test,
            index,
            stages_of((ensemble,), config, len(data.classes)),
            radius=config.radius,
            norm=config.norm,
            batch_size=config.batch_size,
            seed=config.seed,
            reporter=reporter,
        )
        robust[ensemble] = outcome.correct_after(ensemble)
        row["clean"] = outcome.accuracy("clean")
        row[ensemble] = {
            "accuracy": outcome.accuracy(ensemble),
            "seconds": sum(record.seconds for record in outcome.stages[1:]),
            "forward": outcome.passes.forward,
            "backward": outcome.passes.backward,
        }
    row["disagree"] = int((robust["screening"] != robust["autoattack"]).sum())
    return row


def _machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    main()
