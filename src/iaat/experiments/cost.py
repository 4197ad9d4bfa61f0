"""Cost of a recipe, computed without training: passes, steps, memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode
from iaat.config.radius_range import radius_span
from iaat.config.recipe import Recipe
from iaat.data import DatasetInfo, read_dataset_info
from iaat.errors import UserError
from iaat.experiments.check_recipe import checked_model
from iaat.methods import untrained_method
from iaat.models import count_parameters
from iaat.runtime.console_table import PlainTable, facts_table
from iaat.runtime.device import pick_device, uses_bfloat16
from iaat.runtime.passes import Passes

MIB = 2**20

BYTES_PER_WEIGHT = 12
"""Of a weight, its gradient and its momentum, in float32."""


def total_passes(recipe: Recipe) -> Passes:
    """Mean forwards and backwards per sample and step over all epochs, as the method states them."""
    first = recipe.train.natural_epochs
    method = untrained_method(recipe.method_name, recipe.run_method, natural_epochs=first)
    epochs = range(recipe.train.epochs)
    costs = [method.cost(epoch) for epoch in epochs]
    objective = (Passes(1, 1) if epoch < first else method.objective_cost for epoch in epochs)
    costs += [cost for epoch, cost in enumerate(objective) if recipe.train.awp_in(epoch)]
    return Passes(sum(c.forward for c in costs) / len(epochs), sum(c.backward for c in costs) / len(epochs))


def activation_bytes(model: nn.Module, shape: tuple[int, ...], batch_size: int, bytes_per_value: int) -> int:
    """Bytes of all layers' outputs for one batch, which backward keeps, counted on two inputs."""
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


def step_bytes(model: nn.Module, shape: tuple[int, ...], batch_size: int, bytes_per_value: int) -> int:
    """Bytes of weights, gradients and momentum, and of `activation_bytes`."""
    return BYTES_PER_WEIGHT * count_parameters(model) + activation_bytes(model, shape, batch_size, bytes_per_value)


def visits(recipe: Recipe, facts: DatasetInfo) -> int:
    """Samples that an epoch trains on, those of extra images each time they are drawn."""
    extra = sum(count for _, count in facts.batch_sizes(recipe.data, recipe.train.batch_size))
    return facts.trained(recipe.data) + extra


def number_format(precision: str, device: torch.device) -> str:
    """What layers compute in, as PyTorch calls it."""
    if precision == "fp16":
        return "float16"
    return "bfloat16" if uses_bfloat16(precision, device) else "float32"


def cost_table(recipe: Recipe, facts: DatasetInfo | None = None) -> PlainTable:
    """Passes, samples and memory of a recipe, for people; `facts` of its data are looked up if None.

    Raises:
        UserError: the data cannot be found, or as `checked_model`.
    """
    facts = read_dataset_info(recipe.data, seed=recipe.seed) if facts is None else facts
    model = checked_model(recipe, facts)
    parameters = count_parameters(model)
    table = facts_table("costs")
    for row in (*_work(recipe, facts), ("parameters", f"{parameters:,}"), *_memory(recipe, facts, model, parameters)):
        table.add_row(*row)
    return table


def _work(recipe: Recipe, facts: DatasetInfo) -> list[tuple[str, str]]:
    passes, epochs, span = total_passes(recipe), recipe.train.epochs, radius_span(recipe)
    used, visited = facts.trained(recipe.data), visits(recipe, facts)
    extra, steps = visited - used, len(facts.batch_sizes(recipe.data, recipe.train.batch_size)) * epochs
    about = "" if facts.validation_size or not recipe.data.validation_fraction else "about "  # split class by class
    more = f" + {facts.extra_used(recipe.data):,} extra, {extra:,} visits to them an epoch" if facts.extra_size else ""
    return [
        ("training samples", f"{about}{used:,} of the {facts.train_size:,} of {recipe.data.name}{more}"),
        ("inputs, classes", f"{list(facts.shape)}, {facts.classes}"),
        ("passes per sample and step", f"{passes} at most  (mean over {epochs} epochs; PGD-AT at 10 steps is 11F 11B)"),
        (
            "forwards, backwards in all",
            f"{visited * epochs * passes.forward:.3g}, {visited * epochs * passes.backward:.3g}",
        ),
        ("steps", f"{steps:,} of batch size {recipe.train.batch_size}"),
        *([] if span is None else [("attack radii", span)]),
    ]


def _memory(recipe: Recipe, facts: DatasetInfo, model: nn.Module, parameters: int) -> list[tuple[str, str]]:
    device = _device(recipe.train.device)
    numbers = number_format(recipe.train.precision, device)
    activations = activation_bytes(model, facts.shape, recipe.train.batch_size, 4 if numbers == "float32" else 2)
    return [
        ("device", f"{device}, layers in {numbers}"),
        ("weights, gradients, momentum", f"{BYTES_PER_WEIGHT * parameters / MIB:.1f} MiB"),
        ("activations of a step", f"about {activations / MIB:.0f} MiB"),
        ("radii", f"{4 * (facts.train_size + facts.extra_size) / MIB:.2f} MiB"),
        ("data, decoded", f"{facts.decoded_bytes(recipe.data) / MIB:.0f} MiB"),
        *([] if facts.cached is None else [("data.cache", _cache(recipe, facts.sample_bytes, *facts.cached))]),
    ]


def _cache(recipe: Recipe, sample_bytes: int, held: int, wanted: int) -> str:
    """What the cache of decoded images holds, and how much is to be written."""
    data, rest = recipe.data, ""
    if held < wanted and data.may_write_cache:
        rest = f"; {(wanted - held) * sample_bytes / MIB:.0f} MiB will be written"
    elif held < wanted:
        rest = f"; a file names data.cache, so nothing is written: type --data.cache {data.cache}"
    return f"{held:,} of {wanted:,} images are in {data.cache}{rest}"


def _device(name: str) -> torch.device:
    """The device a recipe asks for, which the machine that works out the costs need not have."""
    try:
        return pick_device(name)
    except UserError:
        if name.partition(":")[0] not in ("cuda", "mps"):
            raise
        return torch.device(name)
