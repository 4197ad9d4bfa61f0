"""Recipes, sweeps and options of any kind, drawn by structure: they are read, or refused by a `UserError`."""

import dataclasses

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iaat.runtime.user_code
from fuzz import recipe_cases
from iaat.config.setting_keys import SECTION_TYPES
from iaat.methods import METHODS


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder for the cases, with what they may name beside them."""
    folder = tmp_path_factory.mktemp("cases")
    (folder / "other.yaml").write_text("name: os:system\nextends: quickstart\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _nothing_trusted(monkeypatch):
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())


CONFIGS = {**SECTION_TYPES, **{f"method {name}": method.Config for name, method in METHODS.items()}}
KEYS = sorted(
    {(name.split()[0], field.name) for name, config in CONFIGS.items() for field in dataclasses.fields(config)}
)
DOTTED = st.sampled_from([f"{section}.{key}" for section, key in KEYS] + ["seed", "method", "method.name", "model"])
NUMBERS = st.sampled_from(
    [
        *(0, 1, -1, 2, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**30, -(10**30), 10**99, 10**400, 0.5, 1e308, 5e-324),
        *(float("inf"), float("-inf"), float("nan"), -0.0, True, None),
    ]
)
TEXTS = st.sampled_from(
    [
        *("8px", "1e400px", "4/0", "1e308/1e-308", "-1px", "os:system", "timm:resnet18", "other.yaml", "quickstart"),
        *("1" * 5000, "x" * 5000, "[" * 100, "[1, 2]", "{a: 1}", "&a [*a]", "null", "", " ", "\ud800", "\0", "\x1b[1m"),
        *("0x" + "f" * 90, "1_0", "1:30", "!!binary x", "linf", "l2", "multistep", "paper", "quick+curve", "pgd-9e9"),
        *(
            "pgd-" + "9" * 12,
            "transfer-" + "9" * 900,
            "../x",
            "2020-13-01",
            "2001-12-14 21:59:43.10 -5",
            "iaat",
            "\u212a",
        ),
    ]
)
SCALARS = NUMBERS | TEXTS | st.integers() | st.floats() | st.text(max_size=6) | st.dates() | st.binary(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | NUMBERS, inner, max_size=3),
    max_leaves=6,
)
OWN = {
    section: st.dictionaries(st.sampled_from([key for name, key in KEYS if name == section]), VALUES, max_size=3)
    for section in (*SECTION_TYPES, "method")
}
METHOD = st.builds(lambda name, own: {"name": name, **own}, st.sampled_from([*METHODS, "os:system"]), OWN["method"])
PARENT = st.sampled_from(["quickstart", "quickstart", "quickstart", "other.yaml", "case.yaml"])
RECIPES = st.fixed_dictionaries(
    {"extends": PARENT | VALUES},
    optional={
        **{section: own | VALUES for section, own in OWN.items()},
        **dict.fromkeys(("about", "seed"), VALUES),
        "method": METHOD | VALUES,
    },
)
SET = st.dictionaries(DOTTED | TEXTS, SCALARS | VALUES, max_size=3)
GRID = st.dictionaries(DOTTED, st.lists(SCALARS, max_size=3) | VALUES, max_size=2)
CELL = st.fixed_dictionaries(
    {"recipe": st.sampled_from(["quickstart", "quickstart-pgd-at", "other.yaml", "case.yaml"]) | VALUES},
    optional={"set": SET | VALUES, "grid": GRID | VALUES},
)
SWEEPS = st.fixed_dictionaries(
    {"cells": st.dictionaries(st.sampled_from(["a", "b"]) | TEXTS, CELL | VALUES, max_size=2) | VALUES},
    optional={"seeds": VALUES, "set": SET | VALUES, "curve": TEXTS | VALUES, "about": VALUES},
)
WORDS = st.lists(
    st.builds(lambda key, joint, value: f"--{key}{joint}{value}", DOTTED | TEXTS, st.sampled_from("= "), SCALARS)
    | TEXTS,
    max_size=4,
)
CASES = {"suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


def dumped(content):
    """As YAML of all that PyYAML can write, Python's own objects included, which no recipe may hold."""
    return yaml.dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")


@settings(max_examples=900, **CASES)
@given(content=RECIPES)
def test_structured_recipes(content, scratch):
    (scratch / "case.yaml").write_bytes(dumped(content))
    recipe_cases.run(str(scratch / "case.yaml"), (), scratch)


@settings(max_examples=500, **CASES)
@given(content=SWEEPS)
def test_structured_sweeps(content, scratch):
    (scratch / "case.yaml").write_bytes(dumped(content))
    recipe_cases.run(str(scratch / "case.yaml"), (), scratch, sweep=True)


@settings(max_examples=700, **CASES)
@given(words=WORDS)
def test_words_of_the_command_line(words, scratch):
    recipe_cases.run("quickstart", words, scratch, typed=True)


@settings(max_examples=500, **CASES)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_and_texts(content, scratch):
    (scratch / "case.yaml").write_bytes(content)
    for sweep in (False, True):
        recipe_cases.run(str(scratch / "case.yaml"), (), scratch, sweep=sweep)


SPELLED = st.sampled_from(
    [
        *(
            "extends: quickstart\n",
            "train: ",
            "{",
            "}",
            "[",
            "]",
            "&a ",
            "*a",
            "<<: *a",
            ": ",
            "\n  ",
            "\n",
            "- ",
            "? ",
        ),
        *("'", '"', '"\\ud800"', '"\\e"', "!!int ", "!!float ", "!!set ", "!!omap ", "!!pairs ", "!!timestamp "),
        *("!!binary ", "!!python/name:os.system ", "|\n", ">-\n", "%YAML 9.9\n", "---\n", "...\n", ".inf", ".nan"),
        *("0b1_", "1:2", "~", ",", "epochs", "data", "model", "options", "method", "name", "seed", "about", "cells"),
        *("recipe", "=", "#", "\t", "\x85"),
    ]
)


@settings(max_examples=900, **CASES)
@given(parts=st.lists(SPELLED, max_size=12))
def test_texts_of_yaml_marks(parts, scratch):
    (scratch / "case.yaml").write_bytes("".join(parts).encode())
    recipe_cases.run(str(scratch / "case.yaml"), (), scratch)


@pytest.mark.parametrize("case", recipe_cases.seeds())
def test_cases_the_fuzzer_begins_with(case, scratch):
    recipe_cases.run_bytes(case, scratch)
