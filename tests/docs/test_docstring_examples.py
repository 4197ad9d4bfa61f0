"""Examples in the docstrings of public names run."""

import doctest
import inspect

import pytest

import iaat
import iaat.attacks
import iaat.methods
import iaat.radius
from iaat.methods import METHODS


def is_attack(value):
    """Whether a function takes a model and a batch first."""
    return inspect.isfunction(value) and list(inspect.signature(value).parameters)[:3] == ["model", "x", "y"]


def with_example(module):
    """Public functions and classes of a module that have an example, or are attacks or methods and must have one."""
    for name in module.__all__:
        value = getattr(module, name)
        required = is_attack(value) or value in METHODS.values()
        if required or (callable(value) and ">>>" in (inspect.getdoc(value) or "")):
            yield f"{module.__name__}.{name}", value


DOCUMENTED = {f"iaat.{name}": getattr(iaat, name) for name in iaat.__all__ if callable(getattr(iaat, name))} | dict(
    pair for module in (iaat.attacks, iaat.radius, iaat.methods) for pair in with_example(module)
)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_examples_run(name):
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(DOCUMENTED[name]) or "", {}, name, None, None)
    printed = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=printed.append)
    assert result.attempted > 1, "no example"
    assert result.failed == 0, "".join(printed)


def test_attacks_rules_and_methods_are_among_them():
    names = {"attacks.pgd", "attacks.apgd", "attacks.cw_l2", "attacks.screen", "attacks.find_boundary"}
    names |= {"radius.RadiusMemory", "radius.paper", "radius.staircase", "radius.warm_up", "pgd"}
    names |= {f"methods.{method.__name__}" for method in METHODS.values()}
    assert {f"iaat.{name}" for name in names} <= set(DOCUMENTED)
