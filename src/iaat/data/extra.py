"""Extra training images, such as generated ones, from a .npz file."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iaat.data.notices import Notices
from iaat.data.npz import ArrayHeader, NpzFile
from iaat.data.source import fingerprint
from iaat.errors import UserError

_EXPECTED = "expected are image uint8 [N, H, W, C] and label integers [N], as numpy.savez writes them"


class ExtraImages:
    """Images of a .npz file with the arrays `image`, uint8 `[M, H, W, C]`, and `label`, class numbers `[M]`.

    Generated sets are published so (Gowal et al. 2021, arXiv 2110.09468; Wang et al. 2023, arXiv 2302.04638). Of grey
    images `[M, H, W]` is taken, too.

    Args:
        path: The file; its labels are read at once, its images by `load`.
        shape: Shape `[C, H, W]` of the training inputs.
        classes: Number of classes.

    Attributes:
        labels: `[M]` int64.
        fingerprint: Hex SHA-256 of labels, shape and the file's own checksums; the name of the file is no part of it.
        sample_bytes: Memory of one decoded image.
        where: Names the file in messages.
        notices: What the file holds beside them.

    Raises:
        UserError: The file is missing, damaged, of another form, or does not fit the data set.
    """

    def __init__(self, path: Path, *, shape: tuple[int, ...], classes: int) -> None:
        self.where = f"data.extra={path}"
        self.sample_bytes = math.prod(shape)
        self._path, self._shape = path, shape
        if len(shape) != 3:
            raise UserError(f"{self.where}: extra samples are images, but the data set's inputs have shape {[*shape]}")
        self._file = NpzFile(path, where=self.where, expected=_EXPECTED)
        image, label = self._file.header("image"), self._file.header("label")
        self._check_image(image)
        self._check_label(label, image.shape[0])
        self.notices = Notices()
        for name in self._file.names():
            if name not in ("image", "label"):
                self.notices.add(self.where, "array", name)
        self.labels = torch.from_numpy(np.concatenate(list(self._file.chunks("label"))).astype(np.int64))
        self._check_classes(classes)
        self.fingerprint = fingerprint(self.labels, [f"{part.checksum:08x}" for part in (image, label)], shape, None)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def paths(self) -> list[str]:
        """Name of each image in place of a path, such as `generated.npz#17`."""
        return [f"{self._path.name}#{position}" for position in range(len(self))]

    def load(self, index: Tensor) -> Tensor:
        """Load the images at these positions, sorted int64 `[n]`, as `[n, C, H, W]` uint8.

        Raises:
            UserError: The file is damaged.
        """
        channels, height, width = self._shape
        wanted, out = index.numpy(), np.empty((len(index), channels, height, width), dtype=np.uint8)
        done = filled = 0
        for rows in self._file.chunks("image"):
            chosen = wanted[filled : np.searchsorted(wanted, done + len(rows))] - done
            images = rows[chosen].reshape(-1, height, width, channels)
            out[filled : filled + len(chosen)] = images.transpose(0, 3, 1, 2)
            done, filled = done + len(rows), filled + len(chosen)
        return torch.from_numpy(out)

    def _check_image(self, image: ArrayHeader) -> None:
        channels, height, width = self._shape
        if image.dtype != np.uint8:
            fix = "numpy.uint8(image)"
            if image.dtype.kind == "f":
                fix = "numpy.uint8(numpy.round(image)), or of images in [0, 1] numpy.uint8(numpy.round(255 * image))"
            raise UserError(f"{self.where}: image is {image.dtype}, not uint8 in 0..255: save {fix}")
        if image.shape[1:] != (height, width, channels) and (channels, *image.shape[1:]) != (1, height, width):
            last = ", channels last: save image.transpose(0, 2, 3, 1)" if image.shape[1:] == self._shape else ""
            mixed = image.shape[1:3] == (height, width) and {channels, *image.shape[3:]} <= {1, 3}
            fix = f": grey and colour are mixed; set data.channels {4 - channels}, or convert" if mixed else ""
            raise UserError(
                f"{self.where}: image has shape {[*image.shape]}, but of this data set it must be"
                f" [N, {height}, {width}, {channels}]{last}{fix}"
            )
        if not image.shape[0]:
            raise UserError(f"{self.where}: holds no images: give some, or leave data.extra out")

    def _check_label(self, label: ArrayHeader, count: int) -> None:
        if label.dtype.kind not in "iu":
            raise UserError(f"{self.where}: label is {label.dtype}, not integers: save label.astype(numpy.int64)")
        if label.shape != (count,):
            raise UserError(
                f"{self.where}: label has shape {[*label.shape]}, but there are {count} images: give [{count}], one"
                " class number an image"
            )

    def _check_classes(self, classes: int) -> None:
        outside = ((self.labels < 0) | (self.labels >= classes)).nonzero()
        if len(outside):
            position = int(outside[0])
            if (int(self.labels.min()), int(self.labels.max())) == (1, classes):
                raise UserError(f"{self.where}: labels go from 1 to {classes}: subtract 1 from each")
            raise UserError(
                f"{self.where}: the label at position {position} is {int(self.labels[position])}, outside"
                f" 0..{classes - 1}: labels are class numbers in the order of the data set's {classes} classes"
            )
