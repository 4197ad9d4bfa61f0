import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.attacks import proportional_steps
from iaat.errors import UserError
from iaat.radius import paper, staircase, warm_up
from iaat.units import Radius

radii = st.floats(0, 2)
rows = st.lists(st.tuples(radii, st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=8)


def columns(rows):
    radius, *outcomes = zip(*rows, strict=True)
    return torch.tensor(radius, dtype=torch.float64), *(torch.tensor(o) for o in outcomes)


def slow_paper(e, clean_correct, correct_at, correct_above, gamma, beta):
    """The authors' rule for one sample, as their code states it."""
    if correct_above:
        target = e + gamma
    elif correct_at:
        target = e
    else:
        target = e - gamma
    target = max(0.0, target * (1 if clean_correct else 0))
    return (1 - beta) * e + beta * target


def slow_staircase(e, correct, up, down):
    return e + up if correct else max(0.0, e - down)


@given(rows, st.floats(0, 0.5), st.floats(0.01, 1))
def test_paper_rule_is_the_authors_rule_for_every_sample(rows, gamma, beta):
    new = paper(*columns(rows), gamma=gamma, beta=beta)
    assert new.tolist() == pytest.approx([slow_paper(*row, gamma, beta) for row in rows])


@given(rows, st.floats(0, 0.5), st.floats(0.01, 1))
def test_paper_rule_moves_by_at_most_its_stated_step_except_for_misclassified_samples(rows, gamma, beta):
    radius, clean_correct, *_ = columns(rows)
    new = paper(*columns(rows), gamma=gamma, beta=beta)
    assert bool(((new - radius).abs() <= beta * gamma + 1e-12)[clean_correct].all())
    torch.testing.assert_close(new[~clean_correct], (1 - beta) * radius[~clean_correct])


def test_paper_rule_by_hand():
    new = paper(
        torch.tensor([8.0, 8.0, 8.0, 8.0, 1.0]),
        clean_correct=torch.tensor([True, True, True, False, True]),
        correct_at=torch.tensor([True, True, False, True, False]),
        correct_above=torch.tensor([True, False, False, True, False]),
        gamma="2/1",
        beta=0.1,
    )
    torch.testing.assert_close(new, torch.tensor([8.2, 8.0, 7.8, 7.2, 0.9]))


def test_paper_rule_believes_the_larger_probe():
    """Correct above and misclassified at e, as happens with random starts, is a sample that may grow."""
    yes, no = torch.tensor([True]), torch.tensor([False])
    assert paper(torch.tensor([8.0]), yes, no, yes, gamma="2/1", beta=1.0).item() == 10.0


@given(
    st.lists(st.tuples(radii, st.booleans()), min_size=1, max_size=8), st.floats(0, 0.5), st.floats(0, 0.5) | st.none()
)
def test_staircase_follows_each_outcome(rows, up, down):
    radius, correct = columns(rows)
    new = staircase(radius, correct, up=up, down=down)
    expected = [slow_staircase(*row, up, up if down is None else down) for row in rows]
    assert new.tolist() == pytest.approx(expected)


@given(st.lists(st.booleans(), min_size=1, max_size=8), radii)
def test_warm_up_is_the_uniform_radius_for_the_samples_that_are_correct(correct, radius):
    new = warm_up(torch.tensor(correct), Radius(radius))  # a number above 1 would lack its unit
    assert new.tolist() == pytest.approx([radius if r else 0.0 for r in correct], rel=1e-6)


@pytest.mark.parametrize(
    "rule",
    [
        lambda e, correct: paper(e, correct, correct, ~correct, gamma=0.1, beta=0.5),
        lambda e, correct: staircase(e, correct, up=0.1),
    ],
    ids=["paper", "staircase"],
)
def test_rules_leave_their_arguments_alone(rule):
    radius, correct = torch.tensor([0.5, 0.25]), torch.tensor([True, False])
    new = rule(radius, correct)
    assert radius.tolist() == [0.5, 0.25]
    assert correct.tolist() == [True, False]
    assert not torch.equal(new, radius)


def attacked(radius, true_margin, noise, generator):
    """Whether samples stay correct: those with a margin, seen through the noise of an attack, above the radius."""
    return radius < true_margin + noise * torch.randn(len(radius), generator=generator, dtype=radius.dtype)


def walk(rule, *, samples=400, visits=600, noise=0.02):
    generator = torch.Generator().manual_seed(0)
    true_margin = 0.05 + 0.3 * torch.rand(samples, generator=generator, dtype=torch.float64)
    radius = torch.full_like(true_margin, 0.1)
    last = []
    for visit in range(visits):
        radius = rule(radius, lambda r: attacked(r, true_margin, noise, generator))
        if visit >= visits // 2:
            last.append(radius)
    return torch.stack(last), true_margin


def test_staircase_settles_at_the_margin_of_each_sample():
    history, true_margin = walk(lambda e, correct: staircase(e, correct(e), up=0.002))
    error = history.mean(0) - true_margin
    assert error.abs().max() < 0.01
    assert abs(error.mean().item()) < 0.001
    assert history.std(0).max() < 0.02


def test_staircase_with_unequal_steps_settles_where_the_stated_fraction_of_attacks_succeeds():
    up, down, noise = 0.001, 0.003, 0.02
    history, true_margin = walk(lambda e, correct: staircase(e, correct(e), up=up, down=down), noise=noise)
    success_rate = torch.distributions.Normal(true_margin, noise).cdf(history).mean().item()
    assert success_rate == pytest.approx(up / (up + down), abs=0.02)


def test_paper_rule_settles_within_gamma_below_the_margin():
    gamma, yes = 0.02, torch.ones(400, dtype=torch.bool)
    history, true_margin = walk(
        lambda e, correct: paper(e, yes, correct(e), correct(e + gamma), gamma=gamma, beta=0.1), noise=0.0
    )
    below = true_margin - history[-1]
    assert below.min() > -0.1 * gamma
    assert below.max() < gamma


YES = torch.ones(4, dtype=torch.bool)
RADII = torch.full((4,), 0.1)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda: staircase(RADII, YES[:, None], up=0.1), r"correct of shape \[4, 1\] for radii of shape \[4\]"),
        (lambda: staircase(RADII, YES[:1], up=0.1), r"correct of shape \[1\]"),
        (lambda: staircase(RADII, YES.float(), up=0.1), r"correct is torch.float32: pass bool \[B\]"),
        (lambda: staircase(RADII, [True] * 4, up=0.1), r"correct is a list"),
        (lambda: staircase(RADII, YES, up=-0.1), r"up = -0\.1"),
        (lambda: staircase(RADII, YES, up="8 levels"), r"radius '8 levels' cannot be read"),
        (lambda: staircase(RADII, YES, up=0.1, down=math.nan), r"down = nan"),
        (lambda: paper(RADII, YES, YES[:1], YES, gamma=0.1, beta=0.1), r"correct_at of shape \[1\]"),
        (lambda: paper(RADII, YES, YES, YES.long(), gamma=0.1, beta=0.1), r"correct_above is torch.int64"),
        (lambda: paper(RADII, YES, YES, YES, gamma=-1, beta=0.1), r"gamma = -1"),
        (lambda: paper(RADII, YES, YES, YES, gamma=0.1, beta=10), r"beta = 10: must be a fraction in \(0, 1\]"),
        (
            lambda: paper(RADII, YES, YES, YES, gamma=1.9, beta=0.1),
            r"gamma = 1\.9 is above the pixel range 1; .*1\.9px",
        ),
        (lambda: staircase(RADII, YES, up=8), r"up = 8 is above the pixel range 1; .*8 / 255.*for an L2 norm .8/1"),
        (lambda: staircase(RADII, YES, up=0.1, down=8), r"down = 8 is above"),
        (lambda: warm_up(YES, 8), r"radius = 8 is above the pixel range 1"),
        (lambda: warm_up(YES, None), r"radius = None: must be a finite number"),
        (lambda: warm_up(YES.float(), 0.1), r"clean_correct is torch.float32"),
        (lambda: warm_up(YES, math.inf), r"radius = inf"),
        (lambda: proportional_steps(RADII, 10, full_at=0), r"full_at = 0"),
        (lambda: proportional_steps(RADII, 10, full_at=8), r"full_at = 8 is above the pixel range 1; .*8 / 255"),
        (lambda: proportional_steps(RADII, 0, full_at=0.1), r"steps = 0"),
        (lambda: proportional_steps(YES, 10, full_at=0.1), r"radius is torch.bool"),
    ],
)
def test_what_a_rule_cannot_mean_is_refused(update, message):
    with pytest.raises(UserError, match=message):
        update()


def test_radii_that_count_as_0_take_no_steps():
    radius = torch.tensor([math.nan, -1.0, 0.0, 8 / 255, 1.0])
    assert proportional_steps(radius, 10, full_at="8px").tolist() == [0, 0, 0, 10, 10]
    assert proportional_steps(radius, 10, full_at=torch.tensor(8 / 255)).tolist() == [0, 0, 0, 10, 10]
