"""Model card of a run: what the model is, its evaluations, what they mean, and how it was made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from iaat.config.safe_yaml import dump_yaml
from iaat.corruptions.mce import corruption_mean
from iaat.evaluate.findings import UNCHECKED
from iaat.evaluate.naming import attack_title, worst_case_name
from iaat.evaluate.results import CLEAN, WORST, CleanAccuracy, EvaluationResult
from iaat.evaluate.results_table import more_are_clean, with_worst
from iaat.evaluate.stored_results import results_of
from iaat.export.exportable import Exportable
from iaat.export.loading import loading_of
from iaat.methods.registry import find_method
from iaat.models import count_parameters
from iaat.runs.exported_weights import ExportRecord
from iaat.runs.run_folder import RunFolder
from iaat.runtime.files import encodable
from iaat.runtime.text import format_duration, markdown
from iaat.units import PX_PER_UNIT, format_norm, format_radius

_SHOWN_CLASSES = 20


def model_card(exported: Exportable, timm: str | None) -> str:
    """The card of a model in Markdown, with the head that the Hugging Face hub reads.

    Args:
        exported: The model.
        timm: Its name in timm, if it is one of timm's.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # only this format needs it

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(text=markdown, percent=_percent)
    rows = evaluations(exported)
    card = environment.get_template("model_card.md.j2").render(
        head=yaml.safe_dump(_head(exported, rows, timm), sort_keys=False, allow_unicode=True),
        record=exported.record,
        recipe=exported.model.recipe,
        data=_data_name(exported),
        parameters=count_parameters(exported.model),
        shown_classes=_SHOWN_CLASSES,
        timm=timm,
        parts=[_part(row) for row in rows],
        loading=(loading := loading_of(exported.record.recipe)),
        trust="".join(f" --trust {module}" for module in loading.modules),
        with_run=exported.run is not None,
        screened=any("screening" in row.attacks for row in rows),
        facts=list(_facts(exported)),
        needs_root=exported.record.recipe["data"].get("root") is not None,
        yaml=dump_yaml(exported.record.recipe),
    )
    return encodable(card)


def evaluations(exported: Exportable) -> list[EvaluationResult]:
    """The finished evaluations of these very weights in their run, those with the most attacks first."""
    if exported.run is None:
        return []
    digest, record = exported.digest, exported.record

    def is_of_these(row: EvaluationResult) -> bool:
        if row.digests is not None:
            return row.digests.model == digest
        return (row.checkpoint, row.epoch) == (record.checkpoint, record.epoch) and row.weights != "raw"

    found = {repr((row.attack, row.n)): row for row in results_of(exported.run) if is_of_these(row)}
    return sorted(found.values(), key=lambda row: ("autoattack" in row.attacks, len(row.attacks), row.n), reverse=True)


def _part(row: EvaluationResult) -> dict[str, Any]:
    """One evaluation as the template shows it."""
    title = f"Suite {row.suite} at {format_norm(row.evaluate.radius, row.evaluate.norm)} {row.evaluate.norm}"
    # What to type next says nothing to a reader of the card.
    verdict = re.sub(f"{UNCHECKED}:[^;]*", UNCHECKED, row.verdict)
    return {"row": row, "title": title, "lines": list(_lines(row)), "notes": list(_notes(row)), "verdict": verdict}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _lines(row: EvaluationResult) -> Iterator[tuple[str, float, tuple[float, float]]]:
    """Name, accuracy and interval of each accuracy of an evaluation."""
    if row.clean_all is not None and more_are_clean(row):
        yield f"clean, all {row.clean_all.n:,}", row.clean_all.accuracy, row.clean_all.interval95
    for key in (CLEAN, *with_worst(row.attacks)):
        yield attack_title(key), row.accuracy[key], row.interval95[key]


def _notes(row: EvaluationResult) -> Iterator[str]:
    """What was measured beside the attacks."""
    worst = row.worst_class
    yield f"The worst class is {worst.name!r}: {_percent(worst.worst)} % in the worst case, n = {worst.n}."
    if row.curve is not None:
        points = zip(row.curve.radius, row.curve.accuracy, strict=True)
        curve = ", ".join(f"{_percent(value)} at {format_norm(radius, row.curve.norm)}" for radius, value in points)
        yield f"Accuracy in % by radius ({row.curve.attack}): {curve}."
    if row.corruptions is not None:
        found = row.corruptions
        mce = "" if found.mce is None else f"; mCE {_percent(found.mce)} % of {found.baseline}"
        value, over = corruption_mean(found.accuracy)
        yield f"Mean accuracy on images of {over} corruptions ({found.source}): {_percent(value)} %{mce}."
    for made in row.transfer or ():
        yield f"Accuracy on adversarial examples made on {made.source} ({made.attack}): {_percent(made.accuracy)} %."


