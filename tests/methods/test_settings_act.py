"""Every setting of every method acts, is refused, or is said to have no effect: a table over all fields and methods."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch

from iaat.errors import UserError
from iaat.methods import METHODS, StepContext
from iaat.methods.guard import GuardCheck
from iaat.methods.setting_fields import setting_names
from iaat.units import Radius
from methods.settings import EPOCHS, SETTINGS, SIZE, TEACHER, counted, digits, half_learned

OTHER = {
    "label_smoothing": 0.2,
    "class_weights": [float(number + 1) for number in range(10)],
    "radius": Radius("24px"),
    "steps": 2,
    "min_step": Radius("20px"),
    "norm": "l2",
    "mode": "batch",
    "ramp": 3,
    "inner": "nfgsm",
    "target": "random",
    "noise": 1.0,
    "guard_every": 2,
    "guard_gap": 0.001,
    "soft_labels": 0.4,
    "soft_temperature": 3.0,
    "soft_by_radius": True,
    "kl": 5.0,
    "reach": 1.7,
    "start": Radius("9px"),
    "success": 0.6,
    "spread": 0.2,
    "floor": Radius("15.9px"),
    "cap": Radius("16.1px"),
    "full_steps_at": Radius("90px"),
    "gamma": Radius("9px"),
    "beta": 0.7,
    "warmup": 2,
    "clean_wrong": "clean",
    "taus": [1, 0],
    "tau_from": [0, 3],
    "searches": 2,
    "clean_share": 0.7,
    "eta": Radius("3px"),
    "c": 3.0,
    "alpha": 0.1,
    "power": 0.3,
    "low": 0.9,
    "high": 1.1,
}
"""A value of each setting that none of the cases has, in which it acts where it acts at all."""

INSTEAD = {
    "inner": {"nfgsm": "pgd"},
    "clean_wrong": {"clean": "decay"},
    "target": {"random": "none"},
    "mode": {"batch": "eval"},
    "soft_by_radius": {"True": False},
}
"""Values for cases that have the other one already."""

SPREAD_IN = 2
"""Epoch in which radii differ from sample to sample."""

WITH_FILES = {"radii", "shuffle_radii", "start_from"}
"""Settings that name a run or need one that does: test_pgd_at.py and tests/experiments/test_more_epochs.py."""

CASES = [
    (name, key) for name, case in SETTINGS.items() for key in setting_names(METHODS[case.method].Config)
    if key not in WITH_FILES
]  # fmt: skip


@cache
def learned():
    """A network that classifies some digits correctly."""
    return half_learned(digits())


@cache
def outcome_of_case(name):
    """That of the settings as the table has them."""
    case = SETTINGS[name]
    return outcome(METHODS[case.method].Config(**case.options), case.method)


def outcome(config, method_name):
    """All that some steps of training in the course of a run show, of a network that stays as it is."""
    batch = digits()
    config = config.over(EPOCHS).for_classes(torch.bincount(batch.y, minlength=10))
    method = METHODS[method_name](config, size=SIZE, device="cpu")
    seen = []
    for epoch in range(4):
        model, context = deepcopy(learned()), StepContext(epoch, torch.Generator().manual_seed(epoch), teacher=TEACHER)
        if epoch == SPREAD_IN and method.radii is not None:
            method.radii[:] = torch.arange(SIZE) / 3 / 255  # as in the course of training
        with counted(model) as passes:
            output = method.step(model, batch, context)
        seen += [output.loss, output.logits, output.radius, method.cost(epoch), (passes.forward, passes.backward)]
    if method.radii is not None:
        seen.append(method.radii.values)
    if method.guard is not None:
        seen += [method.guard.due(step) for step in range(1, 100)]
        seen.append(method.guard._decide(GuardCheck(single=0.5, strong=0.3, both=0.3, samples=10_000)))
    return seen


def equal(mine, theirs):
    return len(mine) == len(theirs) and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a is b or a == b
        for a, b in zip(mine, theirs, strict=True)
        if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape != b.shape)
    )


@pytest.mark.parametrize(("name", "key"), CASES)
def test_a_setting_acts_is_refused_or_named(name, key):
    case = SETTINGS[name]
    config = METHODS[case.method].Config(**case.options)
    value = INSTEAD.get(key, {}).get(str(getattr(config, key)), OTHER[key])
    assert value != getattr(config, key)
    try:
        changed = replace(config, **{key: value})
        changed.over(EPOCHS)
    except UserError:
        return
    same = equal(outcome_of_case(name), outcome(changed, case.method))
    if key in changed.without_effect():
        assert same
    elif key not in changed.seldom_acts():
        assert not same
