"""Reads our docstrings as mkdocstrings' own: `Example:` as a section of doctests, `__new__` as a constructor."""

import re

import griffe


class Sections(griffe.Extension):
    """Changes objects before their docstrings are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        if obj.is_class and "__new__" in obj.members and "__init__" not in obj.members:
            obj.members["__init__"] = obj.members.pop("__new__")
            obj.members["__init__"].name = "__init__"