def _head(exported: Exportable, rows: list[EvaluationResult], timm: str | None) -> dict[str, Any]:
    """The card's head: what the hub files the model under, and its figures."""
    recipe = exported.model.recipe
    tags = ["adversarial-training", "adversarial-robustness", "iaat", recipe.method_name.replace("_", "-")]
    head: dict[str, Any] = {"library_name": "iaat" if timm is None else "timm"}
    if len(exported.model.shape) == 3:
        head["pipeline_tag"] = "image-classification"
    head["tags"] = list(dict.fromkeys(tag.partition(":")[0] for tag in tags))
    if rows:
        name = _data_name(exported)
        result = {
            "task": {"type": "image-classification"},
            "dataset": {"type": recipe.data.name.partition(":")[0], "name": name, "split": "test"},
            "metrics": list({metric["name"]: metric for row in rows for metric in _metrics(row)}.values()),
        }
        head["model-index"] = [{"name": exported.record.name, "results": [result]}]
    return head


def _metrics(row: EvaluationResult) -> Iterator[dict[str, Any]]:
    clean = row.clean_all or CleanAccuracy(row.accuracy[CLEAN], row.n, row.interval95[CLEAN])
    yield {"type": "accuracy", "name": f"clean accuracy in %, n = {clean.n}", "value": round(100 * clean.accuracy, 2)}
    if row.attacks:
        name = f"robust accuracy in %, {worst_case_name(row)}, n = {row.n}"
        yield {"type": "accuracy", "name": name, "value": round(100 * row.accuracy[WORST], 2)}


def _data_name(exported: Exportable) -> str:
    """What the data set is called: by its folder where it is image files."""
    config = exported.record.recipe["data"]
    return str(config.get("root") or config["name"]) if config["name"] in ("folder", "webdataset") else config["name"]


def _facts(exported: Exportable) -> Iterator[tuple[str, str]]:
    """Name and value of what is known of the training."""
    recipe, record, run = exported.model.recipe, exported.record, exported.run
    objective = (find_method(recipe.method_name).__doc__ or "").strip().partition("\n")[0]
    yield "method", f"{recipe.method_name}: {objective}" if objective else recipe.method_name
    if record.radius is not None:
        yield "radius", f"{record.radius} {record.norm}"
    yield "data", f"{_data_name(exported)}, {record.train_size:,} training samples (validation samples included)"
    yield "epochs", f"{record.epoch} of {recipe.train.epochs}" if record.epoch else str(recipe.train.epochs)
    yield "seed", str(recipe.seed)
    if run is not None:
        yield from _facts_of_run(run, record)
    if recipe.train.ema:
        yield "weights", f"the moving average of those trained, decay {recipe.train.ema}"
    yield "SHA-256 of weights and layers", exported.digest


def _facts_of_run(run: RunFolder, record: ExportRecord) -> Iterator[tuple[str, str]]:
    cost = run.training_cost()
    if "train_forwards" in cost:
        yield "passes per sample and step", f"{cost['train_forwards']:.1f}F {cost['train_backwards']:.1f}B"
    versions = run.facts().get("versions", {})
    if "train_seconds" in cost:
        place = versions.get("gpu", "none")
        place = versions.get("processor", "a CPU") if place == "none" else place
        yield "training time", f"{format_duration(cost['train_seconds'])} on {place}"
    last = next((each for each in run.metrics() if each.epoch == record.epoch), None)
    if last is not None and last.radius_mean_px is not None:
        quantiles = (last.radius_quantiles_px or {}).items()
        levels = (f"{level} %: {format_radius(value / PX_PER_UNIT, record.norm)}" for level, value in quantiles)
        mean = format_radius(last.radius_mean_px / PX_PER_UNIT, record.norm)
        yield "radii of the training samples", f"mean {mean}; quantiles {', '.join(levels)}"
    if versions:
        named = ("iaat", "torch", "torchvision", "numpy", "python")
        yield "versions", ", ".join(f"{name} {versions[name]}" for name in named if name in versions)
