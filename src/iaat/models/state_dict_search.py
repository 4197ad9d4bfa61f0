"""Search for state dicts in a file that fit a model: in any nested dict, behind any prefix of names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

State = dict[str, Tensor]

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
)
"""Keys under which training code keeps weights, in order of preference; averaged weights come before all."""

_AVERAGE = re.compile(r"(^|[._])(ema|averaged?|avg|swa|polyak|shadow)($|[._])", re.IGNORECASE)
_INSERTED = re.compile(r"(?:^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Components that torch.compile, FSDP and activation checkpointing put anywhere into a name."""

STATISTICS = (
    *(("mean", "std"), ("mu", "sigma"), ("mu", "std"), ("mean", "sigma"), ("new_mean", "new_std"), ("_mean", "_std")),
    *(("image_mean", "image_std"), ("pixel_mean", "pixel_std"), ("means", "sds"), ("means", "stds")),
)
"""Names under which normalisation layers in wide use keep mean and standard deviation."""

_DEEPEST = 4
_MOST_DICTS = 1000
_MOST_SETS = 1000
_MOST_PREFIXES = 100
_MOST_CHANNELS = 64


class InputStatistics(NamedTuple):
    """Mean and standard deviation `[C]` of the inputs, on the [0, 1] scale.

    Attributes:
        mean: `[C]`.
        std: `[C]`.
        own: Whether they are of a normalisation layer of iaat.
    """

    mean: Tensor
    std: Tensor
    own: bool

    def agree_with(self, mean: Tensor, std: Tensor) -> bool:
        """Whether others `[C]` are the same, up to rounding."""
        pairs = ((self.mean, mean), (self.std, std))
        return all(a.shape == b.shape and torch.allclose(a.cpu(), b, rtol=1e-5, atol=1e-7) for a, b in pairs)


@dataclass(frozen=True, eq=False)
class FoundStateDict:
    """State dict found in a file, under the names of the model.

    Attributes:
        place: Its place: keys of the dicts and prefix of the names, joined by dots; "" is the whole file.
        state: The tensors behind the prefix.
        beside: Names that belong to no layer of the model, and to no other state dict.
        statistics: Input statistics stored with it.
    """

    place: str
    state: State
    beside: tuple[str, ...]
    statistics: InputStatistics | None

    @property
    def shown(self) -> str:
        """Place, for messages."""
        return self.place or "the top of the file"


def find_state_dicts(content: object, expected: Mapping[str, Tensor]) -> list[FoundStateDict]:
    """All state dicts in the content of a file, the preferred one first.

    Preferred is the one with most of the expected names, in the expected shapes. Of equals averaged weights come first,
    then the one under the fewest keys, then the order of `WRAPPINGS` and of the file. Copies count once.

    Args:
        content: Tensors by name, in dicts within dicts.
        expected: State dict of the model.
    """
    every = (each for path, state in states(content) for each in _of_state(path, state, expected))
    found = list(islice(every, _MOST_SETS))
    found.sort(key=lambda each: _rank(each, expected))
    unique: list[FoundStateDict] = []
    for each in found:
        if not any(_same(each.state, other.state, expected) for other in unique):
            unique.append(each)
    return unique


