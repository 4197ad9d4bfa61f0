"""`iaat export`."""

from __future__ import annotations

import argparse

from iaat.experiments.targets import check_allowed
from iaat.export import export_model
from iaat.runtime.progress import Reporter

_USE = {
    "onnx": "onnxruntime.InferenceSession({path}).run(None, {{'images': x}})[0]",
    "pt2": "torch.export.load({path}).module()(x)",
    "torchscript": "torch.jit.load({path})(x)",
    "safetensors": "iaat.load({path})(x)",
    "hf": "iaat.load({path})(x)",
}
"""Logits from what was exported, in Python."""

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
    reporter.say(f"in Python: {_USE[options.format].format(path=repr(str(done.path)))}")
