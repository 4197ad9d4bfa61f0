"""Results of an evaluation: intervals, the files in the run folder, the table people read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import SECTIONS, plan_of
from iaat.errors import UserError
from iaat.evaluate.attackers import pgd_name
from iaat.evaluate.autoattack import STANDARD_CLASSES
from iaat.evaluate.robust import CLEAN, WORST, Outcome
from iaat.runtime.console_table import Cell, PlainTable, plain_table
from iaat.runtime.files import encodable, replacing, write_json
from iaat.statistics import wilson_interval
from iaat.units import Radius, format_length


def evaluation_name(config: EvaluateConfig, *, exact: bool = False) -> str:
    """Short name of the evaluation, such as `quick PGD-20x2 8px linf`; lengths of few digits unless `exact`."""
    lengths = {key: value for key, value in vars(config).items() if isinstance(value, Radius)}
    if exact:
        size = str(config.radius) if config.norm == "linf" else repr(float(config.radius))
        texts = {**lengths, "radius": size}
    else:
        texts = {key: format_length(value, config.norm) for key, value in lengths.items()}
    pgd = f" {shown_name(pgd_name(config))}" if "pgd" in plan_of(config.suite).attacks else ""
    step = f" step {texts['step_size']}" if "step_size" in texts else ""
    seed = f" seed {config.seed}" if config.seed else ""
    return f"{config.suite}{pgd} {texts['radius']} {config.norm}{step}{seed}"


_SHOWN = {"autoattack": "AutoAttack", "mi-fgsm": "MI-FGSM", "deepfool": "DeepFool", "cw": "C&W", WORST: "worst case"}


def shown_name(attack: str) -> str:
    """An attack's word as people read it: `PGD-20`, `AutoAttack`; screening stays what it is."""
    return _SHOWN.get(attack, attack.replace("pgd-", "PGD-"))


def worst_case_name(row: dict[str, Any]) -> str:
    """What the worst case is over, for axes and titles: `worst case over PGD-20, screening; 8px linf`."""
    norm, radius = row["evaluate"]["norm"], row["evaluate"]["radius"]
    size = radius if norm == "linf" else f"{float(Radius(radius)):.4g}"
    return f"worst case over {', '.join(map(shown_name, row['attacks'])) or 'no attack'}; {size} {norm}"


def plain_config(config: EvaluateConfig) -> dict[str, Any]:
    """The settings as plain values, equal for settings that mean the same."""
    return {key: str(value) if isinstance(value, Radius) else value for key, value in asdict(config).items()}


def shown_config(config: EvaluateConfig) -> dict[str, Any]:
    """The settings as plain values for people: lengths as they were given, those of L2 never in px."""
    lengths = {key: value for key, value in vars(config).items() if isinstance(value, Radius)}
    return {**plain_config(config), **{key: _as_given(value, config.norm) for key, value in lengths.items()}}


def _as_given(length: Radius, norm: str) -> str:
    return repr(float(length)) if norm == "l2" and length.given.endswith("px") else length.given


def same_config(stored: Mapping[str, Any], config: EvaluateConfig) -> bool:
    """Whether settings as in `results.json` mean the same as `config`."""
    given = {key: stored.get(key) for key, value in vars(config).items() if isinstance(value, Radius)}
    try:
        lengths = {key: str(Radius(value)) for key, value in given.items() if isinstance(value, str)}
    except UserError:
        return False
    return bool(json.loads(json.dumps(plain_config(config))) == {**stored, **lengths})


