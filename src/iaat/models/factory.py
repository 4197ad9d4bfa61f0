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
    """Check that the factory's signature takes the arguments."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables written in C have no signature: calling them is the only check
        return
    try:
        signature.bind(**given, **options)
    except TypeError as error:
        raise UserError(
            f"model.name {name!r} cannot be called with shape=, classes= and model.options {shown(options)}: {error}; "
            f"its signature is {signature}; it must build and return the model"
        ) from error
