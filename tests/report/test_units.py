"""Scripts of the page have units of their own, which are those of `iaat.units`."""

import re
from importlib import resources

import pytest

from iaat.units import unit_of


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_scripts_have_the_same_units(norm):
    text = resources.files("iaat.report").joinpath("static/text.js").read_text(encoding="utf-8")
    name, digits = re.search(rf'{norm}: {{ name: "(\w+)", digits: (\d) }}', text).groups()
    assert (name, int(digits)) == (unit_of(norm).name, unit_of(norm).digits)
