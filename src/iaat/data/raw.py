"""One split as its reader hands it to `build_data`, before it is decided how to keep it."""

from typing import Protocol

from torch import Tensor


class RawSplit(Protocol):
    """A map-style data set of (stored input, class id) that can also be read into one tensor.

    Attributes:
        labels: `[N]` int64, on the CPU.
        classes: Class names.
        paths: Relative path of each sample, or None.
        sample_bytes: Memory one stored input takes.
        resident: Whether the inputs are in memory already.
        complete: Whether each class must have a sample.
        deterministic: Whether reading draws nothing from a random generator.
        where: Names the split in messages.
    """

    labels: Tensor
    classes: tuple[str, ...]
    paths: list[str] | None
    sample_bytes: int
    resident: bool
    complete: bool
    deterministic: bool
    where: str

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """One input, uint8 or float32, and its class id."""
        ...

    def load(self, index: Tensor) -> Tensor:
        """The inputs of these samples: `[len(index), ...]` uint8 or float32."""
        ...


class TensorSplit:
    """A `RawSplit` of inputs that are in memory already.

    Args:
        x: `[N, ...]` uint8 or float32 in [0, 1].
        labels: `[N]` int64.
        classes: Class names.
        where: Names the split in messages.
    """

    def __init__(self, x: Tensor, labels: Tensor, classes: tuple[str, ...], *, where: str) -> None:
        self._x = x
        self.labels = labels
        self.classes = classes
        self.paths: list[str] | None = None
        self.sample_bytes = x[0].numel() * x.element_size()
        self.resident = True
        self.complete = True
        self.deterministic = True
        self.where = where

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """One input and its class id."""
        return self._x[position], int(self.labels[position])

    def load(self, index: Tensor) -> Tensor:
        """The inputs of these samples, without a copy if they are all."""
        return self._x if len(index) == len(self) else self._x[index]
