"""PGD of other libraries, called as in their documentation; each is imported when it is used.

All of them compute in float32 and know nothing of memory formats; they are given the same radius, steps and step size.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from _workload import CLASSES, RADIUS, SHAPE, Workload
from torch import Tensor, nn

PACKAGES = ("torchattacks", "foolbox", "adv-lib", "adversarial-robustness-toolbox")
"""Distributions with versions that belong to a result."""

Attack = Callable[[], Tensor]


def torchattacks(work: Workload) -> Attack:
    """PGD of torchattacks, which sets the model to eval for the attack and restores it."""
    import torchattacks as library

    pgd = library.PGD(work.model, eps=RADIUS, alpha=work.step_size, steps=work.steps, random_start=True)
    return lambda: pgd(work.batch.x, work.batch.y)


def foolbox(work: Workload) -> Attack:
    """PGD of foolbox, which needs eval mode, forms weight gradients, too, and checks its result by one more forward."""
    import foolbox as library

    work.model.eval()  # a model in training mode would be warned of
    wrapped = library.PyTorchModel(work.model, bounds=(0, 1))
    work.model.train()
    pgd = library.attacks.LinfPGD(abs_stepsize=work.step_size, steps=work.steps, random_start=True)

    def attack() -> Tensor:
        work.model.eval()
        _, x_adv, _ = pgd(wrapped, work.batch.x, work.batch.y, epsilons=RADIUS)
        work.model.train()
        return x_adv

    return attack


def adv_lib(work: Workload) -> Attack:
    """PGD of adv-lib, which returns the clean input where only the last iterate succeeds: hardly for training."""
    from adv_lib.attacks import pgd_linf

    def attack() -> Tensor:
        work.model.eval()
        x_adv = pgd_linf(
            work.model, work.batch.x, work.batch.y, RADIUS, steps=work.steps, absolute_step_size=work.step_size
        )
        work.model.train()
        return x_adv

    return attack


def art(work: Workload) -> Attack:
    """PGD of ART, which takes and returns NumPy arrays."""
    from art.attacks.evasion import ProjectedGradientDescent

    x, y = _arrays(work)
    pgd = ProjectedGradientDescent(
        _art_classifier(work),
        eps=RADIUS,
        eps_step=work.step_size,
        max_iter=work.steps,
        num_random_init=1,
        batch_size=len(x),
        verbose=False,
    )
    return lambda: torch.from_numpy(pgd.generate(x, y=y)).to(work.device)


def _arrays(work: Workload) -> tuple[np.ndarray, np.ndarray]:
    return work.batch.x.cpu().numpy(), F.one_hot(work.batch.y, CLASSES).cpu().numpy().astype(np.float32)


def _art_classifier(work: Workload) -> object:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model=work.model,
        clip_values=(0.0, 1.0),
        loss=nn.CrossEntropyLoss(),
        optimizer=work.optimizer,
        input_shape=SHAPE,
        nb_classes=CLASSES,
        device_type="gpu" if work.device.type == "cuda" else "cpu",
    )


ATTACKS: dict[str, Callable[[Workload], Attack]] = {
    "torchattacks": torchattacks,
    "foolbox": foolbox,
    "adv-lib": adv_lib,
    "ART": art,
}
"""Builders of one PGD attack on the batch of a workload, by the name shown."""


def step_with(build: Callable[[Workload], Attack]) -> Callable[[Workload], Callable[[], None]]:
    """A builder of PGD-AT steps around a peer's attack, as a user of it would write them."""

    def builder(work: Workload) -> Callable[[], None]:
        attack = build(work)

        def step() -> None:
            x_adv = attack()
            work.optimizer.zero_grad()  # after the attack: some leave gradients behind
            F.cross_entropy(work.model(x_adv), work.batch.y).backward()
            work.optimizer.step()

        return step

    return builder


def art_madry(work: Workload) -> Callable[[], None]:
    """ART's own Madry trainer, its `fit` called on one batch for one epoch."""
    from art.defences.trainer import AdversarialTrainerMadryPGD

    x, y = _arrays(work)
    trainer = AdversarialTrainerMadryPGD(
        _art_classifier(work),
        nb_epochs=1,
        batch_size=len(x),
        eps=RADIUS,
        eps_step=work.step_size,
        max_iter=work.steps,
    )

    def step() -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # two progress bars a call, which cannot be turned off
            trainer.fit(x, y)

    return step


STEPS: dict[str, Callable[[Workload], Callable[[], None]]] = {
    **{name: step_with(build) for name, build in ATTACKS.items() if name != "ART"},
    "ART Madry trainer": art_madry,
}
"""Builders of one PGD-AT step, by the name shown."""

OWN_MODEL = frozenset({"ART", "ART Madry trainer"})
"""Peers that change the model they are given; they get a copy."""
CHANNELS_LAST = ("torchattacks", "adv-lib")
"""Peers also measured with model and batch in channels_last, which their documentation does not do."""
