"""State dicts of other people's files: read without running code, unwrapped, loaded with errors that name layers."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from iaat.errors import UserError
from iaat.models.config import ModelConfig
from iaat.models.recognize import fix

State = dict[str, Tensor]
Statistics = tuple[Tensor, Tensor]

WRAPPINGS = (
    "averaged",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "ema",
)
"""Keys under which training code keeps the weights, in the order they are looked for."""

_SHOWN = 5


def read_weights(path: Path) -> State:
    """Read a state dict from a file of `torch.save` or safetensors; nothing in it can run code.

    Wrappings such as `{"state_dict": ...}` or `{"model": ...}` are taken off, iaat's own checkpoints among them, of
    which the average of the weights is taken where there is one.

    Raises:
        UserError: a file that cannot be read, holds objects other than data, or holds no weights.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(_refused(path, error)) from None
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"weights {path} cannot be read, the file may be cut short: {_first_line(error)}") from None
    state = unwrap(content)
    if state is None:
        raise UserError(f"weights {path} hold {_describe(content)} and no state dict: save model.state_dict() alone")
    return state


def unwrap(content: object) -> State | None:
    """The state dict in what a file holds, under up to two of the usual keys; None where there is none."""
    for _ in range(3):
        if _is_state(content):
            return dict(content)  # type: ignore[call-overload, no-any-return]
        if not isinstance(content, Mapping):
            return None
        content = next((content[key] for key in WRAPPINGS if isinstance(content.get(key), Mapping)), None)
    return None


def _is_state(content: object) -> bool:
    if not isinstance(content, Mapping) or not content:
        return False
    return all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())


def load_weights(network: nn.Module, path: Path, config: ModelConfig, *, classes: int) -> Statistics | None:
    """Load a file's weights into a network without its normalisation layer, all of them or none.

    Prefixes that wrappers put before every name (`module.`, `_orig_mod.`, `model.`) are taken off.

    Args:
        network: Of the architecture the weights were saved from.
        path: The file.
        config: What the network was built from, for the advice in messages.
        classes: Number of classes of the data, for the same.

    Returns:
        Mean and std `[C]` of the normalisation layer, where the file has one of iaat's in front of the network.

    Raises:
        UserError: as `read_weights`; names or shapes of the weights are not those of the network.
    """
    expected = network.state_dict()
    state, statistics = fitted(read_weights(path), expected)
    if problem := misfit(state, expected):
        advice = fix(state, expected, config, classes=classes)
        raise UserError(f"weights {path} do not fit model {config.name}: {problem}; {advice}")
    network.load_state_dict(state)
    return statistics


def fitted(state: State, expected: Mapping[str, Tensor]) -> tuple[State, Statistics | None]:
    """Bring the names of a state dict to those expected, and take iaat's normalisation layer out of it."""
    # torch.compile puts its component anywhere; `n_averaged` is the counter of AveragedModel.
    state = {key.replace("_orig_mod.", ""): value for key, value in state.items() if key != "n_averaged"}
    candidates = [_without_normalization(each) for each in _shorter_names(state)]
    return max(candidates, key=lambda candidate: len(candidate[0].keys() & expected.keys()))


def _shorter_names(state: State) -> Iterator[State]:
    """The state dict, and again without the first component of every name, as long as all share one."""
    yield state
    while state:
        first = {key.partition(".")[0] for key in state}
        if len(first) > 1 or not all("." in key for key in state):
            return
        state = {key.partition(".")[2]: value for key, value in state.items()}
        yield state


def _without_normalization(state: State) -> tuple[State, Statistics | None]:
    mean, std = state.get("normalize.mean"), state.get("normalize.std")
    if mean is None or std is None:
        return state, None
    return {key.removeprefix("network."): state[key] for key in state if key.startswith("network.")}, (mean, std)


def misfit(state: State, expected: Mapping[str, Tensor]) -> str:
    """What keeps weights from being loaded: the first names missing, unexpected, of another shape; empty if nothing."""
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {list(state[key].shape)} in the file, {list(value.shape)} in the network"
        for key, value in expected.items()
        if key in state and _shape(state[key]) != _shape(value)
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    return "; ".join(f"{what} {_first_of(names)}" for what, names in parts.items() if names)


def _shape(tensor: Tensor) -> torch.Size | None:
    """None for a parameter that takes its shape from the weights."""
    return None if is_lazy(tensor) else tensor.shape


def _first_of(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _refused(path: Path, error: Exception) -> str:
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named is None:
        return f"weights {path} cannot be read: they are no file of torch.save, or one that is cut short"
    return (
        f"weights {path} are refused: loading them would run code ({named[1]}); where the model was made, save "
        "model.state_dict() alone, or the model itself by torch.export.save"
    )


def _describe(content: Any) -> str:  # noqa: ANN401
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"a dict with the keys {_first_of([str(key) for key in content])}" if content else "an empty dict"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
