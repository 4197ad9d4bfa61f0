"""`iaat.predict`: classes and probabilities of image files."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from iaat.attacks import attack_mode
from iaat.data.image import decode
from iaat.errors import UserError, shown
from iaat.runs.load_trained import load
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.device import device_of
from iaat.runtime.files import user_path


class HasModel(Protocol):
    """A run of `iaat.fit`."""

    model: TrainedModel


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        file: The file.
        label: Name of the likeliest class.
        probability: Its probability.
        probabilities: Probability of every class, by its name. Classes that share a name, as two of ImageNet are called
            crane, have their numbers behind it, here and in `label`: `crane (134)`.

    Example:
        >>> from iaat import Prediction
        >>> Prediction("a.png", "cat", 0.9, {"cat": 0.9, "dog": 0.1}).label
        'cat'
    """

    file: str
    label: str
    probability: float
    probabilities: dict[str, float]


def predict(
    model: TrainedModel | HasModel | str | Path, files: str | Path | Iterable[str | Path], *, batch_size: int = 64
) -> list[Prediction]:
    """Predict the classes of image files, which are read, resized and cropped as those of the training were.

    Args:
        model: What `iaat.load` or `iaat.fit` returned, or a run folder or checkpoint, which is loaded.
        files: One image file, or several.
        batch_size: Images that go through the model at once, 1 or more.

    Returns:
        A `Prediction` for each file, in their order.

    Raises:
        UserError: a file cannot be read, or the model takes no images or does not know how they are read.

    Source: this project.

    Example:
        >>> import iaat, tempfile, torch
        >>> from PIL import Image
        >>> from iaat.config.load_recipe import load_recipe
        >>> from iaat.models import SmallCNN
        >>> recipe = load_recipe("quickstart")
        >>> model = iaat.TrainedModel(SmallCNN(1, 2), recipe, shape=(1, 8, 8), classes=("cat", "dog")).eval()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 8), 200).save(f"{folder}/a.png")
        ...     (found,) = iaat.predict(model, f"{folder}/a.png")
        >>> found.label in model.classes, round(sum(found.probabilities.values()), 4)
        (True, 1.0)
    """
    trained = _trained(model)
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise UserError(f"batch_size is {shown(batch_size)}: give a whole number from 1 on")
    some = [files] if isinstance(files, str | Path) else files
    if not isinstance(some, Iterable):
        raise UserError(f"files is {shown(files)}: give an image file, or a list of some")
    paths = [user_path(file) for file in some]
    names = distinct_names(trained.classes)
    reader = _Reader(trained)
    found: list[Prediction] = []
    for start in range(0, len(paths), batch_size):
        some = paths[start : start + batch_size]
        x = torch.stack(list(map(reader.read, some))).to(device_of(trained))
        with attack_mode(trained, "eval"), torch.no_grad():
            probabilities = trained(x.float() / 255).float().softmax(dim=1).cpu()
        found += [_prediction(path, row, names) for path, row in zip(some, probabilities, strict=True)]
    return found


def _trained(model: object) -> TrainedModel:
    """The model of a run or checkpoint, or the one that was given."""
    found = load(model) if isinstance(model, str | Path) else getattr(model, "model", None)
    found = model if isinstance(model, TrainedModel) else found
    if not isinstance(found, TrainedModel):
        raise UserError(
            f"model is a {type(model).__name__}, which knows neither its classes nor how images are read: give what "
            "iaat.load or iaat.fit returned; a module of yours takes tensors, module(x)"
        )
    return found


def distinct_names(classes: Sequence[str]) -> list[str]:
    """Names of classes, with their numbers behind those that several share."""
    counts = Counter(classes)
    return [f"{name} ({number})" if counts[name] > 1 else name for number, name in enumerate(classes)]


def _prediction(file: Path, probabilities: Tensor, classes: Sequence[str]) -> Prediction:
    best = int(probabilities.argmax())
    by_name = dict(zip(classes, probabilities.tolist(), strict=True))
    return Prediction(str(file), classes[best], float(probabilities[best]), by_name)


class _Reader:
    """Reads image files in the shape and the way of the training data."""

    def __init__(self, model: TrainedModel) -> None:
        shape, self._config = model.shape, model.recipe.data
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise UserError(
                f"the model takes inputs of shape {list(shape)}, which are no images: pass tensors to it, "
                "model(x).softmax(dim=1)"
            )
        self._shape = shape
        self._warned = False

    def read(self, path: Path) -> Tensor:
        """One image `[C, H, W]` uint8."""
        if not path.exists():
            raise UserError(f"{path}: no such file")
        if path.is_dir():
            raise UserError(
                f"{path} is a folder: give its files, such as sorted(pathlib.Path({str(path)!r}).glob('*.jpg'))"
            )
        channels, height, width = self._shape
        config = self._config
        colours = cast("Literal[1, 3]", channels)
        settings = {"channels": colours, "background": config.background_rgb, "max_value": config.max_value}
        if config.size is None:
            image = decode(path, **settings)  # type: ignore[arg-type]
            if tuple(image.shape) == self._shape:
                return image
            if height != width:
                raise UserError(
                    f"{path} has shape {list(image.shape)}, and the model takes {list(self._shape)}: resize it"
                )
            self._warn(path, image)
        resize = config.resize if config.size == height else None
        return decode(path, size=height, resize=resize, **settings)  # type: ignore[arg-type]

    def _warn(self, path: Path, image: Tensor) -> None:
        if not self._warned:
            warnings.warn(
                f"{path} has {image.shape[2]} x {image.shape[1]} pixels: the shorter side is resized and the centre "
                f"{self._shape[1]} x {self._shape[2]} taken; how the training data was prepared is not known",
                stacklevel=4,
            )
        self._warned = True
