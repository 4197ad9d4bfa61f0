"""Training in fp16: losses are scaled so that gradients neither vanish nor overflow, and overflow is no fault."""

import pytest
import torch
from torch import nn

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.attacks import pgd
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import autocast
from iaat.train import train
from iaat.train.nonfinite import NonfiniteMonitor

FP16 = ("--train.precision", "fp16")
CPU = torch.device("cpu")


def checked(loss, gradient, scale):
    """Whether a step with such a loss and gradient is taken, and what is reported of it."""
    model, faults = nn.Linear(2, 2), NonfiniteMonitor(1)
    for weights in model.parameters():
        weights.grad = torch.full_like(weights, gradient)
        weights.data.add_(weights.grad)  # as the optimiser's step does
    finite = faults.check(7, model, torch.tensor(loss), None if scale is None else torch.tensor(scale))
    return bool(finite), faults.read()


@pytest.mark.parametrize("gradient", [torch.inf, torch.nan])
def test_a_gradient_that_overflows_is_undone_and_not_reported_while_the_scale_can_fall(gradient):
    assert checked(1.0, gradient, 65536.0) == (False, [])


@pytest.mark.parametrize(
    ("loss", "gradient", "scale"), [(1.0, torch.inf, 1.0), (1.0, torch.inf, None), (torch.nan, torch.nan, 65536.0)]
)
def test_what_scaling_cannot_mend_is_reported(loss, gradient, scale):
    finite, ((step, _),) = checked(loss, gradient, scale)
    assert not finite
    assert step == 7


def test_training_finds_its_scale_by_steps_that_overflow_and_goes_on(tmp_path):
    """At scale 65,536 the gradients of this loss, 20 times the usual, overflow; at 1 they would not."""
    run = RunFolder(tmp_path / "run")
    recipe = tiny("pgd_at", *FP16, "--train.lr", "0.0001", "--method.steps", "2")

    def enlarged(logits, y):
        return 20 * torch.nn.functional.cross_entropy(logits, y, reduction="none")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iaat.methods.pgd_at.PGDAT.Config.cross_entropy", lambda _, logits, y: enlarged(logits, y))
        train(recipe, run, QUIET)
    records = run.metrics()
    assert len(records) == 3
    assert records[-1].loss_scale < 65536
    assert records[-1].loss > 0
    assert not any(record.skipped_steps for record in records)
    assert not (run.path / "faults.jsonl").exists()


def test_a_run_in_fp16_resumes_bit_for_bit_with_its_scale(tmp_path):
    assert_resumes_bitwise(tiny("iaat", *FP16), tmp_path, batch=4)


class Steep(nn.Module):
    """A network so sure of two classes that the gradient of cross-entropy is below what fp16 can hold."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]]))

    def forward(self, x):
        return self.layer(x) * 4.5


def test_attacks_move_samples_with_a_gradient_that_would_vanish_in_fp16():
    x, y = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([0])
    settings = {"radius": 0.1, "steps": 1, "step_size": 0.1, "x_init": x, "bounds": None}
    expected = pgd(Steep(), x, y, **settings)
    assert torch.equal(expected, x + 0.1 * torch.tensor([[-1.0, 1.0, -1.0, 1.0]]))
    with autocast("fp16", CPU):
        found = pgd(Steep(), x, y, **settings)
    assert torch.equal(found, expected)
