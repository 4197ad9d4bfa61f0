"""One split as it is read, before `build_data` decides whether to keep it in memory or to stream it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from iaat.data.notices import Notices
from iaat.data.sample_log import SampleLog, SampleRecord, input_digests


class RawSplit(ABC):
    """Map-style data set of (stored input, class id) that can also be read into one tensor.

    Attributes:
        labels: `[N]` int64, on the CPU.
        classes: Class names.
        paths: Relative path of each sample, or None.
        shape: Shape of one input.
        sample_bytes: Memory one stored input takes.
        resident: Whether the inputs are in memory already.
        complete: Whether each class must have a sample.
        deterministic: Whether reading draws nothing from a random generator.
        where: Names the split in messages.
        validation_size: Number of samples, the last ones, that are for validation only.
        notices: Notices from before samples are read.
    """

    labels: Tensor
    classes: tuple[str, ...]
    paths: list[str] | None = None
    shape: tuple[int, ...]
    sample_bytes: int
    resident: bool = False
    complete: bool = True
    deterministic: bool = True
    where: str
    validation_size: int = 0
    notices: Notices

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """One input, uint8 or float32, and its class id."""
        return self.read(position)

    @abstractmethod
    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """As `split[position]`; with `resized_crop.DRAWS` draws an image is cropped."""

    @abstractmethod
    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """As `read`, with the record of the sample."""

    @abstractmethod
    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Inputs of these samples: `[len(index), ...]` uint8 or float32.

        Their records are added to the sample log; unreadable ones that it allows become all 0.
        """


class TensorSplit(RawSplit):
    """Split of inputs that are in memory already, as a `RawSplit`.

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
        self.shape = tuple(x.shape[1:])
        self.sample_bytes = x[0].numel() * x.element_size()
        self.resident = True
        self.where = where
        self.notices = Notices()

    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """One input and its class id."""
        return self._x[position], int(self.labels[position])

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """One input, its class id and its record."""
        x, y = self[position]
        return x, y, SampleRecord(position, digest=input_digests(x[None])[0])

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Inputs of these samples; of all without a copy."""
        x = self._x if len(index) == len(self) else self._x[index]
        if sample_log is not None:
            found = zip(index.tolist(), input_digests(x), strict=True)
            sample_log.add(SampleRecord(position, digest=digest) for position, digest in found)
        return x
