"""The site has a page for every public name and for every document; its generator is not needed here."""

import re
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules

import pytest
import yaml

import iaat

ROOT = Path(__file__).parents[2]
SPEC = spec_from_file_location("build_site", ROOT / "docs/site/build.py")
BUILD = module_from_spec(SPEC)
SPEC.loader.exec_module(BUILD)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    BUILD.stage(folder)
    return folder


def public_names():
    """Package and name of all that packages export, by import."""
    packages = ["iaat", *(f"iaat.{module.name}" for module in iter_modules(iaat.__path__) if module.ispkg)]
    for package in packages:
        for name in getattr(import_module(package), "__all__", ()):
            if not name.startswith("_"):
                yield package, name


def documented(api):
    """Dotted paths that a page documents, with its file."""
    pages = {page: page.read_text(encoding="utf-8") for page in api.rglob("*.md")}
    return {path: page for page, text in pages.items() for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}


def test_every_public_name_has_a_page_that_its_package_lists(staged):
    pages = documented(staged / "api")
    for package, name in public_names():
        page = pages[BUILD.home(package, name)]
        listed = (staged / "api" / package / "README.md").read_text(encoding="utf-8")
        assert f"[`{name}`](../{page.parent.name}/{page.name})" in listed
    assert "iaat.attacks.pgd.pgd" in pages


def test_every_page_documents_something(staged):
    assert [path for path in documented(staged / "api") if not BUILD.definition(path)[1]] == []


def test_every_name_that_documents_import_has_a_page(staged):
    pages = documented(staged / "api")
    texts = [
        file.read_text(encoding="utf-8")
        for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.py")]
    ]
    imports = re.findall(r"^ *from (iaat[\w.]*) import ([\w, ]+)", "\n".join(texts), re.MULTILINE)
    used = {BUILD.home(package, name.strip()) for package, names in imports for name in names.split(",")}
    assert used - set(pages) == set()


def test_the_navigation_has_every_document(staged):
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w./-]+\.md", str(yaml.safe_load(config)["nav"])))
    notebooks = (file.with_suffix(".md") for file in staged.rglob("*.ipynb"))
    pages = {file.relative_to(staged).as_posix() for file in [*staged.rglob("*.md"), *notebooks]}
    assert named == {page for page in pages if not page.startswith("api/")}


def test_links_lead_to_pages_of_the_site(staged):
    for page in staged.rglob("*.md"):
        for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            places = (page.parent / link, (page.parent / link).with_suffix(".ipynb"))
            assert any(place.is_file() for place in places), f"{page.relative_to(staged)}: {link}"


def test_lists_begin_after_a_blank_line(staged):
    """Elsewhere a list directly below a paragraph is one; for the site's Markdown it is the paragraph's text."""
    for page in staged.rglob("*.md"):
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        found = re.findall(r"^(?!#|-|\d+\. | )[^\n]+\n(?:-|\d+\.) [^\n]*", prose, re.MULTILINE)
        assert found == [], page
