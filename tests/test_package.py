"""The package as others get it: what the wheel holds, what it needs, and which version it says it is."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from contextlib import chdir
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    with chdir(ROOT):
        return zipfile.ZipFile(folder / build_wheel(str(folder)))


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel):
    files = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/iaat").rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files
    assert {"iaat/py.typed", "iaat/recipes/quickstart.yaml", "iaat/recipes/sweeps/paper-cifar10-resnet18.yaml"} <= files
    assert {"iaat/report/static/page.html.j2", "iaat/report/static/page.js", "iaat/report/static/page.css"} <= files


def test_the_wheel_says_what_it_is(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(name).decode()
    assert f"Version: {PROJECT['version']}\n" in text
    needed = [line for line in re.findall(r"^Requires-Dist: (.*)$", text, flags=re.MULTILINE) if "extra ==" not in line]
    assert sorted(map(str, map(Requirement, needed))) == sorted(map(str, map(Requirement, PROJECT["dependencies"])))


def installed_for(requirements):
    """Names of the distributions that these requirements bring with them."""
    found, seen = set(), set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        one = todo.pop()
        if (key := (canonicalize_name(one.name), frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        found.add(key[0])
        further = map(Requirement, metadata.distribution(one.name).requires or ())
        extras = one.extras or {""}
        todo += [each for each in further if not each.marker or any(each.marker.evaluate({"extra": x}) for x in extras)]
    return found


IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules |= dict.fromkeys(sys.argv[1:])
import iaat
for module in pkgutil.walk_packages(iaat.__path__, "iaat."):
    if module.name != "iaat.__main__":
        importlib.import_module(module.name)
"""


def test_every_module_imports_with_the_required_packages_alone():
    allowed = {*installed_for(PROJECT["dependencies"]), "iaat"}
    owners = {top: set(map(canonicalize_name, names)) for top, names in metadata.packages_distributions().items()}
    absent = sorted(top for top, names in owners.items() if not names & allowed and top != "_distutils_hack")
    assert {"timm", "tensorboard", "pytest"} <= set(absent)
    subprocess.run([sys.executable, "-c", IMPORT_ALL, *absent], check=True, env={**os.environ, "MPLBACKEND": "agg"})


def test_version_is_the_same_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, flags=re.MULTILINE)[0] == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == PROJECT["version"]


def test_no_text_installs_from_an_index_that_does_not_have_it():
    texts = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    assert [path for path in texts if re.search(r"pip install ['\"]?iaat\b", path.read_text(encoding="utf-8"))] == []


def test_workflows_call_targets_that_exist_and_ask_for_no_more_than_they_need():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for file in sorted((ROOT / ".github/workflows").glob("*.yml")):
        text = file.read_text(encoding="utf-8")
        flow = yaml.safe_load(text)
        assert flow["permissions"] == {"contents": "read"}
        assert set(re.findall(r"run: make ([\w-]+)", text)) <= targets
        assert all("timeout-minutes" in job or "needs" in job for job in flow["jobs"].values())
