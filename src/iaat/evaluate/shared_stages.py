"""Attacks that an evaluation of the same model by another suite has run already."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from iaat.config.suites import parse_suite
from iaat.errors import UserError
from iaat.evaluate.journal import Known, identity_of
from iaat.evaluate.provenance import CLEAN_OF_THE_REST
from iaat.evaluate.results import CLEAN

JOURNAL = "journal.jsonl"
"""File of an evaluation's journal, in its folder."""


def earlier_suites(
    folder: Path, identity: dict[str, Any], stage_names: Callable[[Sequence[str]], list[str]]
) -> list[Known]:
    """Journals beside that of `folder` that differ in the suite alone, with the units that both have.

    An attack runs on the samples that all before it have left correct. So the attacks with which both suites begin are
    the same, batch by batch and draw by draw; those after the first difference are not.

    Args:
        folder: Folder of the evaluation.
        identity: What identifies it.
        stage_names: Gives the names of the stages of attacks, as in `iaat.config.suites.Plan`.
    """
    wanted = json.loads(json.dumps(identity))
    suite = wanted["evaluate"]["suite"]
    found = []
    for file in sorted(folder.parent.glob(f"*/{JOURNAL}")):
        theirs = identity_of(file) if file.parent != folder else None
        if theirs is None or not _differs_in_suite_alone(theirs, wanted):
            continue
        names = _shared_names(suite, theirs["evaluate"]["suite"], stage_names)
        found.append(Known(file, theirs, frozenset({CLEAN, CLEAN_OF_THE_REST, *names})))
    return found


def _differs_in_suite_alone(theirs: Any, ours: dict[str, Any]) -> bool:  # noqa: ANN401
    if not isinstance(theirs, dict) or not isinstance(theirs.get("evaluate"), dict):
        return False
    settings = {**theirs["evaluate"], "suite": ours["evaluate"]["suite"]}
    return isinstance(theirs["evaluate"].get("suite"), str) and {**theirs, "evaluate": settings} == ours


def _shared_names(ours: str, theirs: str, stage_names: Callable[[Sequence[str]], list[str]]) -> list[str]:
    """Names of the stages with which both suites begin."""
    try:
        pairs = zip(*(stage_names(parse_suite(suite).attacks) for suite in (ours, theirs)), strict=False)
    except UserError:  # a suite of an older version
        return []
    return [name for name, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
