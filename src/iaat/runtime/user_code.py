"""Importing `module:function` of the user's own code, and which code of others is trusted."""

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from iaat.errors import UserError, did_you_mean, shown
from iaat.runtime.user_traceback import register

GIVEN = "python-object"
"""Name of a model, or of data, that was passed as an object; no file has it."""

_TRUSTED: set[str] = set()
_TRUSTED_FILES: set[Path] = set()


def passed_as_object(place: str, what: str) -> str:
    """Begin a message about a model, or data, that is needed again: place, and why it is not there."""
    return f"{place}: the {what} was passed to iaat.fit as an object, which no file has"


def trust(*names: str) -> None:
    """Trust code of others for the life of the process: modules, functions, programs in files.

    Without it a recipe file that names code is refused, and so is a file that holds a program: whoever wrote it could
    run anything. Code named on the command line, or given to `load_recipe` as an override, is trusted as it was typed.

    Args:
        names: Modules, such as `my_net`, with functions that recipe files may name; single functions, such as
            `my_net:build`; or files of programs, such as `model.pt2`.

    Raises:
        UserError: A name is neither a module's nor a file.
    """
    for name in names:
        is_file = Path(name).is_file() and not name.endswith(".py")
        if is_file:
            _TRUSTED_FILES.add(Path(name).resolve())
        if _is_module_name(name.partition(":")[0]):  # as model.pt2 might be, too
            _TRUSTED.add(name)
        elif not is_file:
            raise UserError(
                f"--trust {shown(name)}: is neither a module's name nor the file of a program: write such as my_net for"
                " my_net.py, or model.pt2"
            )


def is_trusted_file(path: Path) -> bool:
    """Whether `trust` was called with this file."""
    return path.resolve() in _TRUSTED_FILES


def _is_module_name(name: str) -> bool:
    return not name.endswith(".py") and all(part.isidentifier() for part in name.split("."))


def trust_typed(name: str) -> None:
    """Trust code that was typed by its name, and nothing else of its module."""
    _TRUSTED.add(name)


def check_trusted(name: object, *, key: str, place: str) -> None:
    """Refuse code, such as `my_net:build`, that `key` of the file `place` names and nobody trusts; other names pass.

    Raises:
        UserError: It names code that is not trusted.
    """
    if not isinstance(name, str) or ":" not in name or (key == "model.name" and name.startswith("timm:")):
        return
    module = name.partition(":")[0]
    if not _TRUSTED & {name, module}:
        instead = ", or model=MyNet() for iaat.load" if key == "model.name" else ""
        raise UserError(
            f"{place}: {key} names code, {shown(name)}, which a file may not run by itself: if you trust it, add "
            f"--trust {module[:100]} (in Python, trust=True{instead})"
        )


def modules_of(names: Iterable[str]) -> list[str]:
    """The modules of those names that are code, such as `my_net` of `my_net:build`; each once."""
    code = [name for name in names if ":" in name and not name.startswith("timm:")]
    return list(dict.fromkeys(name.partition(":")[0] for name in code))


def trusted_modules(names: Iterable[str]) -> list[str]:
    """As `modules_of`, of the names that are trusted."""
    return modules_of(name for name in names if _TRUSTED & {name, name.partition(":")[0]})


def import_function(name: str, *, key: str) -> Callable[..., Any]:
    """Import the callable that module:function names; the working directory is importable from then on.

    What the user's own code raises passes through, so that its traceback is seen.

    Raises:
        UserError: There is no such module or callable; `key` is the recipe key of the name.
    """
    module_name, _, function_name = name.partition(":")
    check_module_name(name, key=key)
    module = _import(module_name, key)
    function = getattr(module, function_name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    public = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
    what = "has no function" if function is None else "holds no function but a value under the name"
    place = getattr(module, "__file__", None) or f"module {module_name}"
    raise UserError(
        f"{key}: {place} {what} {function_name!r}: name one that it defines{did_you_mean(function_name, public)}"
    )


def check_module_name(name: str, *, key: str) -> None:
    """Check the first half of module:function, for which a file's name is often taken.

    Raises:
        UserError: It is no dotted name of a module.
    """
    module_name, _, function_name = name.partition(":")
    if module_name.endswith(".py"):
        module = ".".join(part for part in Path(module_name).with_suffix("").parts if part.isidentifier())
        raise UserError(
            f"{key} is {shown(name)}: {shown(module_name)} is a file; write {module}:{function_name}, without .py"
        )
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UserError(
            f"{key} is {shown(name)}: {shown(module_name)} is not a module's name: write module:function, e.g."
            " my_package.my_module:make"
        )


def _import(module_name: str, key: str) -> ModuleType:
    here = str(Path.cwd())
    # First, as `python -m` has it. It stays: imports inside the user's functions and worker processes need it again.
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
        register(module)
        return module
    except ModuleNotFoundError as error:
        # A module that the user's module fails to import is another mistake: show it as it is.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        local = [path.stem for path in Path(here).glob("*.py")]
        raise UserError(
            f"{key}: no module {error.name!r} in {here} nor among the installed ones: run from the folder that"
            f" holds {error.name}.py, or install it{did_you_mean(error.name, local)}"
        ) from error
