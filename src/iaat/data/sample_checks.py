"""Checks on samples and labels. Each message names the place, the index, the value and the fix."""

import operator
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from iaat.errors import UserError, shown
from iaat.runtime.text import first_few

MOST_CHARACTERS = 1000
"""Characters of a class name: longer ones fit in no table."""
_CHUNK = 4096
_FROM_ONE = "labels go from 1 to {high}: subtract 1 from each"


def check_labels(labels: object, *, where: str) -> Tensor:
    """Convert class ids to an int64 tensor; other than integers are refused.

    Args:
        labels: `[N]` tensor, array or sequence of integers.
        where: Names the place in messages, e.g. `"training set"`.

    Returns:
        `[N]` int64 on the CPU.

    Raises:
        UserError: The labels are not one integer a sample.
    """
    try:
        ids = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{where}: the labels cannot be made a tensor ({error}): give one class id (int) a sample"
        ) from error
    if ids.ndim != 1:
        raise UserError(
            f"{where}: the labels have shape {list(ids.shape)}, not [N]: give one class id a sample"
            " (for one-hot rows: labels.argmax(1))"
        )
    if ids.numel() and not _is_integral(ids.dtype):
        raise UserError(
            f"{where}: the label at index 0 is {ids[0].item()} ({ids.dtype}), class ids must be integers:"
            " convert them with labels.to(torch.int64)"
        )
    return ids.to("cpu", torch.int64)


def check_class_names(names: Iterable[str], where: str) -> None:
    """Refuse class names that are too long for a table.

    Args:
        names: The names.
        where: Names their place in the message.

    Raises:
        UserError: naming the first one.
    """
    for number, name in enumerate(names):
        if len(name) > MOST_CHARACTERS:
            raise UserError(
                f"{where}: the name of class {number} has {len(name):,} characters ({shown(name[:200])}): give it one"
                f" of at most {MOST_CHARACTERS:,}"
            )


def check_same_classes(own: Sequence[str], classes: Sequence[str], where: str) -> None:
    """Refuse class names of a second data set under which a number stands for another class than in training.

    Names at the end may be missing on either side: labels without a class are found by themselves. Where a side has
    numbers for names there is nothing to compare.

    Args:
        own: Names of the second data set; may be empty.
        classes: Names of the training data; may be empty.
        where: Names the second data set.

    Raises:
        UserError: naming the first class that differs.
    """
    if any(list(names) == list(map(str, range(len(names)))) for names in (own, classes)):
        return
    pairs = enumerate(zip(own, classes, strict=False))
    number = next((number for number, (mine, theirs) in pairs if mine != theirs), None)
    if number is not None:
        what = "in another order than" if sorted(own) == sorted(classes) else "other classes than"
        raise UserError(
            f"{where}: its `classes` ({_few(own)}) are {what} those of the training data ({_few(classes)}): label"
            f" {number} is {shown(own[number])} here and {shown(classes[number])} there; number the labels alike"
            " (ImageFolder numbers the folders that it finds: give each class one), or remove `classes` where the"
            " numbers agree and only the names differ"
        )


def _few(names: Sequence[str]) -> str:
    return first_few([shown(name) for name in names], 5, how_many=False)


