"""Build the documentation site: `make docs`.

What Zensical builds is staged: a copy of docs/, a page for each public function and class, a page of examples/, and the
notebooks as Markdown. Links that leave docs/ lead nowhere on a site, so that their text alone stays.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS, SOURCE, EXAMPLES = ROOT / "docs", ROOT / "src", ROOT / "examples"
LEFT_OUT = ("site", "*.py", "*.parquet", "*.jsonl", "*.safetensors", "__pycache__")
# Names of modules without `__all__` that the documents use.
FURTHER = {
    "iaat.types": ["Batch", "StepOutput"],
    "iaat.config.load_recipe": ["load_recipe"],
    "iaat.experiments.run_recipe": ["run_recipe"],
    "iaat.report.suspects": ["find_suspects"],
    "iaat.runs.load_model": ["load_model"],
    "iaat.runs.run_folder": ["RunFolder"],
    "iaat.runs.run_paths": ["RunPaths"],
    "iaat.runtime.progress": ["Reporter"],
}


@cache
def tree(module: str) -> ast.Module:
    """Syntax tree of a module or package."""
    path = SOURCE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def public_names(package: str) -> list[str]:
    """Names in the `__all__` of a package."""
    for node in tree(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def public() -> dict[str, list[str]]:
    """Public names by package, `iaat` first."""
    packages = ["iaat", *(f"iaat.{path.parent.name}" for path in sorted((SOURCE / "iaat").glob("*/__init__.py")))]
    return {package: names for package in packages if (names := public_names(package))} | FURTHER


def home(package: str, name: str) -> str:
    """Dotted path at which a name of a package is defined, such as `iaat.attacks.pgd.pgd`."""
    for node in ast.walk(tree(package)):
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            return home(node.module, name) if node.module.startswith("iaat") else f"{node.module}.{name}"
    return f"{package}.{name}"


def definition(path: str) -> tuple[ast.stmt, str]:
    """Statement that defines the name of a dotted path, and its docstring."""
    module, _, name = path.rpartition(".")
    body = tree(module).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in map(ast.unparse, targets):
                text = following.value if isinstance(following, ast.Expr) else None
                return node, str(text.value) if isinstance(text, ast.Constant) else ""
    raise LookupError(f"{path} is not defined there")


def write_api(out: Path) -> dict[str, str]:
    """Write a page for each public name, an overview for each package, and the navigation of all.

    Returns:
        The file of each page in `out`, by the name's dotted paths, and by class names alone.
    """
    links: dict[str, str] = {}
    pages: dict[str, str] = {}  # file by home; a name of two packages has its page in the first
    nav, overview = [], ["# API", "", "Every public name has a page. Import it from the package that lists it.", ""]
    for package, names in public().items():
        folder = out / package
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        nav.append(f"- [{package}]({package}/README.md)")
        for name in (each for each in names if not each.startswith("_")):
            path = home(package, name)
            _, text = definition(path)
            if path not in pages:
                pages[path] = f"{package}/{name}.md"
                (out / pages[path]).write_text(page(package, name, path), encoding="utf-8")
                nav.append(f"    - [{name}]({pages[path]})")
            links[f"{package}.{name}"] = pages[path]
            if name[0].isupper() and not name.isupper():
                links[name] = pages[path]
            rows.append(f"| [`{name}`](../{pages[path]}) | {first_sentence(text)} |")
        about = ast.get_docstring(tree(package)) or ""
        table = "\n".join(["| name | what it is |", "|---|---|", *rows])
        (folder / "README.md").write_text(f"# {package}\n\n{about}\n\n{table}\n", encoding="utf-8")
        overview.append(f"- [`{package}`]({package}/README.md): {first_sentence(about)}")
    (out / "README.md").write_text("\n".join(overview) + "\n", encoding="utf-8")
    (out / "SUMMARY.md").write_text("\n".join(["- [API](README.md)", *nav]) + "\n", encoding="utf-8")
    return links


def page(package: str, name: str, path: str) -> str:
    """Markdown of the page of one public name."""
    return f"---\ntitle: {name}\n---\n\n::: {path}\n\n```python\nfrom {package} import {name}\n```\n"


def first_sentence(text: str) -> str:
    """First sentence of a docstring, on one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s(?=[A-Z`])", paragraph, maxsplit=1)[0].replace("|", "\\|")


def stage(out: Path) -> None:
    """Write all that the site is built of into a folder that is made anew."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(DOCS, out, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(DOCS / "site" / "site.css", out)
    documents = list(out.rglob("*.md"))
    pages = write_api(out / "api")
    for file in documents:
        place = file.relative_to(out)
        text = without_outer_links(file.read_text(encoding="utf-8"), place)
        file.write_text(with_api_links(text, place, pages), encoding="utf-8")
    write_examples(out / "examples.md")


def write_examples(file: Path) -> None:
    """Write one page of the table of examples and of their code."""
    parts = [re.sub(r"\]\((\w+)\.py\)", r"](#\1)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))]
    for example in sorted(EXAMPLES.glob("*.py")):
        code = example.read_text(encoding="utf-8")
        parts.append(f"## {example.name} {{ #{example.stem} }}\n\n```python\n{code}```\n")
    file.write_text("\n".join(parts), encoding="utf-8")


def write_notebooks(out: Path) -> None:
    """Write the notebooks as Markdown with their stored outputs; nothing is executed."""
    from nbconvert import MarkdownExporter

    for file in sorted((out / "notebooks").glob("*.ipynb")):
        text, resources = MarkdownExporter().from_filename(str(file), {"output_files_dir": file.stem})
        text = re.sub(r"\x1b\[[\d;]*m", "", text)  # bold text of a terminal
        # The site's own style of tables takes the place of pandas'.
        text = re.sub(r"<style scoped>.*?</style>\n", "", text, flags=re.DOTALL)
        text = text.replace(' border="1" class="dataframe"', "")
        file.with_suffix(".md").write_text(text.replace(".ipynb)", ".md)"), encoding="utf-8")
        for name, content in resources["outputs"].items():
            picture = out / "notebooks" / name
            picture.parent.mkdir(exist_ok=True)
            picture.write_bytes(content)


def without_outer_links(text: str, file: Path) -> str:
    """Markdown with links to examples led to their page, and others that leave docs/, or no pages, replaced by text."""

    def replace(link: re.Match[str]) -> str:
        target = (DOCS / file.parent / link["target"]).resolve()
        if target.is_relative_to(EXAMPLES):
            anchor = f"#{target.stem}" if target.suffix == ".py" else ""
            return f"[{link['text']}]({'../' * len(file.parent.parts)}examples.md{anchor})"
        inside = target.is_relative_to(DOCS) and target.suffix in {".md", ".html", ".png", ".svg", ".ipynb"}
        return link[0].replace(".ipynb", ".md") if inside or not target.exists() else link["text"]

    return re.sub(r"(?<!!)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<target>[^)#\s]+)(?:#[^)]*)?\)", replace, text)


def with_api_links(text: str, file: Path, pages: dict[str, str]) -> str:
    """Markdown in which public names, as `iaat.pgd` or `RadiusMemory`, lead to their pages of the API."""
    root = "../" * len(file.parent.parts)

    def replace(code: re.Match[str]) -> str:
        page = pages.get(code["name"])
        return f"[{code[0]}]({root}api/{page})" if page else code[0]

    blocks = re.split(r"(^ *```.*?^ *```$|^#[^\n]*$)", text, flags=re.DOTALL | re.MULTILINE)
    names = re.compile(r"(?<![\[`])`(?P<name>[\w.]+)(?:\([^`]*\))?`(?!`)")
    return "".join(names.sub(replace, block) if place % 2 == 0 else block for place, block in enumerate(blocks))


def build() -> int:
    """Build the site from what is staged; 1 after any warning, which Zensical's strict mode does not all see."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    return done.returncode or int(bool(re.search(r"^(griffe|warning)\b", done.stdout, re.IGNORECASE | re.MULTILINE)))


if __name__ == "__main__":
    stage(ROOT / ".site")
    write_notebooks(ROOT / ".site")
    sys.exit(build())
