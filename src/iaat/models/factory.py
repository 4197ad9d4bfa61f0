"""Networks from the user's own Python code, named module:function."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from iaat.errors import UserError, shown
from iaat.models.check_logits import check_is_module
from iaat.runtime.user_code import import_function


def build_from_factory(name: str, *, shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> nn.Module:
    """Import the factory that `name` (module:function) names and call it; the working directory is importable.

    What the user's own code raises passes through, so that its traceback is seen.

    Args:
        name: Dotted module and the name of a callable in it, such as `my_models:tiny`.
        shape: Shape of one input, without the batch.
        classes: Number of classes.
        options: Further keyword arguments.

    Raises:
        UserError: if there is no such module or callable, it does not take the arguments, or it returns no module.
    """
    factory = import_function(name, key="model.name")
    check_arguments(name, factory, {"shape": shape, "classes": classes}, options)
    network = factory(shape=shape, classes=classes, **options)
    return check_is_module(network, f"model.name {shown(name)} returned")


def check_arguments(
    name: str, factory: Callable[..., object], given: dict[str, object], options: dict[str, Any]
) -> None:
    """Raise `UserError` if the factory's signature does not take the arguments."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables written in C tell nothing: calling them is the only check
        return
    try:
        signature.bind(**given, **options)
    except TypeError as error:
        raise UserError(
            f"model.name {name!r} cannot be called with shape=, classes= and model.options {shown(options)}: {error}; "
            f"its signature is {signature}; it must build and return the network"
        ) from error
