"""Whole training runs of the CIFAR-10 testbed, several at once on one device: samples per second of each and of all.

    python benchmarks/many_runs.py [--width 16 64] [--at-once 1 8] [--device cuda] [--samples 12800] [--epochs 3]

Images are random numbers of CIFAR-10's shape. A run's speed is that of its last epoch, while the others run as well.
On a GPU small networks are bound by the host's launches, so that several runs together get more done than one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

TESTBED = Path(__file__).parents[1] / "docs/results/cifar10/testbed-iaat.yaml"


def main() -> None:
    """Measure every width with every number of runs at once."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder) / "data", options.samples)
        for width in options.width:
            for at_once in options.at_once:
                speeds = _run(Path(folder), width, at_once, options)
                print(
                    f"width {width}, {at_once} at once: {sum(speeds):,.0f} samples/s together, "
                    f"{min(speeds):,.0f} to {max(speeds):,.0f} each",
                    flush=True,
                )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[16])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=12_800)
    parser.add_argument("--epochs", type=int, default=3)
    return parser.parse_args()


def _write_images(folder: Path, samples: int) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("train", samples), ("test", 200)):
        for number in range(size):
            place = folder / name / str(number % 10)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{number}.bmp")


def _run(folder: Path, width: int, at_once: int, options: argparse.Namespace) -> list[float]:
    """Samples per second of the last epoch of each run."""
    runs = [folder / f"width{width}-{at_once}-{number}" for number in range(at_once)]
    command = [sys.executable, "-m", "iaat", "train", str(TESTBED), "--quiet"]
    settings = {
        "data.root": folder / "data",
        "model.width": width,
        "train.epochs": options.epochs,
        "train.device": options.device,
        "train.validation_n": 100,
        "evaluate.suite": "pgd-1",
        "evaluate.n": 100,
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    children = [
        subprocess.Popen(
            [*command, *words, "--out", str(run), "--seed", str(seed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, run in enumerate(runs)
    ]
    for child in children:
        _, errors = child.communicate()
        if child.returncode:
            sys.exit(errors)
    return [
        json.loads((run / "timings.jsonl").read_text(encoding="utf-8").splitlines()[-1])["samples_per_second"]
        for run in runs
    ]


if __name__ == "__main__":
    main()
