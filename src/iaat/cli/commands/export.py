"""`iaat export`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from iaat.config.setting_keys import check_allowed
from iaat.export import export_model
from iaat.export.export_run import ExportedModel
from iaat.export.loading import loading_of
from iaat.runtime.progress import Reporter

_USE = {
    "onnx": "onnxruntime.InferenceSession({path}).run(None, {{'images': x}})[0]",
    "pt2": "torch.export.load({path}).module()(x)",
    "torchscript": "torch.jit.load({path})(x)",
    "safetensors": "iaat.load({path}{arguments})(x)",
    "hf": "iaat.load({path}{arguments})(x)",
}
"""Logits from what was exported, in Python."""

_WEIGHTS = ("safetensors", "hf")
"""Formats that hold weights and no program: what builds the network has to be at hand."""

_SHOWN_CLASSES = 10


def export_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Export the model of a run."""
    check_allowed(overrides, ("data.root",), "a finished run keeps its recipe")
    roots = [argument.partition("=")[2] for argument in overrides]
    done = export_model(
        options.target,
        options.format,
        options.out,
        data=roots[-1] if roots else None,
        overwrite=options.overwrite,
    )
    record, note = done.record, "" if done.note is None else f"; {done.note}"
    epoch = "" if record.epoch is None else f"epoch {record.epoch}"
    source = " ".join(filter(None, (record.name, record.checkpoint, epoch)))
    reporter.result(f"{done.path}: {options.format} of {source}{note}")
    reporter.result(f"its logits differ from the model's by at most {done.difference:.1g} on {done.images}")
    more = ", ..." if len(record.classes) > _SHOWN_CLASSES else ""
    reporter.say(f"input: {record.input}; classes: {', '.join(record.classes[:_SHOWN_CLASSES])}{more}")
    for line in _use(options.format, done):
        reporter.say(line)


def _use(format_name: str, done: ExportedModel) -> Iterator[str]:
    """How the file is used in Python; of weights that need code of the user's, what gives it."""
    loading = loading_of(done.record.recipe) if format_name in _WEIGHTS else None
    arguments = "" if loading is None else loading.arguments
    yield f"in Python: {_USE[format_name].format(path=repr(str(done.path)), arguments=arguments)}"
    if loading is not None and loading.note is not None:
        yield loading.note
