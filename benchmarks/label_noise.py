"""How well radii find label errors: known errors are put into clean labels, and every ranking has to find them.

    python benchmarks/label_noise.py digits --out RUNS [--noise symmetric-10 pair-10] [--seeds 0 1 2]
    python benchmarks/label_noise.py cifar10 --data.root DIR --out RUNS

Trains the shipped recipes on the wrong labels, IAAT and natural; and natural ones on parts of the data (`--folds`), for
probabilities of images that a model has not seen, which is how cleanlab wants them. What is finished in RUNS is read.
Figures are of the samples trained on: area under the ROC curve, and how many of the first k are wrong where k are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from _measure import CONSOLE, NOT_INSTALLED, RESULTS, Goal, Report, Spread, hardware_line, write_results
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import TensorDataset

from iaat.config.differences import recipe_differences
from iaat.config.load_recipe import load_recipe
from iaat.data import DataSplits, sequential_order
from iaat.data.data_config import DataConfig
from iaat.data.read_splits import read_splits
from iaat.data.stratified import stratified_subset
from iaat.errors import UserError
from iaat.evaluate.evaluate_run import load_evaluated
from iaat.evaluate.training_predictions import class_probabilities, last_model
from iaat.report.suspects import SUSPECT_KINDS, find_suspects
from iaat.report.suspicion_scores import combined_score, radius_score, self_confidence_score
from iaat.runs.run_folder import RunFolder
from iaat.runtime import rng
from iaat.runtime.progress import Reporter
from iaat.runtime.user_code import trust
from iaat.train import train

NOISES = ("symmetric-5", "symmetric-10", "symmetric-20", "pair-10")
CHOSEN_ON = ("symmetric-10", 0)
"""Noise and seed of the runs, one a data set, on which the scores were chosen: they count for no mean."""
COMBINED = "combination"
TEST_LIMIT = 500
"""Test images: nothing here is asked of them, but every run has some."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A data set and how models are trained on it."""

    iaat: str
    natural: str
    limit: int
    settings: tuple[str, ...] = ()


SETTINGS = {
    "digits": Setting("quickstart", "quickstart-natural", 1437),
    "cifar10": Setting(
        *("cifar10-small-iaat", "cifar10-small-natural", 5000, ("--train.epochs", "12", "--train.validation_n", "100")),
    ),
}