def check_classes(labels: Tensor, classes: Sequence[str], *, where: str, complete: bool = True) -> None:
    """Check class ids against the class names.

    Args:
        labels: `[N]` int64.
        classes: One name a class, at least two.
        where: Names the place in messages.
        complete: Whether each class needs a sample.

    Raises:
        UserError: A name too long to be shown, fewer than two classes, an id outside `0 .. classes-1`, or a class
            without samples.
    """
    check_class_names(classes, where)
    if len(classes) < 2:
        raise UserError(f"{where}: has {len(classes)} class ({', '.join(classes)}), training needs at least 2")
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    outside = ((labels < 0) | (labels >= len(classes))).nonzero()
    if len(outside):
        index = int(outside[0])
        from_one = (low, high) == (1, len(classes))
        fix = _FROM_ONE.format(high=high) if from_one else "number the classes from 0, alike in training and test set"
        raise UserError(
            f"{where}: the label at index {index} is {int(labels[index])}, outside 0..{len(classes) - 1}"
            f" ({len(classes)} classes): {fix}"
        )
    empty = (torch.bincount(labels, minlength=len(classes)) == 0).nonzero().flatten().tolist()
    if complete and empty == [0] and list(classes) == list(map(str, range(len(classes)))):
        raise UserError(f"{where}: no samples of class '0': {_FROM_ONE.format(high=high)}")
    if complete and low and empty == list(range(low)) and list(classes) == list(map(str, range(len(classes)))):
        raise UserError(f"{where}: labels run from {low} to {high}: number them from 0")
    if complete and empty:
        names = ", ".join(repr(classes[label]) for label in empty[:10]) + (", ..." if len(empty) > 10 else "")
        raise UserError(f"{where}: no samples of class {names}: add samples or remove the class")


def check_pixels(x: Tensor, *, where: str, index: Tensor | None = None) -> None:
    """Check that inputs are uint8, or float32 in [0, 1].

    Args:
        x: `[N, ...]`.
        where: Names the place in messages.
        index: `[N]` index of each row, for messages; None: the row number.

    Raises:
        UserError: Another type, a value that is not finite, or one outside [0, 1]; names the first such sample.
    """
    if x.dtype == torch.uint8 or x.numel() == 0:
        return
    if x.dtype != torch.float32:
        raise UserError(f"{where}: the inputs are {x.dtype}: give float32 in [0, 1], or uint8 in 0..255")
    low, high = x.aminmax()
    # NaN spreads to both ends and fails the comparison.
    if bool((low >= 0) & (high <= 1)):
        return
    for start in range(0, len(x), _CHUNK):
        rows = x[start : start + _CHUNK].flatten(1)
        wrong = (~((rows >= 0) & (rows <= 1))).any(1).nonzero()
        if len(wrong):
            row = int(wrong[0])
            position = start + row if index is None else int(index[start + row])
            raise UserError(f"{where}: {_pixel_fault(rows[row], position)}")


def check_lengths(x: Tensor, labels: Tensor, *, where: str) -> None:
    """Check that each input has one label.

    Raises:
        UserError: The lengths differ, or there are no samples.
    """
    if len(x) != len(labels):
        raise UserError(f"{where}: {len(x)} inputs but {len(labels)} labels: give one label an input")
    if len(x) == 0:
        raise UserError(f"{where}: has no samples: give at least one of each class")


def item_label(y: object, *, where: str) -> int:
    """Class id of one item of a data set.

    Args:
        y: An int, or an integral tensor or array of one element.
        where: Names the place, with the index, in messages.

    Raises:
        UserError: `y` is something else, e.g. a float.
    """
    if isinstance(y, Tensor) and y.numel() == 1 and _is_integral(y.dtype):
        return int(y)
    try:
        if isinstance(y, bool | Tensor):
            raise TypeError
        return operator.index(y)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(
            f"{where}: the label is {y!r} ({type(y).__name__}), class ids must be integers: convert it with int(y)"
        ) from None


def _is_integral(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def _pixel_fault(row: Tensor, position: int) -> str:
    finite = row.isfinite()
    if not bool(finite.all()):
        value = float(row[~finite][0])
        return f"the input at index {position} holds {value}: repair or remove that sample"
    low, high = float(row.min()), float(row.max())
    fix = "rescale or clamp it"
    # The tolerance tells an image on another scale from one that a resize has pushed past the ends.
    if low < -0.1:
        fix = (
            "it looks normalised: remove Normalize from the data set, and give mean= and std= (model.mean and "
            "model.std of a recipe), or normalise in your module"
        )
    elif high > 1.5:
        fix = "divide by 255" if high <= 255 else "divide by the largest value there can be"
    return f"the input at index {position} reaches from {low:g} to {high:g}, outside [0, 1]: {fix}"
