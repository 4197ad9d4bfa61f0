"""Networks from the user's own Python code, named module:function."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from iaat.errors import UserError, did_you_mean


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
    with working_directory_importable():
        factory = find_factory(name)
        check_arguments(name, factory, {"shape": shape, "classes": classes}, options)
        network = factory(shape=shape, classes=classes, **options)
    if not isinstance(network, nn.Module):
        raise UserError(f"model.name {name!r} returned a {type(network).__name__}; it must return a torch.nn.Module")
    return network


def find_factory(name: str) -> Callable[..., object]:
    """Import the callable that module:function names.

    Raises:
        UserError: if there is none.
    """
    module_name, _, attribute = name.partition(":")
    module = import_module(name, module_name)
    factory: object = getattr(module, attribute, None)
    if callable(factory):
        return factory
    public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    raise UserError(
        f"model.name {name!r}: module {module_name} has no function {attribute!r}{did_you_mean(attribute, public)}"
    )


def import_module(name: str, module_name: str) -> ModuleType:
    """Import `module_name`, the first half of `name`.

    Raises:
        UserError: if it is not a module's name or no such module is found; a module missing inside it is not hidden.
    """
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UserError(
            f"model.name {name!r}: {module_name!r} is not a module's name; write package.module:function, without .py"
        )
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UserError(
            f"model.name {name!r}: there is no module {error.name!r}, neither in {Path.cwd()} nor installed"
        ) from error


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
            f"model.name {name!r} cannot be called with shape=, classes= and model.options {options}: {error}; "
            f"its signature is {signature}"
        ) from error


@contextmanager
def working_directory_importable() -> Iterator[None]:
    """Put the working directory first on the import path, as `python -m` does and an installed command does not."""
    directory = str(Path.cwd())
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(directory)