class NoisySamples(TensorDataset):
    """Images with labels of which some are wrong."""

    def __init__(self, x: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
        super().__init__(x, labels)
        self.targets, self.classes = labels, tuple(classes)


def noisy(
    split: str, source: str, root: str | None, limit: int, noise: str, seed: int, fold: int = 0, folds: int = 0
) -> NoisySamples:
    """The data set of a run: `data.name label_noise:noisy`.

    With `folds`, the training set is all but one of so many equal parts and the test set is that part.
    """
    x, clean, classes = _samples(source, root, limit, split == "train" or folds > 0)
    if split == "test" and not folds:
        return NoisySamples(x, clean, classes)
    labels = flipped(clean, len(classes), noise, seed)
    if folds:
        inside = part_of(len(labels), folds) == fold
        chosen = inside if split == "test" else ~inside
        x, labels = x[chosen], labels[chosen]
    return NoisySamples(x, labels, classes)


@cache
def _samples(source: str, root: str | None, limit: int, training: bool) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    split = read_splits(DataConfig(name=source, root=root))[0 if training else 1]
    index = stratified_subset(split.labels, limit if training else TEST_LIMIT, seed=0, at_least=2)
    return split.load(index), split.labels[index], split.classes


def flipped(clean: Tensor, classes: int, noise: str, seed: int) -> Tensor:
    """Labels `[n]` with a fraction of wrong ones.

    Args:
        clean: The clean labels `[n]`, int64.
        classes: Number of classes.
        noise: `symmetric-P`: exactly P % of the labels become another class, all equally likely; `pair-P`: the next
            class, the first after the last.
        seed: Decides which, and what they become.
    """
    kind, percent = noise.split("-")
    draw = rng.generator(seed, "label noise", noise)
    chosen = torch.randperm(len(clean), generator=draw)[: round(len(clean) * int(percent) / 100)]
    step = torch.randint(1, classes, (len(chosen),), generator=draw) if kind == "symmetric" else 1
    labels = clean.clone()
    labels[chosen] = (clean[chosen] + step) % classes
    return labels


def part_of(count: int, folds: int) -> Tensor:
    """Which of `folds` equal parts each sample is in, `[count]`."""
    return rng.permutation(count, seed=0, epoch=folds) % folds


@dataclass(frozen=True, slots=True)
class Cell:
    """One data set with one draw of wrong labels."""

    source: str
    root: str | None
    noise: str
    seed: int
    out: Path
    more: tuple[str, ...]

    def trained(self, what: str, reporter: Reporter, fold: int = 0, folds: int = 0) -> tuple[RunFolder, DataSplits]:
        """The run of `what`, "iaat" or "natural", trained unless it is there."""
        setting = SETTINGS[self.source]
        options = {
            **{"source": self.source, "root": self.root, "limit": setting.limit, "noise": self.noise},
            **{"seed": self.seed, "fold": fold, "folds": folds},
        }
        recipe = load_recipe(
            setting.iaat if what == "iaat" else setting.natural,
            [
                *("--seed", str(self.seed), "--data.name", "label_noise:noisy", "--data.options", json.dumps(options)),
                *("--data.limit", "null", *setting.settings, *self.more),
            ],
        )
        name = f"{self.source}-{self.noise}-seed{self.seed}-{what}" + (f"-part{fold}of{folds}" if folds else "")
        run = RunFolder(self.out / name)
        if run.has_results() and (changed := recipe_differences(run.recipe(), recipe)):
            raise UserError(f"{run.path} was trained otherwise: {'; '.join(changed)}: give another --out")
        return run, train(recipe, run, reporter, resume=True)


Scores = dict[str, NDArray[np.float64]]


def scores_of(cell: Cell, reporter: Reporter, *, natural: bool, folds: int) -> dict[str, Any]:
    """What a cell is, and how well every ranking finds its wrong labels."""
    run, data = cell.trained("iaat", reporter)
    index, history = run.radius_history()
    labels = data.train.labels.numpy()[index]
    setting = SETTINGS[cell.source]
    wrong = labels != _samples(cell.source, cell.root, setting.limit, True)[1].numpy()[index]
    probabilities = _probabilities(run, data, index, reporter)
    suspects = find_suspects(history, labels, probabilities, index=index)
    scores = {
        **_radius_scores(history, labels),
        **_cleanlab(labels, probabilities, "same outputs"),
        COMBINED: suspects.score,
    }
    seen, unseen = {}, {}
    if natural:
        run, data = cell.trained("natural", reporter)
        seen = {"natural training": _probabilities(run, data, index, reporter)}
    if folds:
        unseen = {f"natural, {folds} folds": _unseen(cell, folds, reporter)[index]}
    for name, found in {**seen, **unseen}.items():
        scores |= _cleanlab(labels, found, name)
        scores[f"{COMBINED}, {name}"] = combined_score(suspects.radius_score, self_confidence_score(found, labels))
    kinds = {kind: suspects.kind == kind for kind in SUSPECT_KINDS}
    facts = {
        **{"data": cell.source, "noise": cell.noise, "seed": cell.seed, "samples": len(index)},
        **{"wrong": int(wrong.sum()), "chosen on": (cell.noise, cell.seed) == CHOSEN_ON},
        "correct on the clean labels": float((probabilities.argmax(axis=1) == labels)[~wrong].mean()),
        "wrong labels fitted": float((probabilities.argmax(axis=1) == labels)[wrong].mean()),
        "kinds": {kind: {"samples": int(mine.sum()), "wrong": int(wrong[mine].sum())} for kind, mine in kinds.items()},
    }
    facts["auroc"] = {name: float(roc_auc_score(wrong, score)) for name, score in scores.items()}
    facts["precision"] = {name: first_wrong(score, wrong) for name, score in scores.items()}
    return facts


def _probabilities(
    run: RunFolder, data: DataSplits, index: NDArray[np.int64], reporter: Reporter
) -> NDArray[np.float64]:
    """Class probabilities `[n, C]` of training samples by the last model of a run."""
    recipe = run.recipe()
    model = last_model(run, recipe, data)
    return class_probabilities(model, data.train, index, recipe.evaluate.batch_size, reporter)


def first_wrong(score: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """Fraction of wrong labels among the k highest scores, where k are wrong; of equal scores, that of all of them."""
    count = int(wrong.sum())
    bound = np.sort(score)[-count]
    above, equal = score > bound, score == bound
    return float((wrong[above].sum() + (count - above.sum()) * wrong[equal].mean()) / count)


def _radius_scores(history: NDArray[np.float32], labels: NDArray[np.int64]) -> Scores:
    """The radius score, and what else could be made of radii."""
    in_class = np.stack([radius_score(row[None], labels) for row in history])
    grew = (np.diff(history, axis=0) > 0).mean(axis=0)
    return {
        "radius": radius_score(history, labels),
        "last radius": -history[-1].astype(np.float64),
        "last radius in its class": in_class[-1],
        "mean rank in its class": in_class.mean(axis=0),
        "the same, first half": in_class[: len(history) // 2].mean(axis=0),
        "mean radius": -history.mean(axis=0, dtype=np.float64),
        "epochs it grew": -grew,
    }


def _cleanlab(labels: NDArray[np.int64], probabilities: NDArray[np.float64], what: str) -> Scores:
    """cleanlab's two rankings, and its confident joint: what that calls wrong first, each part by normalized margin."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    scores = {
        f"cleanlab {method}, {what}": 1 - get_label_quality_scores(labels, probabilities, method=method)
        for method in ("self_confidence", "normalized_margin")
    }
    issues = find_label_issues(labels, probabilities, n_jobs=1)
    return {
        **scores,
        f"cleanlab confident joint, {what}": issues + scores[f"cleanlab normalized_margin, {what}"],
    }


def _unseen(cell: Cell, folds: int, reporter: Reporter) -> NDArray[np.float64]:
    """Class probabilities of all samples, each by a model that was not trained on it."""
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    part = part_of(SETTINGS[cell.source].limit, folds)
    for fold in range(folds):
        run, data = cell.trained("natural", reporter, fold, folds)
        model = load_evaluated(run, run.recipe(), "last", data).model
        batches = data.test.batches(sequential_order(torch.arange(len(data.test)), 500))
        with torch.no_grad():
            parts = [model(batch.x).double().softmax(dim=1).cpu() for batch in batches]
        found.append(((part == fold).nonzero()[:, 0].numpy(), torch.cat(parts).numpy()))
    order = np.argsort(np.concatenate([index for index, _ in found]))
    return np.concatenate([probabilities for _, probabilities in found])[order]


def means(rows: Sequence[Mapping[str, Any]], figure: str, name: str) -> str:
    """Mean and standard deviation of a figure over runs, in %."""
    values = [100 * row[figure][name] for row in rows if name in row[figure]]
    digits = 2 if figure == "auroc" else 1
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}" if values else ""


def tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[Report]:
    """A table for each figure, a column for each noise."""
    counted = [row for row in rows if not row["chosen on"]]
    noises = list(dict.fromkeys(row["noise"] for row in counted))
    names = list(dict.fromkeys(name for row in counted for name in row["auroc"]))
    for figure, title in (("auroc", "AUROC in %"), ("precision", "wrong ones among the first k, of k wrong, in %")):
        report = Report(f"{title}; {hardware_line()}", ("ranking", *noises), left=("ranking",))
        for name in names:
            cells = [means([row for row in counted if row["noise"] == noise], figure, name) for noise in noises]
            report.rows.append([name, *cells])
        yield report
    report = Report("kinds: samples, and % of wrong labels among them", ("kind", *noises), left=("kind",))
    for kind in SUSPECT_KINDS:
        found = [_kind(kind, [row for row in counted if row["noise"] == noise]) for noise in noises]
        report.rows.append([kind, *found])
    yield report


def _kind(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    samples, wrong = (fmean(row["kinds"][kind][what] for row in rows) for what in ("samples", "wrong"))
    return f"{samples:.0f}, {100 * wrong / max(samples, 1):.0f}"


def goals(rows: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """Differences of AUROC within a run, as quartiles over runs: the combination less each ranking of cleanlab."""
    counted = [row for row in rows if not row["chosen on"]]
    names = [name for name in counted[0]["auroc"] if name.startswith("cleanlab")] if counted else []
    return [
        Goal(
            f"points of AUROC, {COMBINED} less {name}",
            Spread.of([100 * (row["auroc"][COMBINED] - row["auroc"][name]) for row in counted]),
            at_least=0,
        )
        for name in names
    ]


def main() -> None:
    """Train what is missing, rank, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=SETTINGS)
    parser.add_argument("--data.root", dest="root", help="folder of the data set, where it has one")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--noise", nargs="+", default=NOISES, help="KIND-PERCENT, symmetric or pair (default all four)")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--natural", action="store_true", help="naturally trained models, too")
    parser.add_argument(
        "--folds", type=int, default=0, help="parts of the natural ones that see no sample they evaluate"
    )
    parser.add_argument("--threads", type=int, help="threads of PyTorch; its own choice by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file (default %(default)s)")
    options, more = parser.parse_known_args()
    if find_spec("cleanlab") is None:
        parser.error(f"cleanlab is {NOT_INSTALLED}")
    if options.threads:
        torch.set_num_threads(options.threads)
    trust("label_noise")
    rows = []
    for noise in options.noise:
        for seed in options.seeds:
            cell = Cell(options.source, options.root, noise, seed, options.out, tuple(more))
            rows.append(scores_of(cell, Reporter(quiet=True), natural=options.natural, folds=options.folds))
            CONSOLE.print(f"{noise}, seed {seed}: done", highlight=False)
    for report in tables(rows):
        report.show()
    reached = goals(rows)
    for goal in reached:
        CONSOLE.print(str(goal), highlight=False, markup=False, soft_wrap=True)
    config = {**vars(options), "root": None, "out": None, "results": None, "settings": more}
    config |= {"setting": dataclasses.asdict(SETTINGS[options.source])}
    part = () if tuple(options.noise) == NOISES else options.noise
    what, packages = "-".join(("label-noise", options.source, *part)), ("cleanlab", "scikit-learn", "numpy")
    path = write_results(what, config, rows, goals=reached, packages=packages, folder=options.results)
    CONSOLE.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    main()
