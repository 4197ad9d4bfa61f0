import pytest
import torch
from torch import nn

from iaat.attacks import padded_rows, pgd_early_stop


@pytest.mark.parametrize(("true", "expected"), [(0, 0), (1, 32), (32, 32), (33, 64), (64, 64), (65, 70), (70, 70)])
def test_all_true_positions_are_kept_and_padded_to_a_multiple(true, expected):
    mask = torch.zeros(70, dtype=torch.bool)
    mask[torch.randperm(70, generator=torch.Generator().manual_seed(true))[:true]] = True
    rows = padded_rows(mask)
    assert len(rows) == expected == len(set(rows.tolist()))
    assert set(mask.nonzero()[:, 0].tolist()) <= set(rows.tolist())
    assert rows.tolist() == sorted(rows.tolist())


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_batch_that_shrinks_takes_few_sizes_and_ends_as_one_that_shrinks_at_once(restarts, monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    x = torch.rand(150, 1, 4, 4, dtype=torch.float64)
    y = model(x).argmax(dim=1)
    sizes = []
    model.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))

    def attacked():
        radius = torch.linspace(0, 0.3, 150, dtype=torch.float64)
        return pgd_early_stop(model, x, y, radius=radius, steps=8, restarts=restarts, x_init=x)

    x_adv, taken = attacked(), set(sizes)
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 1)
    sizes.clear()
    exact = attacked()
    assert len(set(sizes)) > len(taken) > 1
    assert all(size == 150 or size % 32 == 0 for size in taken)
    adversarial = model(x_adv).argmax(dim=1) != y
    assert torch.equal(adversarial, model(exact).argmax(dim=1) != y)
    assert 0 < adversarial.sum() < 150
    if restarts == 1:
        torch.testing.assert_close(x_adv, exact, rtol=0, atol=1e-12)
