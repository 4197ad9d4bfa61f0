"""Data sets of Hugging Face as pairs (x, y)."""

from typing import Any

from iaat.data.read_item import MapDataset
from iaat.errors import UserError

_IMAGE, _LABEL = ("image", "img"), ("label", "labels")
"""Names of columns, for tables without these types."""


class HuggingFacePairs:
    """A `datasets.Dataset` as (x, y), with its labels in `targets` and the names of its classes.

    The input is the only column of type `Image`, or else the one called image or img; the label the only one of type
    `ClassLabel`, or else the one called label or labels.

    Args:
        dataset: A data set in memory or mapped from disk, not a streamed one.
        where: Names it in messages.

    Raises:
        UserError: It is not clear which columns these are, or labels are text.
    """

    def __init__(self, dataset: Any, *, where: str) -> None:  # noqa: ANN401
        self._dataset = dataset
        self._image = _column(dataset, "Image", _IMAGE, where=where)
        self._label = _column(dataset, "ClassLabel", _LABEL, where=where)
        self.targets = list(dataset[self._label])
        if self.targets and isinstance(self.targets[0], str):
            raise UserError(
                f"{where}: the labels in column {self._label!r} are text: number them, "
                f"dataset.class_encode_column({self._label!r})"
            )
        self.classes = getattr(dataset.features[self._label], "names", None)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._dataset)

    def __getitem__(self, position: int) -> tuple[Any, Any]:
        """The input and the label of one sample."""
        item = self._dataset[position]
        return item[self._image], item[self._label]


def as_pairs(dataset: MapDataset, *, where: str) -> MapDataset:
    """The data set as one of pairs (x, y), if it is one of Hugging Face; any other as it is.

    Raises:
        UserError: as `HuggingFacePairs`.
    """
    is_table = hasattr(dataset, "features") and hasattr(dataset, "column_names")
    return HuggingFacePairs(dataset, where=where) if is_table else dataset


def _column(dataset: Any, kind: str, names: tuple[str, ...], *, where: str) -> str:  # noqa: ANN401
    columns = list(dataset.column_names)
    typed = [name for name in columns if type(dataset.features[name]).__name__ == kind]
    found = typed or [name for name in columns if name in names]
    if len(found) != 1:
        raise UserError(
            f"{where}: it is not clear which of the columns {', '.join(columns)} holds the {names[0]}: rename it, "
            f"dataset.rename_column(..., {names[0]!r}), or remove the others, dataset.remove_columns(...)"
        )
    return str(found[0])
