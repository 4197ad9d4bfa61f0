"""Imports point one way, and the loop knows no method by name."""

import ast
from pathlib import Path

import pytest

import iaat
from iaat.methods import METHODS

ROOT = Path(iaat.__file__).parent
# What a part of the package must not import, directly.
FORBIDDEN = {
    "radius": {"attacks", "methods", "data", "models", "train", "evaluate", "analysis", "config", "run"},
    "attacks": {"radius", "methods", "data", "models", "train", "evaluate", "analysis", "config", "run"},
    "corruptions": {
        *("radius", "attacks", "methods", "data", "models", "train", "evaluate", "analysis", "config", "run"),
        *("workflow", "cli"),
    },
    "methods": {"data", "models", "train", "evaluate", "analysis", "config", "run"},
    "data": {"radius", "attacks", "methods", "models", "train", "evaluate", "analysis", "config", "run"},
    "models": {"radius", "attacks", "methods", "data", "train", "evaluate", "analysis", "config", "run"},
    "train": {"analysis", "workflow", "cli", "radius"},
    "evaluate": {"radius", "methods", "analysis", "workflow", "cli"},
    "analysis": {"radius", "attacks", "methods", "models", "train", "evaluate", "workflow", "cli"},
}
for part in FORBIDDEN:  # a report looks at everything, and nothing looks at it
    FORBIDDEN[part] = FORBIDDEN[part] | {"report"}
FORBIDDEN["report"] = {"train", "workflow", "cli"}
# All that the training code may know of the methods.
PROTOCOL = {
    "loop.py": set(),
    "step.py": {"StepContext"},
    "state.py": {"make_method", "Method"},
    "descent.py": {"Objective"},
    "exchange.py": {"Objective"},
}


def imports(source, package=()):
    """Dotted names of all that a source in `package` imports, such as `iaat.rng` for `from iaat import rng`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_parts(file):
    """First-level parts of iaat that a file imports."""
    names = imports(file.read_text(encoding="utf-8"), file.relative_to(ROOT.parent).parent.parts)
    return {name.split(".")[1] for name in names if name.startswith("iaat.")}


def words(source):
    """All identifiers, attributes, argument names and text constants of a source, and parts of the names it imports."""
    found = {part for name in imports(source) for part in name.removeprefix("iaat.").split(".")}
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name", "asname", "value"):
            if isinstance(word := getattr(node, field, None), str):
                found.add(word)
    return found


def method_names():
    """What the methods are called in recipes, their classes and the classes of their settings."""
    classes = [each for method in METHODS.values() for each in (method, method.Config)]
    return set(METHODS) | {each.__name__ for each in classes}


def test_imports_point_one_way():
    wrong = [
        f"{file.relative_to(ROOT)} imports iaat.{part}"
        for folder, forbidden in FORBIDDEN.items()
        for file in sorted((ROOT / folder).rglob("*.py"))
        for part in sorted(imported_parts(file) & forbidden)
    ]
    assert wrong == []


def test_every_forbidden_rule_names_a_part_that_exists():
    parts = {path.stem for path in ROOT.iterdir()}
    assert set(FORBIDDEN) | set().union(*FORBIDDEN.values()) <= parts


@pytest.mark.parametrize(
    "line",
    [
        "import iaat.radius",
        "import iaat.radius.rules as rules",
        "from iaat import radius",
        "from iaat import rng, radius as r",
        "from iaat.radius import paper",
        "from iaat.radius.rules import paper",
        "from .. import radius",
        "from ..radius import paper",
        "def later():\n    from iaat import radius",
    ],
)
def test_every_way_to_import_a_part_is_seen(line):
    assert any(f"{name}.".startswith("iaat.radius.") for name in imports(line, ("iaat", "train")))


@pytest.mark.parametrize("file", PROTOCOL)
def test_the_training_code_knows_no_method_by_name(file):
    source = (ROOT / "train" / file).read_text(encoding="utf-8")
    assert words(source) & method_names() == set()
    known = {name.removeprefix("iaat.methods.") for name in imports(source) if name.startswith("iaat.methods")}
    assert known == PROTOCOL[file]


@pytest.mark.parametrize("name", sorted(method_names()))
@pytest.mark.parametrize(
    "line",
    [
        "if recipe.method_name == '{}': pass",
        "match name:\n    case '{}': pass",
        "isinstance(method, {})",
        "isinstance(method, methods.{})",
        "from iaat.methods import {}",
        "from iaat.methods.{} import Anything",
        "build({}=1)",
    ],
)
def test_every_way_to_name_a_method_is_seen(line, name):
    assert name in words(line.format(name))
