"""ONNX: a model for onnxruntime and other runtimes, with its normalisation inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from iaat.export.exportable import Exportable
from iaat.export.tracing import dynamic_batch, example_of, failures_named
from iaat.models.recorded_statistics import RECORD

INPUT, OUTPUT = "images", "logits"


def write_onnx(exported: Exportable, file: Path) -> None:
    """Write a model as ONNX: `images` `[N, ...]` in [0, 1] to `logits` `[N, classes]`, any N.

    The metadata has the class names as a JSON list under `classes`, and the record under `iaat`.

    Raises:
        UserError: PyTorch cannot express the model in ONNX.
    """
    with failures_named("ONNX"):
        program = torch.onnx.export(
            exported.model,
            (example_of(exported.model),),
            dynamo=True,
            dynamic_shapes=dynamic_batch(),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
        assert program is not None
        record = exported.record
        program.model.metadata_props.update({"classes": json.dumps(record.classes), RECORD: record.text()})
        program.save(file)


def read_onnx(file: Path) -> Callable[[Tensor], Tensor]:
    """The function in an ONNX file, computed by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])
