"""Load weights from any file: read without running code, unwrapped, with errors that name layers."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from iaat.errors import UserError, did_you_mean, shown
from iaat.models.architecture_hint import is_classifier, misfit_advice
from iaat.models.model_config import ModelConfig
from iaat.models.model_file_kind import file_kind, is_archive
from iaat.models.recorded_statistics import recorded_statistics
from iaat.models.safe_pickle import check_names
from iaat.models.state_dict_search import (
    FoundStateDict,
    InputStatistics,
    find_state_dicts,
    fits,
    missing,
    reshaped,
    unexpected,
)
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.text import cut, first_few, first_line

_SHOWN = 5
_DEEPEST = 10
_LONGEST_NAME = 1000
_DTYPES = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
        *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    }
)
"""Of weights and counters; float8 and quantised numbers mean nothing without scales that are kept elsewhere."""


class Unused:
    """Stand-in for an object beside the weights that is not needed, and is never constructed."""

    def __new__(cls, *_args: object, **_more: object) -> Unused:
        """Accept any arguments, and keep none."""
        return super().__new__(cls)

    def __setstate__(self, _state: object) -> None:
        """Accept any state, and keep none of it."""


_DATA = (
    *("argparse.Namespace", "types.SimpleNamespace"),
    *(
        f"{module}.{name}"
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *(
        f"numpy.{core}.{name}"
        for core in ("core", "_core")
        for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
    ),
    *("numpy.ndarray", "numpy.dtype", "numpy.bool_", "numpy.float64", "numpy.float32", "numpy.int64"),
)
"""Objects that training code keeps beside weights; all of them are data."""


def read_content(path: Path) -> Any:  # noqa: ANN401
    """Read the content of a file of `torch.save` or safetensors; nothing in it can run code.

    Settings (`Namespace`), paths and NumPy's values beside the weights are left out: each is an `Unused`.

    Raises:
        UserError: a file that cannot be read, or holds objects other than data.
    """
    if file_kind(path) != "weights":
        raise UserError(
            f"weights {path} are a program of its own: give it as the model, or save model.state_dict() of the original"
        )
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        _check_form(path)
        allowed = torch.serialization.safe_globals([(Unused, name) for name in _DATA])
        with allowed, path.open("rb") as file:
            check_names(file)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(_refused(path, error)) from None
    except Exception as error:  # what is no file of weights can fail in any way
        if is_lack_of_memory(error):
            raise
        raise UserError(f"weights {path} cannot be read, the file may be cut short: {first_line(error)}") from None


def _check_form(path: Path) -> None:
    """Refuse a file that `torch.save` has not written: read as a pickle it means anything, and errors would show it."""
    with path.open("rb") as file:
        if file.read(1) != b"\x80" and not is_archive(path):
            raise UserError(f"weights {path} cannot be read: they are no file of torch.save or safetensors")


def check_plain(content: object, where: str) -> None:
    """Refuse tensors that no model can use (sparse, quantised, complex, no data), and names above 1,000 characters.

    Args:
        content: Tensors in dicts and lists.
        where: Names the file in messages.

    Raises:
        UserError: naming the first one.
    """
    for place, tensor in _tensors(content):
        if place and len(place[-1]) > _LONGEST_NAME:
            raise UserError(
                f"{where} cannot be used: {cut(place[-1], 100)} is a name of {len(place[-1]):,} characters, and"
                f" {_LONGEST_NAME:,} are the most"
            )
        if odd := _odd(tensor):
            raise UserError(
                f"{where} cannot be used: {cut('.'.join(place), 200)} is {odd}: save model.state_dict() of a dense"
                " float model"
            )


def _tensors(content: object) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Yield the tensors in nested dicts and lists with the keys that lead to them; each container once."""
    seen = {id(content)}
    waiting: list[tuple[tuple[str, ...], object]] = [((), content)]
    # The shallowest first: a container that is in several places is looked into from the one nearest to the top.
    for place, value in waiting:
        if isinstance(value, Tensor):
            yield place, value
        elif isinstance(value, Mapping | list | tuple) and len(place) < _DEEPEST:
            for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
                if isinstance(inner, Tensor) or (isinstance(inner, Mapping | list | tuple) and id(inner) not in seen):
                    seen.add(id(inner))
                    waiting.append(((*place, _named(key)), inner))


def _named(key: object) -> str:
    """Key as text; of other than str and int the type, because its text may have any length."""
    return str(key) if isinstance(key, str | int) else f"a {type(key).__name__}"


def _odd(tensor: Tensor) -> str:
    """Reason why a tensor cannot be a weight; empty if it can."""
    if tensor.is_meta:
        return "on the meta device, without data"
    if tensor.layout != torch.strided:
        return f"sparse ({tensor.layout})"
    return "" if tensor.dtype in _DTYPES else f"of type {tensor.dtype}"


