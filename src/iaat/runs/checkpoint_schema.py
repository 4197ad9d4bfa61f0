"""Parts of a checkpoint and their types; a missing or wrong part is named with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from iaat.data.sample_checks import check_class_names
from iaat.errors import UserError, shown
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.text import cut

_VALUE = 10
_LONGEST_JSON = 50_000_000
"""Of records, in characters, with 10 for a value: those of 10,000 epochs take 10 million."""

_DEEPEST_JSON = 50
_MOST_VALUES = 1 << 24
"""Numbers in one input; a shape of more is no image that was trained on."""


class SavedState(dict[str, Any]):
    """The state in a checkpoint; a missing key raises an error for the user.

    Args:
        content: What the file holds.
        file: The file, which messages name.
    """

    def __init__(self, content: Mapping[str, Any], file: Path) -> None:
        super().__init__(content)
        self.file = file

    def __missing__(self, key: str) -> Any:  # noqa: ANN401
        raise UserError(f"checkpoint {self.file} has no {key}: it is incomplete, use another one")


def saved_state(content: Mapping[str, Any], file: Path) -> SavedState:
    """The state in a checkpoint, with the types of its parts and the description of its data checked.

    Raises:
        UserError: naming the first part that is of another kind than `iaat` writes.
    """
    state = SavedState(content, file)
    for key, (fits, kind) in _PARTS.items():
        if key in state and not fits(state[key]):
            raise UserError(f"checkpoint {file}: {key} is {_described(state[key])}, not {kind}: use another one")
    if "data" in state:
        _check_data(state["data"], file)
    return state


def _check_data(data: Mapping[str, Any], file: Path) -> None:
    for key, (fits, kind) in _DATA.items():
        if not fits(data.get(key)):
            raise UserError(
                f"checkpoint {file}: data.{key} is {_described(data.get(key))}, not {kind}: use another one"
            )
    check_class_names(data["classes"], f"checkpoint {file}")


@contextmanager
def using(part: str, state: Mapping[str, Any], *, fit: str = "") -> Iterator[None]:
    """Context for restoring the part `part` of a state; `fit` names the model that it has to fit, if it has to.

    Raises:
        UserError: naming the part and the file, whatever the code stumbled on.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # what does not fit can fail in any way
        if is_lack_of_memory(error):
            raise
        place = f"checkpoint {state.file}" if isinstance(state, SavedState) else "the checkpoint"
        reason = cut(str(error), 300) or type(error).__name__
        if fit:
            raise UserError(f"{place} does not fit model {fit}: {reason}") from None
        raise UserError(f"{place}: its part {part} cannot be used ({reason}): use another one, or start anew") from None


def check_same_types(new: object, own: object, name: str = "") -> None:
    """Refuse what was saved where it is of another type than what has its place now: PyTorch's own loaders take it.

    Both are numbers and texts in dicts and lists, and tensors; a key that only one of the two has is passed over.

    Raises:
        ValueError: naming the first that is of another kind, length or shape.
    """
    if isinstance(own, Mapping) and isinstance(new, Mapping):
        for key in own.keys() & new.keys():
            check_same_types(new[key], own[key], f"{name}.{key}" if name else str(key))
    elif isinstance(own, list | tuple) and isinstance(new, list | tuple) and len(new) == len(own):
        for number, (value, place) in enumerate(zip(new, own, strict=True)):
            check_same_types(value, place, f"{name}.{number}")
    elif isinstance(own, Tensor) and isinstance(new, Tensor):
        if new.shape != own.shape:
            raise ValueError(f"{name} has shape {list(new.shape)}, not {list(own.shape)}")
    elif own is not None and not (_is_number(own) and _is_number(new)) and type(new) is not type(own):
        raise ValueError(f"{name} is {_described(new)}")


def _described(value: object) -> str:
    if isinstance(value, Mapping | list | tuple | Tensor):
        return f"a {type(value).__name__}"
    return cut(shown(value), 100)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) >= 2**63


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value)


def _is_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _is_records(value: object) -> bool:
    """Whether a value is dicts that can be written into a log."""
    return isinstance(value, list) and all(map(_is_mapping, value)) and _is_json(value)


def _is_json(value: object) -> bool:
    """Whether a value can be written as JSON of a bounded length: what is in it twice is written twice."""
    length = 0
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        length += _VALUE + (len(each) if isinstance(each, str) else 0)
        if isinstance(each, Mapping):
            if not all(isinstance(key, str | int) for key in each):
                return False
            inner = [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple):
            inner = [*each]
        elif each is None or isinstance(each, str | int | float):
            continue
        else:
            return False
        if depth >= _DEEPEST_JSON or length + _VALUE * (len(waiting) + len(inner)) > _LONGEST_JSON:
            return False
        waiting += [(part, depth + 1) for part in inner]
    return length <= _LONGEST_JSON


def _is_epochs(value: object) -> bool:
    return _is_records(value) and all(_is_count(record.get("epoch")) for record in value)  # type: ignore[attr-defined]


def _is_shape(value: object) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= 8 or not all(map(_is_count, value)):
        return False
    return 0 < prod(value) <= _MOST_VALUES


def _each(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _with(key: str, fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Mapping) and fits(value.get(key))


def _is(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


Check = tuple[Callable[[object], bool], str]

_PARTS: dict[str, Check] = {
    **dict.fromkeys(("method", "optimizer", "schedule", "globals", "data"), (_is_mapping, "a dict")),
    "recipe": (lambda value: _is_mapping(value) and _is_json(value), "a dict of settings"),
    "tally": (_with("steps", _is_count), "a dict with a number of steps"),
    "model": (_is_tensors, "a state dict"),
    "averaged": (_or_none(_with("model", _is_tensors)), "None or a dict with a state dict under model"),
    "scaler": (_or_none(_is_mapping), "None or a dict"),
    "generator": (_is(Tensor), "a tensor"),
    "generator_device": (_is(str), "a kind of device"),
    "globals_of_others": (_each(_is_mapping), "a list of dicts"),
    "epoch": (_is_count, "a number of epochs"),
    **dict.fromkeys(("best", "lr_share"), (_is_number, "a number")),
    "records": (_is_epochs, "a list of the epochs' records"),
    "faults": (_is_records, "a list of records"),
    "frozen": (_each(_is(str)), "a list of names"),
}
_DATA: dict[str, Check] = {
    "shape": (_is_shape, "the shape of one input"),
    "classes": (_each(_is(str)), "a list of names"),
    "train_size": (_is_count, "a number of samples"),
    **dict.fromkeys(("train_fingerprint", "test_fingerprint"), (_is(str), "a text")),
}
