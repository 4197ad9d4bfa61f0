"""Draw the figures of docs/ideas.md anew.

    iaat train quickstart --out RUN
    python docs/pictures/ideas.py RUN OUT

`ideas-course.png` shows radii of that run; the others are drawings, or figures of docs/experiments.md and the cards.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from iaat.analysis import SCREEN
from iaat.analysis.style import INK, MUTED, PALETTE
from iaat.data import build_data
from iaat.runs.run_folder import RunFolder

CAP = 0.62
# Accuracy in % after each attack: docs/experiments.md, AutoAttack on PGD-AT and IAAT, means of three seeds.
ATTACKS = ("clean", "PGD-20", "PGD-50x5", "AutoAttack")
ACCURACY = {"PGD-AT": (41.2, 28.7, 28.6, 24.0), "IAAT, authors' rule": (57.3, 16.5, 16.2, 13.8)}
# Forwards and backwards of a training step with 10 attack steps: the cards, and benchmarks/results.
COSTS = {
    "natural": (1, 1),
    "N-FGSM": (2, 2),
    "IAAT, radii as trained": (7.5, 7.5),
    "PGD-AT": (11, 11),
    "TRADES": (13, 12),
    "IAAT as published": (34, 31),
}


def radius() -> Figure:
    """Points of two classes with one radius for all, and with a radius of each."""
    line = np.linspace(-0.5, 4.5, 400)
    boundary = np.stack([line, _boundary(line)], axis=1)
    points = _points()
    distances = np.linalg.norm(points[:, None] - boundary, axis=2).min(axis=1)
    figure = Figure(figsize=(SCREEN.page, 3.1), layout="constrained")
    for axes, title, radii in zip(
        figure.subplots(1, 2),
        ("one radius for all", "a radius for each"),
        (np.full(len(points), CAP), distances.clip(max=1.5 * CAP)),
        strict=True,
    ):
        axes.plot(*boundary.T, color=INK, linewidth=1.5)
        for point, own, free in zip(points, radii, distances, strict=True):
            color = PALETTE["blue"] if point[1] > _boundary(point[0]) else PALETTE["orange"]
            crosses = own > free + 1e-9
            axes.add_patch(Circle(tuple(point), own, facecolor=color, alpha=0.18))
            edge = PALETTE["vermillion"] if crosses else color
            axes.add_patch(Circle(tuple(point), own, fill=False, edgecolor=edge, linewidth=1.6 if crosses else 0.8))
            axes.plot(*point, "o", color=color, markersize=5)
        axes.set(title=title, xlim=(-0.3, 4.3), ylim=(-0.4, 3.1), aspect="equal", xticks=[], yticks=[])
        axes.grid(visible=False)
    return figure


def _boundary(x: np.ndarray) -> np.ndarray:
    return 1.35 + 0.45 * np.sin(1.7 * x)


def _points() -> np.ndarray:
    above = [[0.35, 2.55], [1.35, 2.4], [2.3, 2.3], [3.3, 2.35], [2.9, 1.3]]
    below = [[0.55, 0.65], [1.55, 0.4], [2.6, 0.3], [1.75, 1.35], [3.75, 0.45]]
    return np.array(above + below)


def course(folder: Path) -> Figure:
    """Radii of four images over the epochs: the largest, one in the middle, a small and the smallest."""
    run = RunFolder(folder)
    recipe = run.recipe()
    data = build_data(recipe.data, seed=recipe.seed)
    epochs = [record.epoch for record in run.metrics()]
    snapshots = [run.radii_after(epoch) for epoch in epochs]
    radii = 255 * np.stack([radius for _, radius in snapshots], axis=1)
    order = radii.mean(axis=1).argsort()
    chosen = order[[-1, len(order) // 2, len(order) // 10, 0]]
    figure = Figure(figsize=(SCREEN.page, 3.2), layout="constrained")
    grid = figure.add_gridspec(4, 2, width_ratios=(6, 1))
    axes = figure.add_subplot(grid[:, 0])
    (batch,) = data.train.batches([torch.from_numpy(snapshots[-1][0][chosen])])
    for place, (row, color) in enumerate(zip(chosen, PALETTE.values(), strict=False)):
        axes.plot(epochs, radii[row], color=color, marker="o")
        image = figure.add_subplot(grid[place, 1])
        image.imshow(batch.x[place, 0].numpy(), cmap="gray_r")
        _frame(image, color, f"label {data.classes[batch.y[place]]}")
    axes.set(xlabel="epoch", ylabel="radius (px)", title="radii of four digits")
    return figure


def _frame(axes: Axes, color: str, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=SCREEN.small)
    axes.spines[:].set(visible=True, color=color, linewidth=2.5)
    axes.grid(visible=False)


def cost() -> Figure:
    """Forwards and backwards of a training step."""
    figure = Figure(figsize=(SCREEN.page, 2.6), layout="constrained")
    axes = figure.subplots()
    names = list(COSTS)[::-1]
    for number, name in enumerate(names):
        forwards, backwards = COSTS[name]
        color = PALETTE["vermillion" if "IAAT" in name else "blue"]
        axes.barh(number, forwards, color=color, height=0.7)
        axes.barh(number, backwards, left=forwards, color=color, height=0.7, alpha=0.55)
        axes.text(forwards + backwards + 0.6, number, f"{forwards:g}F {backwards:g}B", va="center", color=INK)
    axes.set(
        yticks=range(len(names)),
        yticklabels=names,
        xlabel="passes of the model a sample and training step",
        xlim=(0, 73),
    )
    axes.grid(visible=False, axis="y")
    return figure


def worst_case() -> Figure:
    """Accuracy of two networks after each attack of an evaluation."""
    figure = Figure(figsize=(SCREEN.page, 2.7), layout="constrained")
    for axes, (name, accuracy) in zip(figure.subplots(1, 2, sharey=True), ACCURACY.items(), strict=True):
        bars = axes.bar(ATTACKS, accuracy, color=[MUTED, *3 * [PALETTE["blue"]]], width=0.65)
        axes.bar_label(bars, fmt="%.1f", padding=2)
        axes.set(title=name, ylim=(0, 65))
        axes.grid(visible=False, axis="x")
    figure.axes[0].set_ylabel("accuracy (%)")
    return figure


def draw(run: Path, out: Path) -> None:
    """Draw all figures."""
    with SCREEN.context():
        figures = {"radius.svg": radius(), "course.png": course(run), "cost.svg": cost(), "attacks.svg": worst_case()}
    for name, figure in figures.items():
        SCREEN.save(figure, out / f"ideas-{name}")


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:]))
