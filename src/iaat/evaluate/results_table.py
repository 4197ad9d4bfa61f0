"""Tables of evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from iaat.config.suites import SUITE_SECTIONS
from iaat.evaluate.autoattack import STANDARD_CLASSES
from iaat.evaluate.naming import attack_title, checkpoint_title, model_title, run_title
from iaat.evaluate.results import CLEAN, WORST, EvaluationResult
from iaat.runtime.console_table import CellText, PlainTable

_CAPTION = "Each column counts an image as correct only if it survives this attack and all attacks to the left."
_WIDEST = 4
"""Attacks up to which a table has a column for each."""


def columns(rows: Sequence[EvaluationResult]) -> list[str]:
    """Keys of the accuracies a table shows: of every attack if they are few, else of the first and of all together.

    What sections of an evaluation find, which are no attacks by themselves, shows in the worst case alone.
    """
    stages = list(dict.fromkeys(name for row in rows for name in row.attacks))
    attacks = with_worst(stages)
    return [CLEAN, *(attacks if len(attacks) <= _WIDEST + (WORST in attacks) else [attacks[0], WORST])]


def with_worst(stages: Sequence[str]) -> list[str]:
    """The attacks among the stages, and the worst case where it is not that of the last of them."""
    attacks = [name for name in stages if name not in SUITE_SECTIONS]
    return [*attacks, *([WORST] if len(attacks) < len(stages) else [])]


def droppable(shown: Sequence[str]) -> Sequence[str]:
    """Of the accuracies shown those that a narrow table goes without: neither clean, the first attack nor the last."""
    return shown[2:-1]


def results_table(rows: Sequence[EvaluationResult]) -> PlainTable:
    """One line an evaluation, accuracies in percent with their 95 % intervals."""
    attack = ", ".join(sorted({row.attack for row in rows}))
    counts = ", ".join(sorted({str(row.n) for row in rows}))
    table = PlainTable(f"accuracy in % [95 % interval]; {attack}; n = {counts} test samples", caption(rows))
    for name in ("run", "seed", "checkpoint"):
        table.add_column(name, no_wrap=True)
    all_clean = any(more_are_clean(row) for row in rows)
    for key in columns(rows):
        table.add_column(attack_title(key), justify="right", drop=3 if key in droppable(columns(rows)) else 0)
        if key == CLEAN and all_clean:
            table.add_column("clean, all", justify="right")
    table.add_column("worst class", justify="right", drop=2)
    table.add_column("passes/sample", justify="right", drop=1)
    for row in rows:
        accuracies = [_percent(row.accuracy.get(key), row.interval95.get(key)) for key in columns(rows)]
        if all_clean:
            clean = row.clean_all
            accuracies.insert(1, "-" if clean is None else _percent(clean.accuracy, clean.interval95))
        cost = (f"{row.passes_per_sample.forward:.1f}F", f"{row.passes_per_sample.backward:.1f}B")
        worst = f"{100 * row.worst_class.worst:.1f} ({row.worst_class.name})"
        seed = "-" if row.seed is None else str(row.seed)
        table.add_row(run_title(row), seed, checkpoint_cell(row), *accuracies, worst, cost)
    return table


def more_are_clean(row: EvaluationResult) -> bool:
    """Whether clean accuracy is known of more test samples than were attacked."""
    return row.clean_all is not None and row.clean_all.n > row.n


def checkpoint_cell(row: EvaluationResult) -> str:
    """Checkpoints of a row with their epochs: `best = last (3 = 5)`."""
    epochs = dict.fromkeys([row.epoch, *row.twins.values()])
    return "-" if row.checkpoint is None else f"{checkpoint_title(row)} ({' = '.join(map(str, epochs))})"


def caption(rows: Sequence[EvaluationResult]) -> str:
    """What a reader must know of the figures of a table."""
    attacks = {name for row in rows for name in row.attacks}
    notes = [_CAPTION]
    if several := sorted({row.clean_all.n for row in rows if row.clean_all and more_are_clean(row)}):
        notes.append(f"clean, all: on all {', '.join(f'{n:,}' for n in several)} test samples, unattacked.")
    if "screening" in attacks:
        notes.append("screening: APGD-CE and APGD-T of this package, for sweeps; it is not AutoAttack.")
    missed = [each for row in rows if (each := screening_missed(row)) is not None and each[1]]
    if missed:
        counts = ", ".join(f"{count} of {left}" for count, left in missed)
        notes.append(f"Of the samples that screening calls robust AutoAttack breaks {counts}.")
    if "autoattack" in attacks and any(row.classes < STANDARD_CLASSES for row in rows):
        notes.append(f"AutoAttack: fewer than {STANDARD_CLASSES} classes, so not the standard ensemble.")
    return " ".join(notes)


def screening_missed(row: EvaluationResult) -> tuple[int, int] | None:
    """How many samples that screening leaves robust AutoAttack breaks, and of how many; None unless it comes next."""
    names = list(row.attacks)
    if "screening" not in names or names[names.index("screening") + 1 :][:1] != ["autoattack"]:
        return None
    stages = [stage for stage in row.stages if stage.name.partition("/")[0] == "autoattack"]
    return (sum(stage.adversarial for stage in stages), stages[0].samples) if stages else None


def _percent(accuracy: float | None, interval: tuple[float, float] | None) -> CellText:
    if accuracy is None or interval is None:
        return "-"
    return f"{100 * accuracy:.2f}", f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def stages_table(row: EvaluationResult) -> PlainTable:
    """One line an attack of one evaluation: its samples, those misclassified, its cost."""
    table = PlainTable(f"{model_title(row)}: attacks in order, each on the samples still classified correctly")
    table.add_column("attack", no_wrap=True)
    headings = (("samples", 0), ("misclassified", 0), ("accuracy % after it", 0), ("passes/sample", 2), ("seconds", 1))
    for name, drop in headings:
        table.add_column(name, justify="right", drop=drop)
    correct = row.n
    for stage in row.stages:
        correct -= stage.adversarial
        given = max(stage.samples, 1)
        passes = (f"{stage.passes.forward / given:.0f}F", f"{stage.passes.backward / given:.0f}B")
        counts = (str(stage.samples), str(stage.adversarial), f"{100 * correct / row.n:.2f}")
        table.add_row(stage.name, *counts, passes, f"{stage.seconds:.1f}")
    return table
