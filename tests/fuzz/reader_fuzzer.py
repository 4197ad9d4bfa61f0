"""Read mutated files of models, checkpoints, radii, logs: `python tests/fuzz/reader_fuzzer.py --cases 20000 --seed 1`.

Every case is read, or refused by a `UserError` of one line; all that is neither is printed with the number of its case,
and `--only NUMBER` runs that one again.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.guard import ForbiddenEffectError
from fuzz.reader_cases import HangError, Readers


def run_case(readers: Readers, seed: int, number: int) -> tuple[str, bool]:
    """The name of the file that case `number` mutates, and whether it was refused."""
    draw = random.Random(f"{seed}-{number}")
    name = draw.choice([*sorted(readers.readers), *["last.pt"] * 4])  # which has the most parts
    return name, readers.case(name, draw)


def main() -> int:
    """Run the cases; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    begun, refused, read, failed = time.perf_counter(), Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        readers = Readers(Path(folder))
        numbers = range(options.cases) if options.only is None else [options.only]
        for number in numbers:
            try:
                name, was_refused = run_case(readers, options.seed, number)
                (refused if was_refused else read)[name] += 1
            except (Exception, ForbiddenEffectError, HangError):
                failed += 1
                print(f"case {number}:", traceback.format_exc(), sep="\n", flush=True)
    for name in sorted(readers.readers):
        print(f"{name:20} {refused[name]:6} refused {read[name]:6} read")
    seconds = time.perf_counter() - begun
    print(f"{len(numbers)} cases, seed {options.seed}: {failed} failures, {seconds:.0f} s")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
