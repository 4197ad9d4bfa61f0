"""Early stopping and worst case over restarts, each compared with plain runs of the attack."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from iaat.attacks import Targeted, kl_from, pgd, pgd_early_stop
from iaat.runtime.passes import count_passes

SIZE, INPUTS, CLASSES = 40, 6, 4


def network():
    """A bumpy network, on which the end of an attack depends on its start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(INPUTS, 32), nn.Tanh(), nn.Linear(32, CLASSES)).double()
        model[0].weight.data *= 12
    return model


def samples(model):
    """Inputs labelled by the model itself, except the first two of them."""
    x = torch.rand(SIZE, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = model(x).argmax(1)
    y[:2] = (y[:2] + 1) % CLASSES
    return x, y


def goal(logits, y, targeted):
    hit = logits.argmax(1) == y
    return hit if targeted else ~hit


def unrelated(logits, _y):
    """A loss that does not depend on the label."""
    return logits[:, 0]


def objective(loss, targeted):
    return Targeted(loss) if targeted else loss


LOSSES = {"ce": lambda z, y: F.cross_entropy(z, y, reduction="none"), "unrelated": unrelated}


@pytest.mark.parametrize("loss", ["ce", "unrelated"])
@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_keep_the_worst_run_of_each_sample(loss, targeted, monkeypatch):
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 64)  # nobody leaves, so that all runs draw for all samples
    model, restarts = network(), 4
    x, y = samples(model)
    if targeted:
        y = (y + 1) % CLASSES
    options = {
        "radius": torch.linspace(0.02, 0.2, SIZE, dtype=torch.float64),
        "steps": 2,
        "loss": objective(unrelated if loss == "unrelated" else "ce", targeted),
    }
    generator = torch.Generator().manual_seed(2)
    runs = [pgd_early_stop(model, x, y, generator=generator, **options) for _ in range(restarts)]

    sign = -1 if targeted else 1
    best = []
    for row in range(SIZE):
        scores = []
        for run in runs:
            logits = model(run[row : row + 1])
            value = sign * LOSSES[loss](logits, y[row : row + 1]).item()
            adversarial = goal(logits, y[row : row + 1], targeted).item()
            scores.append((adversarial, 0.0 if adversarial else value))  # the first success counts
        best.append(max(range(restarts), key=lambda r, scores=scores: scores[r]))
    expected = torch.stack([runs[r][row] for row, r in enumerate(best)])
    assert set(best) == set(range(restarts))  # neither the last run nor one run for the whole batch would do

    x_adv = pgd_early_stop(model, x, y, restarts=restarts, generator=torch.Generator().manual_seed(2), **options)
    assert torch.equal(x_adv, expected)


def test_success_counts_before_the_loss():
    """Makes sure that the comparison above contains samples on which both orders differ."""
    model = network()
    x, y = samples(model)
    generator = torch.Generator().manual_seed(2)
    radius = torch.linspace(0.02, 0.2, SIZE, dtype=torch.float64)
    logits = torch.stack(
        [model(pgd(model, x, y, radius=radius, steps=2, loss=unrelated, generator=generator)) for _ in range(4)]
    )
    adversarial = logits.argmax(2) != y
    at_largest_loss = adversarial.gather(0, logits[:, :, 0].argmax(0)[None])[0]
    assert (adversarial.any(0) & ~at_largest_loss).sum() >= 2


