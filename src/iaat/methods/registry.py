"""Registry of training methods: classes by the name that recipes use, or by module:Class for the user's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from iaat.errors import UserError, did_you_mean, shown
from iaat.methods.base import BaseMethod, Method
from iaat.methods.cat import CAT
from iaat.methods.fat import FAT
from iaat.methods.gradnorm import GradNorm
from iaat.methods.iaat import IAAT
from iaat.methods.iaat_paper import IAATPaper
from iaat.methods.iaat_trades import IAATTRADES
from iaat.methods.mart import MART
from iaat.methods.method_config import MethodConfig
from iaat.methods.mma import MMA
from iaat.methods.natural import Natural
from iaat.methods.natural_pretraining import NaturalPretraining
from iaat.methods.nfgsm_at import NFGSM
from iaat.methods.pgd_at import PGDAT
from iaat.methods.staircase_radii import StaircaseRadii
from iaat.methods.trades import TRADES
from iaat.methods.vpb import VPB
from iaat.runtime.user_code import import_function

METHODS: dict[str, type[BaseMethod]] = {
    "natural": Natural,
    "pgd_at": PGDAT,
    "nfgsm": NFGSM,
    "trades": TRADES,
    "mart": MART,
    "fat": FAT,
    "mma": MMA,
    "cat": CAT,
    "vpb": VPB,
    "gradnorm": GradNorm,
    "iaat": IAAT,
    "iaat_paper": IAATPaper,
    "iaat_trades": IAATTRADES,
}
"""Every training method by the name recipes use."""

_NEEDED = ("Config", "objective_cost", "prepare", "update", "cost", "state_dict", "load_state_dict")


def find_method(name: str) -> type[Method]:
    """The class of a method: a key of `METHODS`, or module:Class such as `my_package.my_file:MyMethod`.

    Raises:
        UserError: no such method, or a class that is none, with the names of missing parts.
    """
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    if not isinstance(name, str) or ":" not in name:
        raise UserError(
            f"method.name {shown(name)} is not known{did_you_mean(str(name), METHODS)}; use {', '.join(METHODS)}, or "
            "my_package.my_file:MyMethod for one of your own"
        )
    return _checked(import_function(name, key="method.name"), name)


def make_method(
    name: str,
    config: Any,  # noqa: ANN401
    *,
    size: int,
    device: torch.device | str,
    natural_epochs: int = 0,
    class_counts: torch.Tensor | None = None,
    begins: bool = True,
    recurring: tuple[int, float] | None = None,
) -> Method:
    """A method ready to train with.

    Args:
        name: As for `find_method`.
        config: Its settings.
        size: Number of samples that indices run over.
        device: Where training computes.
        natural_epochs: Epochs of natural training before it begins.
        class_counts: Samples of each class that an epoch trains on, `[classes]`, for weights of classes.
        begins: Whether a run begins with it; else a checkpoint has its state, and no file that it began from is read.
        recurring: First index of the samples that come more than once an epoch, and how often they do; None for none.

    Raises:
        UserError: as `find_method`, or settings that do not fit the classes.
    """
    if isinstance(config, MethodConfig):
        config = config if class_counts is None else config.for_classes(class_counts.to(device))
        config = config if begins else config.without_start()
    method = find_method(name)(config, size=size, device=device)
    if recurring is not None and isinstance(method, StaircaseRadii):
        method.slow_down(*recurring)
    if begins and isinstance(method, BaseMethod):
        method.begin()
    return NaturalPretraining(method, natural_epochs, config) if natural_epochs else method


def untrained_method(name: str, config: Any, *, natural_epochs: int = 0) -> Method:  # noqa: ANN401
    """A method that says what it costs and keeps: it reads no file, counts no class, and is not trained with.

    Name, settings, epochs and errors are those of `make_method`.
    """
    if isinstance(config, MethodConfig):
        config = dataclasses.replace(config, class_weights="none")
    return make_method(name, config, size=1, device="cpu", natural_epochs=natural_epochs, begins=False)


def _checked(found: Any, name: str) -> type[Method]:  # noqa: ANN401
    if not isinstance(found, type):
        raise UserError(f"method.name {name}: is a {type(found).__name__}, not a class; see docs/howto/new-method.md")
    if missing := [part for part in _NEEDED if not hasattr(found, part)]:
        raise UserError(
            f"method.name {name}: class {found.__name__} has no {', '.join(missing)}; derive it from "
            "iaat.methods.BaseMethod or AdversarialTraining"
        )
    if not dataclasses.is_dataclass(found.Config):  # type: ignore[attr-defined]
        raise UserError(f"method.name {name}: its Config is no dataclass; derive it from iaat.methods.AttackConfig")
    return found
