"""What a recipe will cost, worked out without training: passes, steps, memory."""

from __future__ import annotations

import torch
from rich.table import Table
from torch import Tensor, nn

from iaat.attacks import attack_mode
from iaat.config import Recipe
from iaat.data import DataFacts, data_facts
from iaat.device import pick_device, uses_bfloat16
from iaat.errors import UserError
from iaat.evaluate import plain_table
from iaat.methods import find_method
from iaat.models import build_model, count_parameters
from iaat.passes import Passes

MIB = 2**20


def total_passes(recipe: Recipe) -> Passes:
    """Mean forwards and backwards per sample and step over all epochs, as the method states them."""
    method = find_method(recipe.method_name)(recipe.method, size=1, device="cpu")
    epochs = range(recipe.train.epochs)
    costs = [method.cost(epoch) for epoch in epochs]
    costs += [method.objective_cost for epoch in epochs if recipe.train.awp_in(epoch)]
    return Passes(sum(c.forward for c in costs) / len(epochs), sum(c.backward for c in costs) / len(epochs))


def activation_bytes(model: nn.Module, shape: tuple[int, ...], batch_size: int, bytes_per_value: int) -> int:
    """Bytes of all layers' outputs for one batch, which backward keeps: counted on two inputs, for any network."""
    numbers, inputs = 0, 2

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal numbers
        if isinstance(output, Tensor):
            numbers += output.numel()

    handles = [module.register_forward_hook(count) for module in model.modules() if not list(module.children())]
    with attack_mode(model, "eval"), torch.no_grad():
        model(torch.zeros(inputs, *shape, device=next(model.parameters()).device))
    for handle in handles:
        handle.remove()
    return numbers * batch_size // inputs * bytes_per_value


def untrained_model(recipe: Recipe, facts: DataFacts) -> nn.Module:
    """The recipe's network for inputs and classes like these.

    Raises:
        UserError: the model cannot be built.
    """
    channels = facts.shape[0]
    return build_model(
        recipe.model, shape=facts.shape, classes=facts.classes, mean=torch.zeros(channels), std=torch.ones(channels)
    )


def cost_table(recipe: Recipe) -> Table:
    """Passes, samples and memory of a recipe, for people.

    Raises:
        UserError: the data cannot be found, or the model cannot be built.
    """
    facts = data_facts(recipe.data)
    model = untrained_model(recipe, facts)
    parameters = count_parameters(model)
    table = plain_table("costs")
    table.show_header = False
    for row in (*_work(recipe, facts), ("parameters", f"{parameters:,}"), *_memory(recipe, facts, model, parameters)):
        table.add_row(*row)
    return table


def _work(recipe: Recipe, facts: DataFacts) -> list[tuple[str, str]]:
    passes, epochs = total_passes(recipe), recipe.train.epochs
    used = facts.trained(recipe.data)
    sizes = facts.batch_sizes(recipe.data, recipe.train.batch_size)
    extra = sum(count for _, count in sizes)
    visits = (used + extra) * epochs
    more = f" + {facts.extra_used(recipe.data):,} extra, {extra:,} visits to them an epoch" if facts.extra_size else ""
    return [
        ("training samples", f"{used:,} of the {facts.train_size:,} of {recipe.data.name}{more}"),
        ("inputs, classes", f"{list(facts.shape)}, {facts.classes}"),
        ("passes per sample and step", f"{passes} at most  (mean over {epochs} epochs; PGD-AT at 10 steps is 11F 11B)"),
        ("forwards, backwards in all", f"{visits * passes.forward:.3g}, {visits * passes.backward:.3g}"),
        ("steps", f"{epochs * len(sizes):,} of batch size {recipe.train.batch_size}"),
    ]


def _memory(recipe: Recipe, facts: DataFacts, model: nn.Module, parameters: int) -> list[tuple[str, str]]:
    device = _device(recipe.train.device)
    half = uses_bfloat16(recipe.train.precision, device)
    activations = activation_bytes(model, facts.shape, recipe.train.batch_size, 2 if half else 4)
    return [
        ("device", f"{device}, layers in {'bfloat16' if half else 'float32'}"),
        ("weights, gradients, momentum", f"{12 * parameters / MIB:.1f} MiB"),
        ("activations of a step", f"about {activations / MIB:.0f} MiB"),
        ("radii", f"{4 * (facts.train_size + facts.extra_size) / MIB:.2f} MiB"),
        ("data, decoded", f"{facts.decoded_bytes(recipe.data) / MIB:.0f} MiB"),
    ]


def _device(name: str) -> torch.device:
    """The device a recipe asks for, which the machine that works out the costs need not have."""
    try:
        return pick_device(name)
    except UserError:
        if name.partition(":")[0] not in ("cuda", "mps"):
            raise
        return torch.device(name)
