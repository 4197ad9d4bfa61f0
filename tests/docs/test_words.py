"""Words that the project has given up for those of its field stay out of code, tests and documents."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RETIRED = re.compile(r"\b(judg(e[sd]?|ing)|told|fool(s|ed)?|climb(ed|s)?|whose)\b", re.IGNORECASE)
TEXTS = {".py", ".md", ".js", ".css", ".html", ".j2", ".yaml", ".toml"}
# A log and a changelog say what was said at the time.
LOGS = {"docs/experiments.md"}


def texts():
    for place in ("src", "docs", "examples", "tests", "benchmarks", "README.md", "CONTRIBUTING.md"):
        for path in [ROOT / place, *(ROOT / place).rglob("*")]:
            if "vendor" in path.parts or path.name == "example.html":  # code of others
                continue
            if path.is_file() and path.suffix in TEXTS and path.relative_to(ROOT).as_posix() not in LOGS:
                yield path


def test_retired_words_stay_out():
    """Neither as words nor as parts of names."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if RETIRED.search(line.replace("_", " "))
    ]
    assert found == []
