"""Files that documents name are there."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "examples/README.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "experiments.md"),
]
PACKAGES = [path.name for path in (ROOT / "src/iaat").iterdir() if path.is_dir() and path.name != "__pycache__"]
# Paths of the repository, and of src/iaat by the name of their package.
FOLDERS = "|".join(["tests", "benchmarks", "docs", "examples", "src", *PACKAGES])
NAMED = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/[\w/.-]*\.py)\b")


def ids(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_files_named_exist(document):
    named = set(NAMED.findall(document.read_text(encoding="utf-8")))
    places = (ROOT, ROOT / "src/iaat")
    assert [name for name in sorted(named) if not any((place / name).is_file() for place in places)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_targets_and_extras_named_exist(document):
    text = document.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)) <= targets
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"(?:iaat|\.)\[([a-z]+)\]", text)) <= set(extras)


CARDS = [path for path in DOCUMENTS if path.parent.name == "methods" and path.name != "README.md"]


@pytest.mark.parametrize("card", CARDS, ids=ids)
def test_sources_of_a_method_exist(card):
    """Files after the first of a line `Source: ...` are named without their folder, src/iaat/methods."""
    sources = re.findall(r"^Source: (.*)", card.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {name for line in sources for name in re.findall(r"`(\w+\.py)`", line)}
    assert [name for name in sorted(named) if not (ROOT / "src/iaat/methods" / name).is_file()] == []