def fits(candidate: FoundStateDict, expected: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has all names and shapes of a model, and no further names in its layers."""
    return not (missing(candidate.state, expected) or unexpected(candidate, expected) or reshaped(candidate, expected))


def missing(state: State, expected: Mapping[str, Tensor]) -> list[str]:
    """Expected names that are missing; counters of BatchNorm may be."""
    return [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]


def unexpected(candidate: FoundStateDict, expected: Mapping[str, Tensor]) -> list[str]:
    """Further names within layers of the model: the sign of a different, deeper model."""
    layers = {key.partition(".")[0] for key in expected}
    return [
        key
        for key in candidate.state
        if key not in expected and ((first := key.partition(".")[0]) in layers or first.isdecimal())
    ]


def reshaped(candidate: FoundStateDict, expected: Mapping[str, Tensor]) -> list[str]:
    """Names of weights with another shape than expected; lazy ones take any."""
    state = candidate.state
    return [
        key
        for key, value in expected.items()
        if key in state and not is_lazy(state[key]) and not is_lazy(value) and state[key].shape != value.shape
    ]


def states(content: object) -> Iterator[tuple[tuple[str, ...], State]]:
    """Yield every dict with tensors under names, and the keys that lead to it."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), content)]
    for number, (path, each) in enumerate(waiting):
        if not isinstance(each, Mapping) or number >= _MOST_DICTS:
            continue
        named = [(key, value) for key, value in each.items() if isinstance(key, str)]
        if state := {_INSERTED.sub("", key): value for key, value in named if isinstance(value, Tensor)}:
            yield path, state
        if len(path) < _DEEPEST:
            waiting += [((*path, key), value) for key, value in named if isinstance(value, Mapping)]


def _of_state(path: tuple[str, ...], state: State, expected: Mapping[str, Tensor]) -> Iterator[FoundStateDict]:
    counts: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for number in range(len(parts)):
            if ".".join(parts[number:]) in expected:
                counts[".".join([*parts[:number], ""])] += 1
    # A short name, such as "weight", is found behind many prefixes: what has few of the names is no copy of them.
    most = max(counts.values(), default=0)
    if not most:
        yield FoundStateDict(".".join(path), state, (), None)
    prefixes = [prefix for prefix, count in counts.most_common(_MOST_PREFIXES) if 2 * count > most]
    for prefix in prefixes:
        inside = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        nested = tuple(other[len(prefix) :] for other in prefixes if other != prefix and other.startswith(prefix))
        statistics, names = _statistics(state, prefix, expected)
        used = {name[len(prefix) :] for name in names if name.startswith(prefix)}
        kept = {
            name: value
            for name, value in inside.items()
            if name in expected or not (name in used or (nested and name.startswith(nested)))
        }
        layers = {name.partition(".")[0] for name in expected}
        beside = tuple(
            name
            for name in kept
            if name not in expected and name.partition(".")[0] not in layers and name != "n_averaged"
        )
        yield FoundStateDict(".".join([*path, prefix]).strip("."), kept, beside, statistics)


def _statistics(
    state: State, prefix: str, expected: Mapping[str, Tensor]
) -> tuple[InputStatistics | None, tuple[str, str] | tuple[()]]:
    """Mean and std stored nearest to a model, in the same module, beside or around it; and their names."""
    parts = prefix.split(".")[:-1]
    around = [".".join([*parts[:number], ""]) for number in range(len(parts), -1, -1)]
    for place in around:
        for name, value in state.items():
            inner = name.removeprefix(place)
            if not name.startswith(place) or inner.count(".") > 1 or name.removeprefix(prefix) in expected:
                continue
            module, dot, last = inner.rpartition(".")
            for mean, std in STATISTICS:
                other = f"{place}{module}{dot}{std}"
                if last == mean and (found := _channelwise(value, state.get(other))) is not None:
                    own = (mean, module) == ("mean", "normalize") and prefix.endswith("network.")
                    return InputStatistics(*found, own=own), (name, other)
    return None, ()


def _channelwise(mean: Tensor, std: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Mean and std as `[C]` on the [0, 1] scale; None where they are not one number a channel."""
    if std is None or not 0 < mean.numel() == std.numel() <= _MOST_CHANNELS or mean.numel() != max(mean.shape or (1,)):
        return None
    if not (mean.is_floating_point() and std.is_floating_point()):
        return None
    mean, std = mean.flatten().float(), std.flatten().float()
    if not bool((mean.isfinite() & std.isfinite() & (std > 0)).all()):
        return None
    bytes_in = bool(torch.maximum(mean, std).max() > 2)  # of inputs in 0..255
    return (mean / 255, std / 255) if bytes_in else (mean, std)


def _rank(candidate: FoundStateDict, expected: Mapping[str, Tensor]) -> tuple[int, ...]:
    place = candidate.place
    parts = place.split(".") if place else []
    first = WRAPPINGS.index(parts[0]) if parts and parts[0] in WRAPPINGS else len(WRAPPINGS)
    return (
        len(missing(candidate.state, expected)),
        len(unexpected(candidate, expected)) + len(reshaped(candidate, expected)),
        0 if candidate.state.keys() & expected.keys() else -len(candidate.state),
        _AVERAGE.search(place) is None,
        len(parts),
        first,
    )


def _same(one: State, other: State, expected: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts hold the same weights for the model."""
    return all(
        (key in one) == (key in other) and (key not in one or torch.equal(one[key], other[key])) for key in expected
    )
