"""Names of suites that are the same only where evaluations compare: same attacks on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iaat.config.suites import parse_suite
from iaat.evaluate.results import EvaluationResult

_Evaluation = tuple[int, EvaluationResult]
"""Place of a run, and one of its evaluations."""


def samples_of(row: EvaluationResult, of_run: str) -> str:
    """Return the fingerprint of the test set of an evaluation; results of older versions have that of their run."""
    return of_run if row.digests is None else row.digests.test_set


def with_distinct_suites(
    evaluations: Sequence[_Evaluation], test_sets: Sequence[str], names: Sequence[str]
) -> list[_Evaluation]:
    """Return the evaluations with the name of their suite, `attack`, made longer where it stands for several.

    Evaluations are compared, and pooled over seeds, by the name of their suite and the number of samples. That name
    leaves out the test set, which samples of it were taken, and the arithmetic of AutoAttack. Where evaluations of one
    name differ in these, they are named. The test set of the first evaluation goes without a name.

    Args:
        evaluations: All evaluations of a report.
        test_sets: Fingerprint of the test set of each.
        names: Names of the runs.
    """
    number_of = {own: number for number, own in enumerate(dict.fromkeys(test_sets), start=1)}
    first_with = {own: names[evaluations[test_sets.index(own)][0]] for own in number_of}
    groups: dict[tuple[str, int], list[int]] = {}
    for place, (_, row) in enumerate(evaluations):
        groups.setdefault((row.attack, row.n), []).append(place)
    found = list(evaluations)
    for places in groups.values():
        settings = [_settings(evaluations[place][1]) for place in places]
        differ = [len(set(column)) > 1 for column in zip(*settings, strict=True)]
        for place, texts in zip(places, settings, strict=True):
            run, row = evaluations[place]
            more = [text for text, shown in zip(texts, differ, strict=True) if shown and text]
            if number_of[own := test_sets[place]] > 1:
                more.append(f"test data {number_of[own]} ({first_with[own]})")
            found[place] = run, replace(row, attack=", ".join([row.attack, *more]))
    return found


def _settings(row: EvaluationResult) -> tuple[str, str]:
    """Which samples and which arithmetic; "" where the setting has no effect: all samples, no AutoAttack."""
    config = row.evaluate
    samples = "the first samples" if config.order == "published" else "samples at random"
    arithmetic = f"AutoAttack in {config.autoattack_arithmetic} arithmetic"
    attacks = parse_suite(config.suite).attacks
    return samples if config.samples is not None else "", arithmetic if "autoattack" in attacks else ""
