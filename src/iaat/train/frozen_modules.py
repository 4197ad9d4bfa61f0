"""Modules that their owner has frozen (set to eval), which stay so while the rest of the model trains."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from iaat.errors import shown
from iaat.runtime.text import first_few

_NAMED = 5


def frozen_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model that is to be trained which are in eval mode, by name.

    Empty where the network as a whole is in eval mode, as one that was just loaded: all of it is trained. That is where
    the module that holds all weights is, whatever is around it, such as a normalisation; or all layers with weights.
    """
    network = _network(model)
    if network.training and any(module.training for module in network.modules() if _has_weights(module)):
        return {name: module for name, module in model.named_modules() if module is not model and not module.training}
    if loose := _frozen_norms(model):
        layers = f"layer {loose[0]}" if len(loose) == 1 else f"layers {first_few(loose, _NAMED)}"
        warnings.warn(
            f"the model is in eval mode as a whole, so all of it is trained in train mode, including {layers} with "
            "frozen weights: to keep running statistics, call .train() on the model and then .eval() on such layers",
            stacklevel=2,
        )
    return {}


def _network(model: nn.Module) -> nn.Module:
    """The innermost module that holds all weights of a model."""
    network = model
    while not _has_weights(network):
        holders = [child for child in network.children() if any(True for _ in child.parameters())]
        if len(holders) != 1:
            break
        network = holders[0]
    return network


def _has_weights(module: nn.Module) -> bool:
    """Whether a module has weights itself, not in modules inside of it."""
    return any(True for _ in module.parameters(recurse=False))


def modules_named(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """The modules of a model that have these names.

    Raises:
        ValueError: it has no such module.
    """
    modules = dict(model.named_modules())
    if missing := [name for name in names if name not in modules]:
        raise ValueError(f"the model has no module {shown(missing[0])}")
    return {name: modules[name] for name in names}


def describe_frozen(frozen: dict[str, nn.Module], *, as_given: bool = True) -> str | None:
    """What stays in eval mode, for a message: modules without those inside of them. None where there is nothing to say.

    Args:
        frozen: The modules by name.
        as_given: Whether they are those of the given model; else they are those that a resumed run was begun with.
    """
    if not frozen:
        begun = "the run was begun with no layer in eval mode: all of the model is trained in train mode, as before"
        return None if as_given else begun
    outer = [name for name in frozen if name.rpartition(".")[0] not in frozen]
    as_what = "as they were given" if as_given else "as when the run was begun, though the model is given otherwise"
    return f"these layers stay in eval mode, {as_what}: {first_few(outer, _NAMED)}"


def _frozen_norms(network: nn.Module) -> list[str]:
    """BatchNorm layers with running statistics and weights, all of which are frozen."""
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    return [
        name
        for name, norm in norms.items()
        if norm.track_running_stats and norm.affine and not any(each.requires_grad for each in norm.parameters())
    ]
