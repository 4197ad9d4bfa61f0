"""A gradient attack on a model without a gradient says so, whichever attack it is."""

import pytest
import torch
from torch import nn

from iaat.attacks import apgd, apgd_ce, apgd_t, deepfool, mi_fgsm, pgd
from iaat.attacks.attack_state import gradient_of
from iaat.errors import UserError


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x):
        return self.layer(x.flatten(1).detach())


@pytest.mark.parametrize("attack", [pgd, apgd, apgd_ce, apgd_t, mi_fgsm, deepfool])
@pytest.mark.parametrize("after", [nn.Identity(), nn.Threshold(10.0, 0.0)])
def test_a_missing_gradient_path_is_named(attack, after):
    model = nn.Sequential(Detached(), after)
    x = torch.rand(4, 2, 3)
    y = model(x).argmax(1)
    with pytest.raises(UserError, match="no gradient path"):
        attack(model, x, y, radius=0.1)


def test_the_gradient_is_that_of_the_sum():
    x = torch.rand(3, 4, requires_grad=True)
    assert torch.allclose(gradient_of((x**3).sum(dim=1), x), 3 * x.detach() ** 2)
    with pytest.raises(UserError, match="no gradient path"):
        gradient_of(torch.ones(3), x)
    with pytest.raises(UserError, match="no gradient path"):
        gradient_of((torch.rand(3, requires_grad=True) * 2), x)
