"""Imports point one way, and the loop knows no method by name."""

import ast
import re
from collections import Counter
from contextlib import suppress
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import iaat
from iaat.methods import METHODS

ROOT = Path(iaat.__file__).parent
# From the ground up: a part imports parts of lower floors only. docs/design.md has a sentence a floor.
FLOORS = (
    {"types", "errors", "statistics"},
    {"units"},
    {"runtime"},
    {"radius", "attacks", "data"},
    {"models", "methods", "corruptions"},
    {"config"},
    {"runs"},
    {"evaluate", "analysis"},
    {"train", "report", "export"},
    {"experiments"},
    {"cli"},
    {"__main__"},
)
# What the floors alone would allow.
FORBIDDEN = {
    "methods": {"data"},
    "train": {"radius"},
    "evaluate": {"radius", "methods"},
    "export": {"radius", "attacks"},
    "analysis": {"radius", "attacks", "data", "methods", "models", "config", "runs"},
}
# All that the training code may know of the methods.
PROTOCOL = {
    "train_recipe.py": set(),
    "trainer.py": set(),
    "run_writer.py": set(),
    "step.py": {"StepContext"},
    "build_state.py": {"make_method", "Method"},
    "state.py": {"Method"},
    "gradient.py": {"Objective"},
    "ddp.py": {"Objective"},
}


def imports(source, package=()):
    """Dotted names of all that a source in `package` imports, such as `iaat.runtime.rng` for `from iaat import rng`."""
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
    return {name.split(".")[1] for name in names if name.startswith("iaat.")} & set().union(*FLOORS)


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


def floor_of(part):
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def test_imports_point_down_to_lower_floors():
    wrong = [
        f"{file.relative_to(ROOT)} imports iaat.{part}"
        for own in set().union(*FLOORS)
        for file in sorted([*(ROOT / own).rglob("*.py"), *ROOT.glob(f"{own}.py")])
        for part in sorted(imported_parts(file) - {own})
        if part in FORBIDDEN.get(own, ()) or floor_of(part) >= floor_of(own)
    ]
    assert wrong == []


def test_every_part_has_one_floor():
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    named = [part for floor in FLOORS for part in floor]
    assert sorted(named) == sorted(parts - {"__init__"})
    assert set(FORBIDDEN) | set().union(*FORBIDDEN.values()) <= set(named)


def test_the_floor_plan_in_the_documents_is_this_one():
    design = (ROOT.parents[1] / "docs/design.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|", design, flags=re.MULTILINE))
    named = [set(re.findall(r"`(\w+)(?:\.py)?`", rows[str(number)])) for number in range(1, len(FLOORS) + 1)]
    assert named == list(FLOORS)


def module_of(file):
    return ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_modules_import_each_other_in_a_circle():
    modules = {module_of(file): file for file in ROOT.rglob("*.py") if file != ROOT / "__init__.py"}

    def imported(file):
        for name in imports(file.read_text(encoding="utf-8")):
            yield name if name in modules else name.rpartition(".")[0]

    graph = {name: {each for each in imported(file) if each in modules} - {name} for name, file in modules.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_no_two_modules_share_a_name():
    """Registries are the exception: a table by name, of methods and of networks."""
    names = Counter(path.stem for path in ROOT.rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} == {"__init__", "registry"}


def defined(source):
    """Public classes, functions and constants that a source defines; not its type variables."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets, value=value):
                if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"):
                    yield from (each.id for each in targets if isinstance(each, ast.Name))


def test_no_two_modules_define_a_public_name():
    """One who looks for a name finds one thing; what packages export again is that thing."""
    files = [file for file in ROOT.rglob("*.py") if file.name != "__init__.py"]
    names = Counter(name for file in files for name in set(defined(file.read_text(encoding="utf-8"))))
    assert {name for name, count in names.items() if count > 1 and not name.startswith("_")} == set()


@pytest.mark.parametrize(
    "source",
    ["class Thing: ...", "def Thing(): ...", "Thing = 1", "Thing: int = 1", "Thing = Callable[[int], int]"],
)
def test_every_way_to_define_a_public_name_is_seen(source):
    assert "Thing" in set(defined(source))


def test_scripts_beside_the_package_import_what_is_there():
    """Most of them take long to run, and no other test does."""
    scripts = [file for folder in ("benchmarks", "docs") for file in (ROOT.parents[1] / folder).rglob("*.py")]
    names = {(file.name, name) for file in scripts for name in imports(file.read_text(encoding="utf-8"))}
    missing = [each for each in sorted(names) if each[1].startswith("iaat.") and not is_there(each[1])]
    assert scripts
    assert missing == []


def is_there(name):
    module, _, attribute = name.rpartition(".")
    with suppress(ImportError):
        return hasattr(import_module(module), attribute) or import_module(name)
    return False


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
