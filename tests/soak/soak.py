"""Train, kill, resume, evaluate, for hours: `python tests/soak/soak.py --hours 2 --out soak.jsonl`.

Each round trains digits by the real command under signals drawn at random (SIGKILL, also while a checkpoint is written,
SIGTERM, SIGINT, SIGUSR1) until it comes to its end, compares everything it left with an undisturbed run, and evaluates
it in this process, counting memory, open files and children. One line of JSON a round; the exit code is 1 if a run
came out different, a signal was not answered as documented, or anything was left behind.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from helpers.killing import command, digest, killed, start
from iaat.cli.main import main
from iaat.runtime.signals import STOPPED

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
RECIPES = (
    ("quickstart", "--train.ema", "0.9"),
    (
        "quickstart",
        "--method.inner",
        "nfgsm",
        "--method.guard_every",
        "2",
        "--data.stream",
        "true",
        "--data.workers",
        "1",
    ),
    ("quickstart-pgd-at", "--train.awp", "0.005"),
)
WINDOW = 3.0


def finish(words):
    """The command undisturbed."""
    process = start(words)
    _, text = process.communicate()
    if process.returncode:
        raise RuntimeError(text)


def expected(how, code):
    """Whether a process that was sent the signal `how` may end with `code`: it may have been done before."""
    return code in ((0, -signal.SIGKILL) if how == signal.SIGKILL else (0, STOPPED))


def torture(words, run, draw):
    """Kill and start again until the command comes to its end; the number of signals, and answers that are wrong."""
    sent, wrong = 0, []
    while True:
        how = draw.choice(SIGNALS)
        code, text, _ = killed(words, run, draw, while_writing=draw.random() < 0.3, window=WINDOW, how=how)
        # Ctrl-C while Python shuts down, with everything done, ends the process as it always has.
        late = code == -signal.SIGINT and (run / "pictures" / "extremes.png").exists() and not text
        if code == 0 or late:
            return sent, wrong
        sent += 1
        if not expected(how, code) or "Traceback" in text:
            wrong.append([how.name, code, text[-2000:]])


def resident_mb():
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def children():
    """Children of this process, and orphans of the runs that are still there."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes()
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == os.getpid() or (b"iaat.cli.main" in words and SCRATCH.encode() in words):
                found.append(int(folder.name))
    return found


def round_of(number, wholes, draw):
    """One round: what it came to."""
    recipe = RECIPES[number % len(RECIPES)]
    run = Path(SCRATCH) / f"run{number}"
    sent, wrong = torture(command(run, *recipe), run, draw)
    same = digest(run) == wholes[number % len(RECIPES)]
    evaluated = main(["evaluate", str(run), "--evaluate.n", "40", "--suite", "pgd-3", "--quiet"])
    left = [file.relative_to(run).as_posix() for file in run.rglob("*.tmp")]
    left += [file.relative_to(run).as_posix() for file in run.rglob("*.lock")]
    shutil.rmtree(run)
    gc.collect()
    time.sleep(6)  # workers of a killed process notice within 5 s
    return {
        "round": number, "recipe": " ".join(recipe), "signals": sent, "wrong": wrong, "same": same, "left": left,
        "evaluated": evaluated, "memory_mb": resident_mb(), "files": len(list(Path("/proc/self/fd").iterdir())),
        "processes": len(children()),
    }  # fmt: skip


def soak(hours, out):
    """Rounds until the time is over; whether all were well."""
    torch.set_num_threads(1)
    draw, begun, wholes = random.Random(0), time.monotonic(), []
    for number, recipe in enumerate(RECIPES):
        whole = Path(SCRATCH) / f"whole{number}"
        finish(command(whole, *recipe))
        wholes.append(digest(whole))
        shutil.rmtree(whole)
    well, number = True, 0
    while time.monotonic() - begun < 3600 * hours:
        record = round_of(number, wholes, draw)
        record["minutes"] = round((time.monotonic() - begun) / 60, 1)
        with out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        well &= record["same"] and not record["wrong"] and not record["left"] and record["evaluated"] == 0
        well &= record["processes"] == 0
        number += 1
    return well


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("soak.jsonl"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as SCRATCH:
        sys.exit(0 if soak(options.hours, options.out) else 1)
