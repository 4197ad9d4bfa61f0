"""Image folders generated on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes an image folder and gives its root.

    Each image is of one colour, which says where it comes from: red 10 * class + 1 for training and + 2 for test,
    green the number of the image within its class; blue is always 200.
    """

    def make(
        *,
        classes: tuple[str, ...] = ("cat", "dog"),
        per_class: int = 5,
        size: tuple[int, int] = (6, 6),
        test: str = "test",
    ) -> Path:
        root = tmp_path / "images"
        for mark, split in ((1, "train"), (2, test)):
            for label, name in enumerate(classes):
                folder = root / split / name
                folder.mkdir(parents=True)
                for number in range(per_class):
                    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
                    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 10 * label + mark, number, 200
                    Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return root

    return make
