"""A lack of memory is never taken for a model, file or checkpoint that does not fit."""

import pytest
import torch
from torch import nn

from iaat.export.tracing import failures_named
from iaat.models.channels_last import supports_channels_last
from iaat.models.check_logits import output_of
from iaat.models.weights import read_content
from iaat.runs.checkpoint_schema import using

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


class Large(nn.Module):
    """Needs more memory than there is."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.fixture(params=ERRORS, ids=lambda error: type(error).__name__)
def error(request):
    return request.param


def test_restoring_a_checkpoint(error):
    with pytest.raises(type(error)) as caught, using("optimizer", {}):
        raise error
    assert caught.value is error


def test_a_forward(error):
    with pytest.raises(type(error)) as caught:
        output_of(Large(error), torch.zeros(2, 3, 4, 4))
    assert caught.value is error


def test_memory_order(error):
    with pytest.raises(type(error)):  # of a copy of the model
        supports_channels_last(Large(error), (3, 4, 4))


def test_reading_weights(error, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise error

    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    monkeypatch.setattr(torch, "load", failing)
    with pytest.raises(type(error)) as caught:
        read_content(tmp_path / "a.pt")
    assert caught.value is error


def test_an_export(error):
    with pytest.raises(type(error)) as caught, failures_named("onnx"):
        raise error
    assert caught.value is error
