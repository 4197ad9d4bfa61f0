"""Imports point one way, and the loop knows no method by name."""

import ast
from pathlib import Path

import iaat
from iaat.methods import METHODS

ROOT = Path(iaat.__file__).parent
# What a part of the package must not import, directly.
FORBIDDEN = {
    "radius": {"attacks", "methods", "data", "models", "train", "evaluate", "analysis", "config", "run"},
    "attacks": {"radius", "methods", "data", "models", "train", "evaluate", "analysis", "config", "run"},
    "methods": {"data", "models", "train", "evaluate", "analysis", "config", "run"},
    "data": {"radius", "attacks", "methods", "models", "train", "evaluate", "analysis", "config", "run"},
    "models": {"radius", "attacks", "methods", "data", "train", "evaluate", "analysis", "config", "run"},
    "train": {"analysis", "workflow", "cli", "radius"},
    "evaluate": {"radius", "methods", "analysis", "workflow", "cli"},
    "analysis": {"radius", "attacks", "methods", "models", "train", "evaluate", "workflow", "cli"},
}


def imported_parts(file):
    """First-level parts of iaat that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("iaat."))


def test_imports_point_one_way():
    wrong = [
        f"{file.relative_to(ROOT)} imports iaat.{part}"
        for folder, forbidden in FORBIDDEN.items()
        for file in sorted((ROOT / folder).rglob("*.py"))
        for part in imported_parts(file)
        if part in forbidden
    ]
    assert wrong == []


def test_every_forbidden_rule_names_a_part_that_exists():
    parts = {path.stem for path in ROOT.iterdir()}
    assert set(FORBIDDEN) | set().union(*FORBIDDEN.values()) <= parts


def test_the_loop_knows_no_method_by_name():
    text = (ROOT / "train" / "loop.py").read_text(encoding="utf-8").lower()
    words = set(text.replace("_", " ").replace(".", " ").split())
    assert not words & {"iaat rule", "pgdat", "natural", "staircase", "trades"}
    for name in METHODS:
        assert f'"{name}"' not in text
