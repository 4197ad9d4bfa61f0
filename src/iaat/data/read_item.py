"""Read one item of a map-style data set as (stored input, class id)."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from iaat.data.image_modes import GREY_MODES, WHITE, Colour, to_mode, to_tensor
from iaat.data.levels import check_colour_depth
from iaat.data.sample_checks import item_label
from iaat.data.sample_log import SampleReadError
from iaat.errors import UserError
from iaat.runtime.rng import seed_globals
from iaat.runtime.text import cut
from iaat.runtime.user_traceback import users_traceback


class ImageSettings(NamedTuple):
    """Settings of the `data` section that convert PIL images to inputs.

    Attributes:
        channels: 3 for colour, 1 for grey; None: as each image is.
        background: Colour behind transparent pixels.
        max_value: Largest level there can be; None: that of the image's mode.
    """

    channels: Literal[1, 3] | None = None
    background: Colour = WHITE
    max_value: float | None = None


AS_THEY_ARE = ImageSettings()

_ITEM = "item"
"""Purpose of the random draws of one item, after (seed, epoch) and before the index.

So the draws depend neither on the process that reads the item, nor on what was read before."""

UNKEYED = (0, 0)
"""The `(seed, epoch)` of an item's random draws where nothing is augmented, or it is read once for all epochs."""


def seed_item(position: int, key: tuple[int, int] | None = None) -> None:
    """Seed the global generators of the CPU for one item, by `key` = `(seed, epoch)` or `UNKEYED`."""
    seed_globals(*(key or UNKEYED), _ITEM, position, gpus=False)


class MapDataset(Protocol):
    """Map-style data set: a length, and an item (x, y, ...) for each position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Any: ...  # noqa: ANN401


def read_item(
    dataset: MapDataset,
    position: int,
    *,
    where: str,
    images: ImageSettings = AS_THEY_ARE,
    altered: set[str] | None = None,
) -> tuple[Tensor, int]:
    """Read one item and convert it to a stored sample.

    Args:
        dataset: Gives (x, y, ...); what follows y is ignored.
        position: Which item.
        where: Names the place in messages.
        images: How PIL images are converted.
        altered: Receives what was altered of a PIL image, as kinds of `iaat.data.notices`.

    Returns:
        The input, uint8 or float32, and the class id.

    Raises:
        UserError: The item has another form; names its index.
    """
    item, altered = get_item(dataset, position, where=where), set[str]() if altered is None else altered
    return as_sample(item, where=f"{where}: item {position}", images=images, altered=altered)


def as_sample(item: object, *, where: str, images: ImageSettings, altered: set[str]) -> tuple[Tensor, int]:
    """Convert an item (x, y, ...) to a stored sample: see `read_item`; `where` names the item."""
    if not isinstance(item, Sequence) or isinstance(item, str) or len(item) < 2:
        raise UserError(f"{where} is a {type(item).__name__}, not a pair (x, y): return (input, class id)")
    return stored_input(item[0], where=where, images=images, altered=altered), item_label(item[1], where=where)


def get_item(dataset: MapDataset, position: int, *, where: str) -> Any:  # noqa: ANN401
    """One item as the data set gives it.

    Raises:
        SampleReadError: The user's code failed; shows their lines and names the item.
    """
    try:
        return dataset[position]
    except (UserError, MemoryError):
        raise
    except Exception as error:
        error.add_note(f"while reading item {position} of {where}")
        what = f"{type(error).__name__}: {cut(str(error))}"
        in_a_library = f"{where}: item {position} raised {what}: repair or remove the sample"
        raise SampleReadError(users_traceback(error) or in_a_library) from error


def stored_input(x: object, *, where: str, images: ImageSettings, altered: set[str]) -> Tensor:
    """Convert one input to uint8 or float32.

    Args:
        x: A PIL image, a uint8 tensor, or a floating-point tensor in [0, 1].
        where: Names the place, with the index, in messages.
        images: How PIL images are converted.
        altered: Receives what was altered of a PIL image, as kinds of `iaat.data.notices`.

    Returns:
        `[C, H, W]` uint8 for a PIL image (C is 1 for grey, else 3); a uint8 tensor as it is; else float32.

    Raises:
        UserError: `x` is something else.
    """
    if isinstance(x, Image.Image):
        channels = images.channels or (1 if x.mode in GREY_MODES else 3)
        try:
            kind, background, top = x.format, images.background, images.max_value
            check_colour_depth(x, top, altered)
            return to_tensor(
                to_mode(x, channels, file_format=kind, background=background, max_value=top, altered=altered)
            )
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
        except (OSError, SyntaxError) as error:  # an image that was opened, but is decoded only here
            raise SampleReadError(f"{where}: cannot be read as an image ({error}): repair or remove it") from error
    if not isinstance(x, Tensor):
        raise UserError(
            f"{where}: the input is a {type(x).__module__}.{type(x).__name__}: return a float tensor in [0, 1],"
            " a uint8 tensor (torch.from_numpy for arrays) or a PIL image"
        )
    if x.ndim == 0:
        raise UserError(f"{where}: the input is a single number: return a tensor of at least one dimension")
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise UserError(f"{where}: the input is {x.dtype}: convert it to uint8 (0..255) or to float32 in [0, 1]")
    return x.to(torch.float32)


def check_item(x: Tensor, y: int, *, label: int, first: Tensor, where: str, first_where: str) -> None:
    """Check an item against the list of labels and against the first input.

    Args:
        x: Its input.
        y: Its class id.
        label: The class id in the list.
        first: The input that sets the shape and type.
        where: Names the place of the item, with the index, in messages.
        first_where: Names the place of `first`.

    Raises:
        UserError: as `check_same_label` and `check_alike`.
    """
    check_same_label(y, label, where=where)
    check_alike(x, first, where=where, first_where=first_where, fix="bring all inputs to one shape and type")


def check_alike(x: Tensor, first: Tensor, *, where: str, first_where: str, fix: str) -> None:
    """Check that an input has the shape and type of the first input.

    Args:
        x: One input.
        first: The input that sets the shape and type.
        where: Names the place of `x`.
        first_where: Names the place of `first`.
        fix: What to do, for the message.

    Raises:
        UserError: They differ; names both.
    """
    if x.shape != first.shape or x.dtype != first.dtype:
        if x.shape[1:] == first.shape[1:] and {len(x), len(first)} == {1, 3}:
            fix = "grey and colour are mixed: set data.channels to 3 or 1 (images), or return one kind (tensors)"
        raise UserError(
            f"{where} has shape {list(x.shape)} ({x.dtype}), but {first_where} has {list(first.shape)}"
            f" ({first.dtype}): {fix}"
        )


def check_same_label(y: int, listed: int, *, where: str) -> None:
    """Check the class id of an item against the data set's list of labels.

    Args:
        y: The item's class id.
        listed: The class id in the list.
        where: Names the place, with the index, in messages.

    Raises:
        UserError: They differ.
    """
    if y != listed:
        raise UserError(
            f"{where} has label {y}, but {listed} in the list of labels: make the data set's targets agree with"
            " its items (or remove them), and its items the same at each reading"
        )
