import math

import pytest
import torch
from torch import nn

from iaat.attacks import LOSSES, Targeted, cross_entropy, dlr, full_precision, kl_divergence, kl_from, margin, pgd
from iaat.attacks.losses import check_loss
from iaat.errors import UserError


def logits(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def labels(*y):
    return torch.tensor(y)


def test_margin_is_the_lead_of_the_best_other_class():
    values = margin(logits([3.0, 1.0, -2.0], [3.0, 1.0, -2.0], [3.0, 1.0, -2.0], [0.5, 0.5, 0.0]), labels(0, 1, 2, 0))
    assert values.tolist() == [-2.0, 2.0, 5.0, 0.0]


def test_margin_of_negative_logits():
    assert margin(logits([-1.0, -5.0, -7.0]), labels(0)).tolist() == [-4.0]


def test_margin_of_two_classes():
    assert margin(logits([1.0, 4.0], [1.0, 4.0]), labels(0, 1)).tolist() == [3.0, -3.0]


def test_cross_entropy_is_minus_the_log_probability():
    values = cross_entropy(logits([math.log(0.7), math.log(0.2), math.log(0.1)], [0.0, 0.0, 0.0]), labels(1, 2))
    assert values.tolist() == pytest.approx([-math.log(0.2), math.log(3)])


def test_dlr_is_the_margin_over_the_gap_between_first_and_third_logit():
    values = dlr(logits([4.0, 3.0, 2.0, -9.0], [4.0, 3.0, 2.0, -9.0], [4.0, 3.0, 2.0, -9.0]), labels(0, 1, 3))
    assert values.tolist() == pytest.approx([-1 / 2, 1 / 2, 13 / 2])


def test_dlr_does_not_change_with_the_scale_or_shift_of_the_logits():
    z = logits([4.0, 1.0, -2.5, 0.25])
    assert dlr(1000 * z - 7, labels(0)).tolist() == pytest.approx(dlr(z, labels(0)).tolist())


def test_dlr_of_equal_logits_is_finite():
    z = torch.zeros(1, 4, requires_grad=True)
    value = dlr(z, labels(2))
    value.sum().backward()
    assert value.item() == 0
    assert bool(z.grad.isfinite().all())


def test_dlr_refuses_two_classes():
    with pytest.raises(UserError, match=r"dlr.*3 classes.*2.*margin"):
        dlr(logits([1.0, 2.0]), labels(0))


def test_kl_is_the_sum_over_classes_of_p_log_p_over_q():
    p, q = [0.7, 0.2, 0.1], [0.3, 0.3, 0.4]
    expected = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    kl = kl_from(logits([math.log(v) + 5 for v in p]))
    assert kl(logits([math.log(v) - 2 for v in q]), labels(0)).tolist() == pytest.approx([expected])
    assert kl(logits([math.log(v) for v in p]), labels(0)).tolist() == pytest.approx([0.0], abs=1e-12)


def test_kl_stays_finite_where_probabilities_underflow():
    z = torch.tensor([[0.0, 300.0, -300.0]], requires_grad=True)
    value = kl_from(torch.tensor([[300.0, 0.0, -300.0]]))(z, labels(0))
    value.sum().backward()
    assert value.item() == pytest.approx(300.0)
    assert bool(z.grad.isfinite().all())


def test_kl_sends_no_gradient_to_the_clean_prediction():
    clean = torch.randn(2, 3, requires_grad=True)
    kl_from(clean)(torch.randn(2, 3, requires_grad=True), labels(0, 1)).sum().backward()
    assert clean.grad is None


def test_the_divergence_sends_gradients_to_both_predictions():
    generator = torch.Generator().manual_seed(5)
    tables = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(kl_divergence, [each.clone().requires_grad_() for each in tables])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_divergence_and_its_gradients_are_finite_where_a_probability_is_0(dtype):
    clean = torch.tensor([[8192.0, 0.0, -8192.0], [0.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    other = torch.tensor([[-8192.0, 0.0, 8192.0], [0.0, 0.0, -8192.0]], dtype=dtype, requires_grad=True)
    values = kl_divergence(clean, other)
    assert values.dtype == torch.float32
    assert values.tolist() == pytest.approx([2 * 8192, 8192 / 3 - math.log(3 / 2)])
    values.sum().backward()
    assert bool((clean.grad.isfinite() & other.grad.isfinite()).all())


@pytest.mark.parametrize("name", ["ce", "margin", "dlr", "kl"])
def test_gradients_agree_with_finite_differences(name):
    generator = torch.Generator().manual_seed(5)
    clean, z = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    loss = kl_from(clean) if name == "kl" else LOSSES[name]
    assert torch.autograd.gradcheck(lambda z: loss(z, labels(0, 1, 2, 3, 4, 0)), z.requires_grad_())


@pytest.mark.parametrize("name", ["ce", "margin", "dlr"])
def test_every_loss_is_per_sample_and_grows_with_the_error(name):
    correct, misclassified = [5.0, 1.0, 0.0, -1.0], [1.0, 5.0, 0.0, -1.0]
    values = LOSSES[name](logits(correct, misclassified, correct), labels(0, 0, 0))
    assert values.shape == (3,)
    assert values[1] > values[0] == values[2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_raised_to_float32_and_others_left_alone(dtype):
    assert full_precision(torch.zeros(1, 2, dtype=dtype)).dtype == torch.float32
    assert full_precision(torch.zeros(1, 2, dtype=torch.float32)).dtype == torch.float32
    assert full_precision(torch.zeros(1, 2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "kl"])
def test_losses_are_float32_under_bfloat16_autocast(loss):
    """Cross-entropy casts by itself; the others would compute in bfloat16 without help."""
    model = nn.Linear(6, 4)
    raw, maximized = [], []
    model.register_forward_hook(lambda _module, _inputs, output: raw.append(output.dtype))

    def recording(z, y):
        value = (kl_from(torch.randn(len(z), 4).bfloat16()) if loss == "kl" else LOSSES[loss])(z, y)
        maximized.extend([z.dtype, value.dtype])
        return value

    with torch.autocast("cpu", dtype=torch.bfloat16):
        x_adv = pgd(model, torch.rand(3, 6), labels(0, 1, 2), radius=0.1, steps=2, loss=recording)
    assert set(raw) == {torch.bfloat16}
    assert set(maximized) == {torch.float32}
    assert x_adv.dtype == torch.float32


def test_unknown_loss_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"'hinge'.*ce.*margin.*dlr.*kl"):
        check_loss("hinge", batch=2)


@pytest.mark.parametrize("name", ["ce", "margin", "dlr"])
def test_targeted_objectives_agree_with_finite_differences_and_have_a_gradient_at_every_rank(name):
    z = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]], dtype=torch.float64).repeat(5, 1).requires_grad_()
    objective = Targeted(name)
    assert torch.autograd.gradcheck(lambda z: objective(z, torch.arange(5)), z)
    (gradient,) = torch.autograd.grad(objective(z, torch.arange(5)).sum(), z)
    assert (gradient.diagonal() > 1e-3).all()


def test_targeted_dlr_in_closed_form_and_free_of_the_scale_of_the_logits():
    z = logits([5.0, 3.0, 2.0, 0.0], [5.0, 3.0, 2.0, 0.0])
    objective = Targeted("dlr")
    assert objective(z, labels(0, 2)).tolist() == pytest.approx([2 / 4, -3 / 4])
    assert objective(100 * z, labels(0, 2)).tolist() == pytest.approx([2 / 4, -3 / 4])
    with pytest.raises(UserError, match=r"at least 4 classes.*margin"):
        objective(z[:, :3], labels(0, 1))
