"""Stable indices for any map-style `Dataset`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from iaat.data.read_item import MapDataset
from iaat.errors import UserError


class IndexedDataset(Dataset[Any]):
    """Map-style data set that gives (x, y, index), or of an item that is a mapping all of it and the key "index".

    The index is the position in the data set handed in, `0 .. len-1`: it matches a radius memory of `len(dataset)`.
    Of a `Subset` it is therefore the position in the subset; `root_index` leads back to the underlying data set.

    Args:
        dataset: Gives (x, y) or (x, y, ...), of which what follows y is dropped; or mappings.

    Raises:
        UserError: The data set has no stable positions (see `with_index`). On access: an item is neither a pair nor a
            mapping, or it is a mapping with an "index" of its own.
    """

    def __init__(self, dataset: MapDataset | Dataset[Any]) -> None:
        check_map_style(dataset, where="with_index")
        self.dataset: Any = dataset

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:  # noqa: ANN401
        """The sample at `position` (from the end if negative), with its index."""
        n = len(self)
        if not -n <= position < n:
            raise IndexError(f"position {position} is outside a data set of {n} samples")
        index = position % n
        item = self.dataset[index]
        if isinstance(item, Mapping):
            if "index" in item:
                name = type(self.dataset).__name__
                raise UserError(f"with_index: item {index} of {name} has a key 'index': rename it")
            return {**item, "index": index}
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise UserError(
                f"with_index: item {index} of {type(self.dataset).__name__} is a {type(item).__name__}, not a pair"
                " (x, y): return (input, class id), or a dict"
            )
        return item[0], item[1], index

    def root_index(self, positions: Tensor) -> Tensor:
        """Map positions through nested `Subset`s to the underlying data set.

        Args:
            positions: Integer tensor of indices as this data set gives them.

        Returns:
            int64 of the same shape: positions in the data set that the outermost `Subset` was made of, and so on
            inwards; `positions` themselves if there is no `Subset`.
        """
        dataset: Any = self.dataset
        positions = positions.to(torch.int64)
        while isinstance(dataset, Subset | IndexedDataset):
            if isinstance(dataset, Subset):
                positions = torch.as_tensor(dataset.indices, dtype=torch.int64, device=positions.device)[positions]
            dataset = dataset.dataset
        return positions


def with_index(dataset: MapDataset | Dataset[Any]) -> IndexedDataset:
    """Give each sample of a data set its stable index, so that it can own a radius.

    Args:
        dataset: Map-style, gives (x, y) or (x, y, ...), or mappings, as a Hugging Face data set does. Random transforms
            are the user's choice here: they do not touch the index.

    Returns:
        A data set of (x, y, index), or of mappings with the key "index" added; the index is in `0 .. len(dataset)-1`. A
        data set that has indices already is returned as it is.

    Raises:
        UserError: The data set is iterable-style, a `DataLoader`, a mapping, empty, or has no `__len__` or
            `__getitem__`: its samples have no stable index.

    Source: this project; the index is the key of the memory in Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051).

    Example:
        >>> import torch
        >>> from iaat import with_index
        >>> dataset = torch.utils.data.TensorDataset(torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 0, 1, 0]))
        >>> loader = torch.utils.data.DataLoader(with_index(dataset), batch_size=5)
        >>> x, y, index = next(iter(loader))
        >>> index
        tensor([0, 1, 2, 3, 4])
    """
    return dataset if isinstance(dataset, IndexedDataset) else IndexedDataset(dataset)


def check_map_style(dataset: object, *, where: str) -> None:
    """Check that the samples of a data set have stable positions.

    Args:
        dataset: What the user handed in.
        where: Names the place in messages.

    Raises:
        UserError: They have none; names the reason and the fix.
    """
    name = type(dataset).__name__
    if isinstance(dataset, DataLoader):
        raise UserError(f"{where}: a DataLoader has no stable index for its samples: pass loader.dataset")
    if isinstance(dataset, IterableDataset):
        raise UserError(
            f"{where}: {name} is an IterableDataset, and its samples have no stable index: make it map-style"
            " (__len__ and __getitem__), e.g. a list of its items"
        )
    missing = [method for method in ("__len__", "__getitem__") if not hasattr(dataset, method)]
    if missing or isinstance(dataset, Mapping | str):
        why = f"has no {' and no '.join(missing)}" if missing else "is not addressed by position"
        raise UserError(
            f"{where}: {name} {why}, so its samples have no stable index: pass a map-style Dataset of (x, y)"
        )
    if len(dataset) == 0:  # type: ignore[arg-type]
        raise UserError(f"{where}: {name} has no samples: check the filter or the path it was made with")