def test_restarts_cost_one_forward_more_each():
    model = network()
    x, y = samples(model)
    with count_passes(model) as passes:
        pgd_early_stop(model, x, y, radius=0.0, steps=3, restarts=2)
    assert (passes.forward / SIZE, passes.backward / SIZE) == (2 * (3 + 1), 2 * 3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("random_start", [False, True])
def test_a_sample_comes_back_at_its_first_adversarial_point(norm, targeted, random_start, monkeypatch):
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 1)  # each leaves at once: the count of passes is exact
    model, steps = network(), 6
    x, y = samples(model)
    if targeted:
        y = (y + 1) % CLASSES
    options = {
        "radius": torch.linspace(0.0, 0.12, SIZE, dtype=torch.float64),
        "steps": steps,
        "norm": norm,
        "loss": objective("ce", targeted),
        "x_init": None if random_start else x,
    }
    points = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: points.append(inputs[0].detach().clone()))
    last = pgd(model, x, y, generator=torch.Generator().manual_seed(3), **options)
    handle.remove()
    expected, visits = last.clone(), []
    for row in range(SIZE):
        hits = [goal(model(p[row : row + 1]), y[row : row + 1], targeted).item() for p in points]
        visits.append(hits.index(True) + 1 if any(hits) else steps)
        if any(hits):
            expected[row] = points[hits.index(True)][row]
    assert len(set(visits)) >= 3  # some leave at once, some on the way, some never

    with count_passes(model) as passes:
        x_adv = pgd_early_stop(model, x, y, generator=torch.Generator().manual_seed(3), **options)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-12)
    assert passes.forward == sum(visits) < SIZE * steps


def test_a_misclassified_sample_is_not_attacked_at_all():
    model = network()
    x, y = samples(model)
    x_adv = pgd_early_stop(model, x, y, radius=0.05, x_init=x)
    assert torch.equal(x_adv[:2], x[:2])
    assert bool((x_adv[2:] != x[2:]).any(1).all())


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_batch_without_survivors_ends_early(restarts):
    model = network()
    x, y = samples(model)
    others = (y + 2) % CLASSES
    others[:2] = (model(x[:2]).argmax(1) + 1) % CLASSES
    with count_passes(model) as passes:
        x_adv = pgd_early_stop(model, x, others, radius=0.1, steps=9, restarts=restarts, x_init=x)
    assert torch.equal(x_adv, x)
    assert passes.forward == SIZE * (1 if restarts == 1 else 2)


def test_early_stop_with_restarts_attacks_only_the_survivors_again():
    model, restarts = network(), 5
    x, y = samples(model)
    options = {"radius": torch.linspace(0.0, 0.28, SIZE, dtype=torch.float64), "steps": 1}
    first = pgd_early_stop(model, x, y, generator=torch.Generator().manual_seed(4), **options)
    adversarial_at_first = model(first).argmax(1) != y
    with count_passes(model) as passes:
        x_adv = pgd_early_stop(model, x, y, restarts=restarts, generator=torch.Generator().manual_seed(4), **options)
    adversarial = model(x_adv).argmax(1) != y

    assert torch.equal(x_adv[adversarial_at_first], first[adversarial_at_first])
    assert adversarial_at_first.sum() < adversarial.sum() < SIZE
    assert passes.forward < restarts * 2 * SIZE
    assert bool(((x_adv - x).abs().amax(1) <= options["radius"] + 1e-12).all())


def test_kl_keeps_each_sample_with_its_own_clean_logits_when_the_batch_shrinks():
    """With early stop the batch shrinks; rows of the clean logits must leave along with their samples."""
    model = network()
    x, y = samples(model)
    options = {"radius": 0.04, "steps": 5}
    clean = model(x).detach() / 2  # other than the model's own, so that the gradient at x is not 0
    together = pgd_early_stop(model, x, y, x_init=x, loss=kl_from(clean), **options)
    rows = torch.arange(SIZE).split(1)
    alone = [pgd_early_stop(model, x[i], y[i], x_init=x[i], loss=kl_from(clean[i]), **options) for i in rows]
    assert (model(together).argmax(1) != y).float().mean() == pytest.approx(0.5, abs=0.4)
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_the_given_start_is_for_the_first_run_only():
    model = network()
    x, y = (each[2:] for each in samples(model))
    seen = []
    model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().clone()))
    generator = torch.Generator().manual_seed(5)
    pgd_early_stop(model, x, y, radius=1e-9, steps=1, restarts=3, x_init=x, generator=generator)
    starts = seen[::2]
    assert len(starts) == 3
    assert torch.equal(starts[0], x)
    assert not torch.equal(starts[1], x)
    assert not torch.equal(starts[1], starts[2])
