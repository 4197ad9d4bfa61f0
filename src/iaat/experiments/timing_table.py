"""The time of a whole training that follows from timed steps, as a table."""

from __future__ import annotations

import math
from dataclasses import replace

from iaat.config.recipe import Recipe
from iaat.data import DatasetInfo
from iaat.experiments.cost import MIB, total_passes, visits
from iaat.experiments.timing import StepTiming
from iaat.runtime.console_table import PlainTable, facts_table
from iaat.runtime.text import format_duration, format_number
from iaat.units import Radius

TIMING_CAPTION = (
    "At perfect scaling, processes that divide a batch take no longer for a step than one does alone, as timed here. "
    "Left out: reading data, exchanging gradients, attacks on validation and test samples. Inputs were random, "
    "the model untrained."
)
"""What a table of timed steps has to say below it."""

SCALED = (
    "Scaled: whole steps would have taken too long, and their time is that of smaller ones in proportion. It is too "
    "long rather than too short, because a sample costs more in a small step."
)
"""What it has to say of steps that were timed with fewer samples than they have."""


def timing_table(recipe: Recipe, facts: DatasetInfo, found: StepTiming) -> PlainTable:
    """Timed steps and what follows from them for the recipe, for people."""
    scaled = f" {SCALED}" if found.timed < found.samples else ""
    table = facts_table("probe", TIMING_CAPTION + scaled + _radii_note(recipe, found))
    for row in (*_measured(recipe, found), *_projected(recipe, facts, found)):
        table.add_row(*row)
    return table


def _radii_note(recipe: Recipe, found: StepTiming) -> str:
    """At which radii steps were timed, and where they cost less."""
    if found.radius is None:
        return ""
    method = recipe.method
    full, first = getattr(method, "all_steps_from", 0.0), getattr(method, "initial", math.inf)
    if not full:  # a step costs the same at every radius
        return f" All radii were {Radius(found.radius)}."
    at_first = ", as at first" if first < full and getattr(method, "start_from", None) is None else ""
    below = "that" if full == found.radius else Radius(full)
    return f" All radii were {Radius(found.radius)}; below {below}{at_first}, attacks take fewer steps."


def _measured(recipe: Recipe, found: StepTiming) -> list[tuple[str, str]]:
    on_gpu = found.device.type == "cuda"
    warm = "after warming up" if found.warmed else "with none to warm up"
    kind = "tensors on the GPU" if on_gpu else "not measured: weights, gradients, momentum, activations"
    count = f"{len(found.times)} step{'s' if len(found.times) > 1 else ''}"
    return [
        ("timed", f"{count} of {_timed_samples(found)}, {warm}, on {found.place}"),
        ("passes per sample and step", f"{found.passes}, of {total_passes(recipe)} at most"),
        ("memory of a process", f"{found.memory / MIB:,.0f} MiB ({kind})"),
    ]


def _timed_samples(found: StepTiming) -> str:
    """Number of samples that were timed, and what it stands for."""
    return (
        f"{found.timed} samples"
        if found.timed == found.samples
        else f"{found.timed} of {found.samples} samples, scaled"
    )


def _projected(recipe: Recipe, facts: DatasetInfo, found: StepTiming) -> list[tuple[str, str]]:
    whole, several = training_seconds(recipe, facts, found), found.processes > 1
    joint = f", {format_number(found.joint_rate)} in {found.processes} at perfect scaling" if several else ""
    return [
        ("samples a second", f"{format_number(found.rate)} in one process{joint}"),
        ("an epoch", format_duration(whole / recipe.train.epochs)),
        (f"all {recipe.train.epochs} epochs", format_total(whole, found)),
    ]


def training_seconds(recipe: Recipe, facts: DatasetInfo, found: StepTiming) -> float:
    """Seconds of a whole training at the speed of the timed steps, less where epochs are natural or without AWP."""
    return visits(recipe, facts) / found.joint_rate * recipe.train.epochs * _fraction_of_passes(recipe)


def _fraction_of_passes(recipe: Recipe) -> float:
    """Passes of a training as a fraction of those it would take if all epochs were as the last, which is timed."""
    train = recipe.train
    awp_from = 0 if train.awp_in(train.epochs - 1) else train.awp_from
    as_the_last = replace(recipe, train=replace(train, natural_epochs=0, awp_from=awp_from))
    taken, full = total_passes(recipe), total_passes(as_the_last)
    return (taken.forward + taken.backward) / (full.forward + full.backward)


def format_total(seconds: float, found: StepTiming) -> str:
    """A time of training, and what it is on all devices together: `2.5 days, 480 GPU-hours`."""
    if found.device.type == "cuda":
        return f"{format_duration(seconds)}, {format_number(seconds * found.processes / 3600)} GPU-hours"
    together = f", {format_duration(seconds * found.processes)} of processor time" if found.processes > 1 else ""
    return format_duration(seconds) + together
