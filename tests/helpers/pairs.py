"""What tests of losses on pairs of a clean and an adversarial prediction share."""

import torch
from hypothesis import strategies as st
from torch import nn

from iaat.types import Batch
from methods.settings import context

MOST = 6


class Scripted(nn.Module):
    """Answers the clean inputs of a batch with one table of logits, and any others with another."""

    def __init__(self, x, clean, adversarial):
        super().__init__()
        self.x, self.answers = x, (adversarial, clean)

    def forward(self, x):
        return self.answers[torch.equal(x, self.x)]


def some_batch(n):
    """Inputs `[n, 4]` inside (0, 1), labelled 0, with the indices 0 to n - 1."""
    x = torch.linspace(0.3, 0.7, 4 * n, dtype=torch.float64).reshape(n, 4)
    return Batch(x, torch.zeros(n).long(), torch.arange(n))


def loss_of(method, clean, adversarial, y, epoch=0):
    """Output of the method's objective where the network answers with these logits `[n, classes]`."""
    batch = some_batch(len(y))
    batch = Batch(batch.x, y, batch.index)
    objective = method.prepare(nn.Linear(4, clean.shape[1]).double(), batch, context(epoch))
    return objective(Scripted(batch.x, clean, adversarial))


@st.composite
def pairs(draw, largest=30.0):
    """Clean and adversarial logits, lists of n lists, and labels."""
    n, classes = draw(st.integers(1, MOST)), draw(st.integers(2, 5))
    row = st.lists(st.floats(-largest, largest), min_size=classes, max_size=classes)
    table = st.lists(row, min_size=n, max_size=n)
    return draw(table), draw(table), draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))


def tensors(clean, adversarial, labels):
    """The same as float64 tensors that take gradients, and labels."""
    values = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (clean, adversarial)]
    return *values, torch.tensor(labels)


def slopes(loss, logits, h=1e-5):
    """Central differences of `loss()`, a function without arguments, by each number of `logits`, a list of lists."""
    result = [[0.0] * len(row) for row in logits]
    for row, slope in zip(logits, result, strict=True):
        for k, value in enumerate(row):
            row[k] = value + h
            above = loss()
            row[k] = value - h
            below = loss()
            row[k] = value
            slope[k] = (above - below) / (2 * h)
    return result


def watched(model):
    """A list that fills with (inputs, whether in training) of every forward."""
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append((inputs[0].detach().clone(), module.training)))
    return seen


def trained_on(method, model, batch, epoch=0, seed=0):
    """Output of a step, and the clean and the adversarial inputs of its training forwards."""
    objective = method.prepare(model, batch, context(epoch, seed))
    seen = watched(model)
    output = objective(model)
    method.update(batch, output)
    (clean, _), (x_adv, _) = seen
    return output, clean, x_adv


def smooth_network(seed=0):
    """A float64 network without kinks on digits, sure of some of them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
        model[3].weight.data *= 4
        return model