def summary(outcome: Outcome, config: EvaluateConfig, classes: Sequence[str], facts: dict[str, Any]) -> dict[str, Any]:
    """The results as plain values: accuracies with their intervals, the cost of each attack, and `facts` in front.

    Accuracies are of the worst case so far: under the attack named and all before it; `worst` is under all.
    """
    n = len(outcome.broken_by)
    accuracies = {name: outcome.accuracy(name) for name in (CLEAN, *outcome.groups)}
    accuracies[WORST] = outcome.accuracy(outcome.stages[-1].name)
    classwise = per_class(outcome, classes)
    return {
        **facts,
        "n": n,
        "attack": evaluation_name(config),
        "evaluate": shown_config(config),
        "classes": len(classes),
        "attacks": list(outcome.groups),
        "accuracy": accuracies,
        "interval95": {name: wilson_interval(value, n) for name, value in accuracies.items()},
        "passes_per_sample": {"forward": outcome.passes.forward, "backward": outcome.passes.backward},
        "seconds": sum(record.seconds for record in outcome.stages),
        "stages": [asdict(record) for record in outcome.stages],
        "per_class": classwise,
        "worst_class": min(classwise, key=lambda row: row["worst"]),
    }


def per_class(outcome: Outcome, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Clean and worst-case accuracy of each class that has samples, with their number."""
    rows = []
    for number, name in enumerate(classes):
        own = outcome.label == number
        if count := int(own.sum()):
            clean, worst = (
                float(outcome.standing(after)[own].double().mean()) for after in (CLEAN, outcome.stages[-1].name)
            )
            rows.append({"class": encodable(name), "n": count, "clean": clean, "worst": worst})
    return rows


def write_evaluation(folder: Path, outcome: Outcome, results: dict[str, Any], classes: Sequence[str]) -> None:
    """Write `results.json` and `records.parquet`, one row a sample."""
    write_json(folder / "results.json", results)
    classes = [encodable(name) for name in classes]
    columns = {
        "index": pa.array(outcome.index.numpy()),
        "label": pa.array([classes[number] for number in outcome.label.tolist()]),
        "clean_prediction": pa.array([classes[number] for number in outcome.clean.tolist()]),
        "adversarial_prediction": pa.array([classes[i] if i >= 0 else None for i in outcome.adversarial.tolist()]),
        "broken_by": pa.array(outcome.broken_by),
        "size": pa.array(outcome.size.numpy()),
    }
    # A file of Python's: pyarrow takes no name of bytes that are no UTF-8.
    with replacing(folder / "records.parquet") as temporary, temporary.open("wb") as file:
        pq.write_table(pa.table(columns), file)


def name_of(row: dict[str, Any]) -> str:
    """The run of an evaluation, with its weights where they are not those that the run is for."""
    return f"{row['run']} (trained weights)" if row.get("weights") == "trained" else str(row["run"])


def title_of(row: dict[str, Any]) -> str:
    """The model of an evaluation, as tables and findings call it."""
    seed = "" if row.get("seed") is None else f" seed {row['seed']}"
    return f"{name_of(row)}{seed}" + (f" {row['checkpoint']}" if "checkpoint" in row else "")


CAPTION = "Each attack: worst case per sample over it and those to its left."
_WIDEST = 4
"""Attacks up to which a table has a column for each."""


def columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Keys of the accuracies a table shows: of every attack if they are few, else of the first and of all together.

    What parts of an evaluation that are no attacks by themselves have broken shows in the worst case alone.
    """
    stages = list(dict.fromkeys(name for row in rows for name in row["attacks"]))
    attacks = with_worst(stages)
    return [CLEAN, *(attacks if len(attacks) <= _WIDEST + (WORST in attacks) else [attacks[0], WORST])]


def with_worst(stages: Sequence[str]) -> list[str]:
    """The attacks among what broke samples, and the worst case where it is not that of the last of them."""
    attacks = [name for name in stages if name not in SECTIONS]
    return [*attacks, *([WORST] if len(attacks) < len(stages) else [])]


def between(shown: Sequence[str]) -> Sequence[str]:
    """Of the accuracies shown those that a narrow table goes without: neither clean, the first attack nor the last."""
    return shown[2:-1]


def results_table(rows: Sequence[dict[str, Any]]) -> PlainTable:
    """One line an evaluation, accuracies in percent with their 95 % intervals."""
    attack = ", ".join(sorted({row["attack"] for row in rows}))
    counts = ", ".join(sorted({str(row["n"]) for row in rows}))
    table = plain_table(f"accuracy in % [95 % interval]; {attack}; n = {counts} test samples", caption(rows))
    for name in ("run", "seed", "checkpoint"):
        table.add_column(name, no_wrap=True)
    all_clean = any(more_are_clean(row) for row in rows)
    for key in columns(rows):
        table.add_column(shown_name(key), justify="right", drop=3 if key in between(columns(rows)) else 0)
        if key == CLEAN and all_clean:
            table.add_column("clean, all", justify="right")
    table.add_column("worst class", justify="right", drop=2)
    table.add_column("passes/sample", justify="right", drop=1)
    for row in rows:
        accuracies: list[Cell] = [_percent(row, key) if key in row["accuracy"] else "-" for key in columns(rows)]
        if all_clean:
            accuracies.insert(1, _clean_of_all(row))
        passes = row["passes_per_sample"]
        cost = (f"{passes['forward']:.1f}F", f"{passes['backward']:.1f}B")
        worst = (f"{row['worst_class']['class']}:", f"{100 * row['worst_class']['worst']:.1f}")
        seed = "-" if row.get("seed") is None else str(row["seed"])
        table.add_row(name_of(row), seed, _checkpoint(row), *accuracies, worst, cost)
    return table


def more_are_clean(row: dict[str, Any]) -> bool:
    """Whether clean accuracy is known of more test samples than were attacked."""
    return bool(row.get("clean_all", {"n": 0})["n"] > row["n"])


def _clean_of_all(row: dict[str, Any]) -> Cell:
    if "clean_all" not in row:
        return "-"
    low, high = row["clean_all"]["interval95"]
    return f"{100 * row['clean_all']['accuracy']:.2f}", f"[{100 * low:.1f}, {100 * high:.1f}]"


def _checkpoint(row: dict[str, Any]) -> str:
    return f"{row['checkpoint']} ({row['epoch']})" if "checkpoint" in row else "-"


def caption(rows: Sequence[dict[str, Any]]) -> str:
    """What a reader must know of the figures of a table."""
    attacks = {name for row in rows for name in row["attacks"]}
    notes = [CAPTION]
    if several := sorted({row["clean_all"]["n"] for row in rows if more_are_clean(row)}):
        notes.append(f"clean, all: on all {', '.join(f'{n:,}' for n in several)} test samples, unattacked.")
    if "screening" in attacks:
        notes.append("screening: APGD-CE and APGD-T of this package, for sweeps; it is not AutoAttack.")
    if "autoattack" in attacks and any(row["classes"] < STANDARD_CLASSES for row in rows):
        notes.append(f"AutoAttack: fewer than {STANDARD_CLASSES} classes, so not the standard ensemble.")
    return " ".join(notes)


def _percent(row: dict[str, Any], key: str) -> tuple[str, ...]:
    low, high = row["interval95"][key]
    return f"{100 * row['accuracy'][key]:.2f}", f"[{100 * low:.1f}, {100 * high:.1f}]"


def stages_table(row: dict[str, Any]) -> PlainTable:
    """One line an attack of one evaluation: whom it met, what it broke, what it cost."""
    table = plain_table(f"{title_of(row)}: attacks in order, each on the samples that stood")
    table.add_column("attack", no_wrap=True)
    for name, drop in (("met", 0), ("broke", 0), ("accuracy % after it", 0), ("passes/sample met", 2), ("seconds", 1)):
        table.add_column(name, justify="right", drop=drop)
    standing = row["n"]
    for stage in row["stages"]:
        standing -= stage["broken"]
        met = max(stage["met"], 1)
        passes = (f"{stage['passes']['forward'] / met:.0f}F", f"{stage['passes']['backward'] / met:.0f}B")
        accuracy = f"{100 * standing / row['n']:.2f}"
        table.add_row(
            stage["name"], str(stage["met"]), str(stage["broken"]), accuracy, passes, f"{stage['seconds']:.1f}"
        )
    return table