def load_weights(
    network: nn.Module, path: Path, config: ModelConfig, *, classes: int, new_classifier: bool = False
) -> InputStatistics | None:
    """Load the weights in a file that fit a model without normalisation layer: all of them or none.

    Every dict in the file and every prefix of its names is tried. Where several state dicts fit, a moving average comes
    first, unless `config.weights_key` names another; a warning names the choice.

    Args:
        network: Of the architecture the weights were saved from.
        path: The file.
        config: What the model was built from, and `weights_key`.
        classes: Number of classes of the data.
        new_classifier: Whether a classifier for another number of classes may stay as it is in the model.

    Returns:
        The input statistics that the file has beside the weights, or in the record of an export, if any.

    Raises:
        UserError: As `read_content`; no state dict in the file has the names and shapes of the model.
    """
    expected = network.state_dict()
    content = read_content(path)
    check_plain(content, f"weights {path}")
    recorded = recorded_statistics(path)
    found = find_state_dicts(content, expected)
    if not found:
        raise UserError(f"weights {path} hold {_describe(content)} and no state dict: save model.state_dict() alone")
    chosen = _chosen(found, expected, path, config)
    state = {key: chosen.state[key] for key in expected if key in chosen.state}
    if problem := misfit(chosen, expected):
        classifier = _classifier(chosen, expected, classes) if new_classifier else []
        if not classifier:
            advice = misfit_advice(chosen.state, expected, config, classes=classes)
            raise UserError(f"weights {path} do not fit model {config.name}: {problem}; {advice}")
        count = len(chosen.state[classifier[0]])
        warnings.warn(
            f"model.weights {path} are of {count} classes, the data has {classes}: the classifier "
            f"({_first_of(classifier)}) starts anew",
            stacklevel=2,
        )
        state |= {key: expected[key] for key in classifier}
    _warn_of_choice(chosen, [each for each in found if each is not chosen and fits(each, expected)], path, config)
    network.load_state_dict(state, strict=False)
    return recorded or chosen.statistics


def _chosen(
    found: list[FoundStateDict], expected: Mapping[str, Tensor], path: Path, config: ModelConfig
) -> FoundStateDict:
    """State dict to load, of those found in the file."""
    key = config.weights_key
    if key is None:
        return found[0]
    named = [each for each in found if f"{each.place}.".startswith(f"{key}.")]
    if not named:
        there = [each.place for each in found if fits(each, expected)]
        raise UserError(
            f"model.weights_key {shown(key)}: {path} has no weights of model {config.name} there"
            f"{did_you_mean(key, there)}; it has them under {_first_of(there) or 'no key'}"
        )
    return named[0]


def _warn_of_choice(chosen: FoundStateDict, others: list[FoundStateDict], path: Path, config: ModelConfig) -> None:
    """Warn of what a user may not expect: a choice of weights, tensors beside the layers, stored input statistics."""
    if others and config.weights_key is None:
        keys = _first_of([each.shown for each in others])
        warnings.warn(
            f"weights {path}: {chosen.shown} is taken; the file has other weights under {keys}: choose by "
            "--model.weights_key",
            stacklevel=3,
        )
    if chosen.beside:
        names = _first_of(list(chosen.beside))
        warnings.warn(f"weights {path}: {names} belong to no layer of the model and are left out", stacklevel=3)
    statistics = chosen.statistics
    if statistics is not None and not statistics.own and config.mean is None:
        mean, std = ([round(value, 4) for value in values.tolist()] for values in statistics[:2])
        warnings.warn(
            f"weights {path}: inputs are standardised by the mean {mean} and std {std} in the file; --model.mean and "
            "--model.std change it",
            stacklevel=3,
        )


def misfit(candidate: FoundStateDict, expected: Mapping[str, Tensor]) -> str:
    """Reason why weights do not fit: the first names missing, unexpected, of another shape; empty if they fit."""
    state = candidate.state
    shapes = [
        f"{key} {list(state[key].shape)} in the file, {list(expected[key].shape)} in the model"
        for key in reshaped(candidate, expected)
    ]
    absent = missing(state, expected)
    # Where layers are missing, all others are other names for them.
    more = [key for key in state if key not in expected] if absent else unexpected(candidate, expected)
    parts = {"missing": absent, "unexpected": more, "of another shape": shapes}
    return "; ".join(f"{what} {_first_of(names)}" for what, names in parts.items() if names)


def _classifier(candidate: FoundStateDict, expected: Mapping[str, Tensor], classes: int) -> list[str]:
    """Names of the classifier's weights, if only its number of classes does not fit."""
    if missing(candidate.state, expected) or unexpected(candidate, expected):
        return []
    state, changed = candidate.state, reshaped(candidate, expected)
    only = all(is_classifier(state[key], expected[key], classes) for key in changed)
    return changed if only and len({len(state[key]) for key in changed}) == 1 else []


def _first_of(names: list[str]) -> str:
    return first_few([cut(name, 100) for name in names], _SHOWN)


def _refused(path: Path, error: Exception) -> str:
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named is None:
        return f"weights {path} cannot be read: they are no file of torch.save, or one that is cut short"
    return (
        f"weights {path} are refused: loading them could run code or take any memory ({cut(named[1], 100)}); where the "
        "model was made, save model.state_dict() alone"
    )


def _describe(content: Any) -> str:  # noqa: ANN401
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"a dict with the keys {_first_of([str(key) for key in content])}" if content else "an empty dict"
