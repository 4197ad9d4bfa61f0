"""Predicted classes: in the mode that is asked for, without gradients, and the model is left as it was."""

import pytest
import torch
from torch import nn

from iaat.attacks import is_correct, predict_classes
from iaat.errors import UserError


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).train()


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_predictions_are_those_of_the_mode_and_the_model_stays_as_it_was(mode):
    model, x = network(), torch.rand(32, 4, generator=torch.Generator().manual_seed(0)) + 3
    expected = model(x).argmax(1) if mode == "batch" else model.eval()(x).argmax(1)
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = predict_classes(model, x, mode)
    assert torch.equal(found, expected)
    assert (found.dtype, found.requires_grad) == (torch.int64, False)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert is_correct(model, x, expected, mode).all()
    assert not is_correct(model, x, (expected + 1) % 3, mode).any()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (lambda y: y[:, None], r"y is torch\.int64 \[8, 1\] for a batch of 8"),
        (lambda y: nn.functional.one_hot(y, 3), r"y is torch\.int64 \[8, 3\], which looks one-hot"),
        (lambda y: y + 1, r"labels 1 to 3, but the model has 3 classes"),
    ],
)
def test_labels_that_would_broadcast_are_refused(y, message):
    labels = torch.arange(8) % 3
    with pytest.raises(UserError, match=message):
        is_correct(network(), torch.rand(8, 4), y(labels))


def test_a_model_without_logits_is_named():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    for call in (is_correct, predict_classes):
        with pytest.raises(UserError, match=r"the model returns a tuple of 2, not logits.*self\.network\(x\)\[0\]"):
            call(Pair(), torch.rand(8, 4), *([torch.arange(8) % 3] if call is is_correct else []))
