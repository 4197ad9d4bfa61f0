"""Reliability of the checks for gradient masking: alarms on honest models, and planted defences that are found.

    python benchmarks/masking.py [--seed 0] [--n 200] [--only WORD]

Trains the thirty models of `tests/helpers/honest.py` on digits (some minutes on one core), and puts every defence of
`tests/helpers/planted.py` around a naturally trained model. Prints the verdict on each. Expected are no serious
finding on an honest model, and at least one on every defence; it exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from _measure import CONSOLE

from iaat.evaluate.masking import MaskingReport, masking_report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from helpers import honest, planted

QUERIES = 100
"""Of the Square attack; a tenth of what an evaluation uses."""


def main() -> None:
    """Run both halves and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the attacks")
    parser.add_argument("--n", type=int, default=200, help="test samples looked at")
    parser.add_argument("--only", default="", help="only models and defences with this in their name")
    given = parser.parse_args()
    torch.set_num_threads(1)
    alarms = [_alarm(name, spec, given) for name, spec in honest.HONEST.items() if given.only in name]
    caught = [_caught(name, given) for name in planted.DEFENCES if given.only in name]
    CONSOLE.print(f"serious alarms on {sum(alarms)} of {len(alarms)} honest models")
    CONSOLE.print(f"caught: {sum(caught)} of {len(caught)} defences")
    sys.exit(any(alarms) or not all(caught))


def _report(network: torch.nn.Module, classes: int, norm: str, given: argparse.Namespace) -> MaskingReport:
    x, y = honest.samples(classes)[1]
    radius = honest.L2 if norm == "l2" else honest.LINF
    settings = {"norm": norm, "classes": classes, "seed": given.seed, "queries": QUERIES}
    return masking_report(network, x[: given.n], y[: given.n], radius=radius, **settings)


def _alarm(name: str, spec: honest.Honest, given: argparse.Namespace) -> bool:
    found = _report(honest.made(spec), spec.classes, spec.norm, given)
    clean, worst = (100 * found.measures.get(key, 0.0) for key in ("clean", "worst"))
    CONSOLE.print(f"{name}: clean {clean:.1f} %, worst case {worst:.1f} %: {found.verdict}")
    return any(finding.serious for finding in found.findings)


def _caught(name: str, given: argparse.Namespace) -> bool:
    x, y = planted.digits()[0]
    torch.manual_seed(given.seed)
    networks = [planted.trained(network, x, y, seed=given.seed) for network in (planted.mlp(), planted.cnn())]
    found = _report(planted.defended(name, *networks), 10, "linf", given)
    CONSOLE.print(f"{name}: {found.verdict}")
    return any(finding.serious for finding in found.findings)


if __name__ == "__main__":
    main()
