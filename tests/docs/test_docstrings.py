"""Docstrings of what `iaat` exports are complete."""

import inspect
import re

import pytest

import iaat

CONSTANTS = {"PIXEL", "__version__"}
DOCUMENTED = sorted(set(iaat.__all__) - CONSTANTS)
# Records and exceptions take no arguments to describe, or refuse none.
SECTIONS = {
    "Passes": ("Attributes", "Source", "Example"),
    "UserError": ("Example",),
    **dict.fromkeys(("TrainedModel", "Run", "Prediction"), ("Attributes", "Example")),
    **dict.fromkeys(("Tracker", "TensorBoard"), ("Example",)),
    "keep_freed_memory": ("Returns", "Source", "Example"),
}
RETURNING = {"pgd", "nfgsm", "proportional_steps", "warm_up", "paper", "staircase", "with_index", "count_passes"}
RETURNING |= {"fit", "load", "evaluate_model", "predict"}
UNITS = {
    "pgd": (r"`\[B, \.\.\.\]`", r"in units of `x`", r"\[0, 1\]"),
    "nfgsm": (r"`\[B, \.\.\.\]`", r"in radii", r"one number or `\[B\]`"),
    "proportional_steps": (r"`\[B\]`", r"\[0, 1\] scale"),
    "RadiusMemory": (r"float32", r"\[0, 1\] scale"),
    "paper": (r"`\[B\]`", r"\[0, 1\] scale", r"\(0, 1\]"),
    "staircase": (r"`\[B\]`", r"\[0, 1\] scale"),
    "warm_up": (r"`\[B\]`", r"\[0, 1\] scale"),
    "Radius": (r"\[0, 1\] scale", r"1/255"),
    "Passes": (r"sample",),
}


def doc(name):
    return inspect.getdoc(getattr(iaat, name)) or ""


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_part_of_a_docstring_is_there(name):
    sections = SECTIONS.get(name, ("Args", "Raises", "Source", "Example"))
    missing = [part for part in sections if not re.search(rf"^ *{part}:", doc(name), re.MULTILINE)]
    if name in RETURNING and not re.search(r"^ *Returns:", doc(name), re.MULTILINE):
        missing.append("Returns")
    assert missing == []


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED) - set(SECTIONS)))
def test_every_argument_is_described(name):
    arguments = [each for each in inspect.signature(getattr(iaat, name)).parameters if each != "self"]
    described = re.findall(r"^ {4}(\w+): ", doc(name), re.MULTILINE)
    assert [each for each in arguments if each not in described] == []


@pytest.mark.parametrize(("name", "patterns"), UNITS.items(), ids=UNITS)
def test_shapes_and_units_are_said(name, patterns):
    assert [pattern for pattern in patterns if not re.search(pattern, doc(name))] == []


def test_constants_are_what_their_neighbours_say():
    assert iaat.PIXEL == 1 / 255
    assert set(iaat.__all__) >= CONSTANTS
    assert all("PIXEL" in doc(name) for name in ("Radius",))
