"""Names of recipes that are trained by another method than their own, which `--method` chose."""

from __future__ import annotations


def with_method(name: str, method: str) -> str:
    """A recipe's name with the method that was chosen: `quickstart-with-pgd_at`; of module:Class the class."""
    return f"{name}{_mark(method)}"


def without_method(name: str, method: str) -> str:
    """The recipe's own name, which older versions gave its runs whatever `--method` said."""
    return name.removesuffix(_mark(method))


def _mark(method: str) -> str:
    return f"-with-{method.rpartition(':')[2]}"
