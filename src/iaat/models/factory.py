"""Models from a function of the user: `model.name = module:function`."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from iaat.errors import UserError, shown
from iaat.models.check_logits import check_is_module
from iaat.runtime.user_code import import_function


def build_from_factory(name: str, *, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """Build a model by the user's factory `name` (module:function); the working directory is importable.

    Errors of the user's code pass through, so that their traceback is seen.

    Args:
        name: Dotted module and the name of a callable in it, such as `my_models:tiny` or `my_models:Net`.
        shape: Shape of one input, without the batch; given where the signature takes it.
        classes: Number of classes; likewise.
        options: Further keyword arguments.

    Raises:
        UserError: if there is no such module or callable, it does not take the arguments, or it returns no module.
    """
    factory = import_function(name, key="model.name")
    of_data = {"shape": shape, "classes": classes}
    return call_factory(f"model.name {shown(name)}", factory, of_data, options, unnamed=True)


def call_factory(
    what: str, factory: Callable[..., object], of_data: dict[str, object], options: dict[str, Any], *, unnamed: bool
) -> nn.Module:
    """Call a factory with the options and with those of the data's facts that its signature takes.

    Args:
        what: Names the factory in messages.
        factory: The callable.
        of_data: Facts of the data by argument.
        options: Further keyword arguments.
        unnamed: Whether a signature with `**kwargs` takes all facts, and not only those it names.

    Raises:
        UserError: it does not take the arguments, or returns no module.
    """
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables written in C have no signature: calling them is the only check
        return check_is_module(factory(**of_data, **options), f"{what} returned")
    given = {key: value for key, value in of_data.items() if _takes(signature, key, unnamed=unnamed)}
    try:
        signature.bind(**given, **options)
    except TypeError as error:
        passed = " and ".join([*(f"{key}=" for key in given), f"model.options {shown(options)}"])
        raise UserError(
            f"{what} cannot be called with {passed}: {error}; its signature is {signature}: it gets shape= and classes="
            " where it takes them, and what else it needs from model.options; it must build and return the model"
        ) from error
    return check_is_module(factory(**given, **options), f"{what} returned")


def _takes(signature: inspect.Signature, argument: str, *, unnamed: bool) -> bool:
    """Whether a signature takes the keyword argument."""
    kinds = {each.name: each.kind for each in signature.parameters.values()}
    if unnamed and inspect.Parameter.VAR_KEYWORD in kinds.values():
        return True
    return kinds.get(argument) in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
