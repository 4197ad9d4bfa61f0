"""The smallest norms of a report: those of a linear model are known in closed form."""

import pytest
import torch
from torch import nn

from iaat.report.smallest_norms import smallest_norms


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_norms_are_those_of_the_margin_of_a_linear_model(norm):
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(6, 2)
    weights = torch.randn(2, 6, generator=generator)
    with torch.no_grad():
        model.weight.copy_(weights)
        model.bias.copy_(-weights @ torch.full((6,), 0.5))  # the boundary goes through the middle of the inputs
    x = 0.4 + 0.2 * torch.rand(20, 6, generator=generator)
    logits = model(x).detach()
    y = logits.argmax(1)
    y[:3] = 1 - y[:3]  # misclassified as they are
    difference = (weights[0] - weights[1]).norm(p=1 if norm == "linf" else 2)
    margin = (logits[:, 0] - logits[:, 1]).abs() / difference
    levels = torch.linspace(0, 0.4, 81)[1:]
    found = smallest_norms(model, x, y, levels=levels, norm=norm, steps=20)
    assert found[:3].tolist() == [0, 0, 0]
    known = margin[3:] < 0.39
    assert int(known.sum()) > 5
    excess = found[3:][known] - margin[3:][known]
    assert float(excess.min()) >= -1e-6  # an upper bound
    assert float(excess.max()) < 0.03


def test_nothing_is_drawn_from_the_global_generator():
    model, x = nn.Linear(6, 2), torch.rand(8, 6)
    state = torch.get_rng_state()
    smallest_norms(model, x, torch.zeros(8, dtype=torch.int64), levels=torch.tensor([0.1]), norm="linf", steps=3)
    assert torch.equal(torch.get_rng_state(), state)
