"""Names under which evaluations are shown: no two runs that differ share one, and equal checkpoints are one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iaat.units import Radius

Row = dict[str, Any]


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows as they are shown.

    Where the recipe's name and the seed do not tell runs apart, a run goes by its folder; the recipe stays under
    `recipe_name`. Checkpoints of one run that have equal weights are one row, such as `best = last`.

    Args:
        rows: Results of evaluations, each with the `folder` of its run or model.
    """
    named = _by_folder(rows)
    merged: dict[tuple[object, ...], Row] = {}
    for number, row in enumerate(named):
        key: tuple[object, ...] = _weights(row) or (number,)
        merged[key] = row if key not in merged else _joined(merged[key], row)
    return list(merged.values())


def _by_folder(rows: Sequence[Row]) -> list[Row]:
    """Runs whose names say too little under the names of their folders."""
    kinds: dict[str, set[object]] = {}
    folders: dict[tuple[object, ...], set[object]] = {}
    for row in rows:
        kinds.setdefault(row["run"], set()).add(row.get("recipe"))
        folders.setdefault((row["run"], row.get("seed")), set()).add(row.get("folder"))
    unclear = {
        row["run"] for row in rows if len(kinds[row["run"]]) > 1 or len(folders[row["run"], row.get("seed")]) > 1
    }
    short = _short_names([row["folder"] for row in rows if row["run"] in unclear and row.get("folder")])
    return [
        {**row, "recipe_name": row["run"], "run": short[row["folder"]]} if row.get("folder") in short else dict(row)
        for row in rows
    ]


def _short_names(folders: Sequence[str]) -> dict[str, str]:
    """Of each folder as few of its last parts as tell it from the others."""
    unique = list(dict.fromkeys(folders))
    parts = {folder: Path(folder).parts for folder in unique}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        names = {folder: "/".join(parts[folder][-length:]) for folder in unique}
        if len(set(names.values())) == len(unique):
            return names
    return {folder: folder for folder in unique}


def _weights(row: Row) -> tuple[object, ...] | None:
    """What rows of the same weights of one run share, judged by the same attacks; None where it is not known."""
    digest = row.get("digests", {}).get("model")
    if digest is None or "checkpoint" not in row or not row.get("folder"):
        return None
    return row["folder"], digest, row.get("weights"), _attack(row), row["n"]


def _attack(row: Row) -> tuple[str, float | None]:
    """The attacks and their radius to the last digit: names show a few."""
    radius = row.get("evaluate", {}).get("radius")
    return row["attack"], None if radius is None else float(Radius(radius))


def _joined(one: Row, other: Row) -> Row:
    if other["checkpoint"] in str(one["checkpoint"]).split(" = "):
        return one
    epochs = str(one["epoch"]).split(" = ")
    if str(other["epoch"]) not in epochs:
        epochs.append(str(other["epoch"]))
    return {**one, "checkpoint": f"{one['checkpoint']} = {other['checkpoint']}", "epoch": " = ".join(epochs)}


def over_seeds(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that may be averaged over their seeds, those of one checkpoint, attack and number of samples together.

    Runs are seeds of each other where recipe and data are the same but for the seed, and no seed is there twice.

    Args:
        rows: As `shown_rows` returns them.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.get("seed") is not None:
            question = (row.get("checkpoint"), _attack(row), row["n"])
            key: tuple[object, ...] = (*question, row.get("recipe"), _name(row), row.get("weights"))
            groups.setdefault(key, []).append(row)
    several = {key: some for key, some in groups.items() if 1 < len(some) == len({row["seed"] for row in some})}
    names = [(key[:3], key[4:]) for key in several]
    tables: dict[tuple[object, ...], list[Row]] = {}
    for key, some in several.items():
        # Two recipes of one name: their runs are named.
        twice = names.count((key[:3], key[4:])) > 1 or any("recipe_name" in row for row in some)
        name = f"{key[4]} ({', '.join(row['run'] for row in some)})" if twice else str(key[4])
        tables.setdefault(key[:3], []).extend({**row, "run": name} for row in some)
    return list(tables.values())


def _name(row: Row) -> str:
    return str(row.get("recipe_name", row["run"]))
