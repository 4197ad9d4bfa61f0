"""Print the test files of what changed since a commit: `python tests/changed.py [COMMIT]`, by default main.

A changed test file runs itself. A changed module runs the test file of its name; where there is none, those of its
folder that import it. Any other file runs the tests that name it and those of its folder, a document those of all.
"""

import subprocess
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALWAYS = ("tests/test_layers.py", "tests/docs/test_words.py", "tests/docs/test_paths.py")
OF_FOLDERS = {
    "src/iaat/recipes": ("tests/config/test_recipe.py", "tests/docs/test_commands.py"),
    "src/iaat/report/static": ("tests/report/test_page.py", "tests/report/test_browser.py"),
    "docs/pictures": ("tests/docs/test_pictures.py",),
    "docs/results": ("tests/docs/test_pictures.py", "tests/evaluate/test_results.py"),
    "docs": ("tests/docs/test_site.py",),
    "examples": ("tests/examples/test_examples.py", "tests/docs/test_site.py"),
}
DOCUMENTS = ("tests/docs/test_commands.py", "tests/docs/test_site.py")


def changed(since: str) -> list[str]:
    """Paths that differ from the commit, new files included; deleted ones are left out."""
    listed = (["diff", "--name-only", since], ["ls-files", "--others", "--exclude-standard"])
    return [path for words in listed for path in git(*words).splitlines() if (ROOT / path).is_file()]


def git(*words: str) -> str:
    """What git prints, run in the repository."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def chosen_by(path: str) -> list[str]:
    """The test files that a changed file runs; a helper of tests runs none, `make test` does."""
    file = Path(path)
    if file.match("test_*.py"):
        return [path]
    if file.parts[0] == "tests":
        return []
    if file.suffix != ".py" or file.parts[:2] != ("src", "iaat"):
        near = [tests for folder, tests in OF_FOLDERS.items() if file.is_relative_to(folder)]
        near += [DOCUMENTS] * (file.suffix == ".md")
        return sorted({*_naming(file.name, Path(ROOT, "tests").rglob("test_*.py")), *chain.from_iterable(near)})
    folder = Path(ROOT, "tests", *file.parts[2:-1])
    named = sorted(folder.rglob(f"test_{file.stem}.py"))
    module = ".".join(file.with_suffix("").parts[1:]).removesuffix(".__init__")
    return [_relative(test) for test in named] or _naming(module, sorted(folder.glob("test_*.py")))


def _naming(text: str, tests: Iterable[Path]) -> list[str]:
    return [_relative(test) for test in tests if text in test.read_text(encoding="utf-8")]


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def start() -> str:
    """The commit where main forked; the last one where there is no such branch."""
    try:
        return git("merge-base", "HEAD", "main").strip()
    except subprocess.CalledProcessError:
        return "HEAD"


if __name__ == "__main__":
    since = sys.argv[1] if len(sys.argv) > 1 else start()
    print(*sorted({*ALWAYS, *(test for path in changed(since) for test in chosen_by(path))}))
