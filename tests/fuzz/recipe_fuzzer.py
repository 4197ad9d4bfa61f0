"""Coverage-guided fuzzing of everything that reads recipes: `python tests/fuzz/recipe_fuzzer.py -runs=N CORPUS`.

Options are libFuzzer's. The corpus folder gets the seeds of `recipe_cases`; a case that fails is left in the working
directory as `crash-...`, and given as the only argument it is run again.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(
    include=[
        "iaat.config.load_recipe",
        "iaat.config.recipe",
        "iaat.config.recipe_files",
        "iaat.config.safe_yaml",
        "iaat.experiments.sweep",
        "iaat.units",
        "yaml",
    ]
):
    import yaml  # noqa: F401 - first, so that it is instrumented

    from fuzz.recipe_cases import dictionary, run_bytes, seeds


def main() -> None:
    """Run until libFuzzer has enough, or a case fails."""
    for corpus in (Path(word) for word in sys.argv[1:] if not word.startswith("-")):
        if not corpus.is_file():
            corpus.mkdir(parents=True, exist_ok=True)
            for number, seed in enumerate(seeds()):
                (corpus / f"seed-{number:03d}").write_bytes(seed)
    with tempfile.TemporaryDirectory() as scratch:
        words = Path(scratch) / "words.dict"
        words.write_text(dictionary(), encoding="utf-8")
        options = [f"-dict={words}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:]], lambda case: _one(case, Path(scratch)))
        atheris.Fuzz()


def _one(case: bytes, scratch: Path) -> None:
    run_bytes(case, scratch)


if __name__ == "__main__":
    main()
