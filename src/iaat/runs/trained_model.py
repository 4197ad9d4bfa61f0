"""`TrainedModel`: the model of a run with what is known of its training."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from iaat.config.recipe import Recipe
from iaat.models.normalize import NormalizedModel
from iaat.units import Norm, Radius


class TrainedModel(nn.Module):
    """A trained model: takes inputs in [0, 1] and returns logits. `iaat.load` makes it.

    Attributes:
        normalize: Layer that standardises inputs; `nn.Identity` where the run had none.
        network: The module behind it, which gets standardised inputs.
        classes: Names of the classes, in the order of the logits.
        shape: Shape of one input, `(C, H, W)` for images.
        recipe: All settings of the run.

    Example:
        >>> import iaat, torch
        >>> from iaat.config.load_recipe import load_recipe
        >>> from iaat.models import SmallCNN
        >>> recipe = load_recipe("quickstart")
        >>> model = iaat.TrainedModel(SmallCNN(1, 2), recipe, shape=(1, 8, 8), classes=("cat", "dog"))
        >>> model.radius, model.norm
        (Radius('64px'), 'linf')
        >>> [model.classes[number] for number in model(torch.zeros(2, 1, 8, 8)).argmax(1)][0] in model.classes
        True
    """

    __jit_unused_properties__: ClassVar[list[str]] = ["radius", "norm"]

    def __init__(self, model: nn.Module, recipe: Recipe, *, shape: tuple[int, ...], classes: tuple[str, ...]) -> None:
        super().__init__()
        self.normalize: nn.Module = nn.Identity()
        self.network: nn.Module = model
        if isinstance(model, NormalizedModel):
            self.normalize, self.network = model.normalize, model.network
        self.recipe, self.shape, self.classes = recipe, shape, classes

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of inputs `x` `[B, *shape]` in [0, 1]."""
        logits: Tensor = self.network(self.normalize(x))
        return logits

    @property
    def radius(self) -> Radius | None:
        """The radius of the settings it was trained by, on the [0, 1] scale; None for natural training.

        Where every sample has a radius of its own, this is the one that `method.radius` gives.
        """
        radius: Radius | None = getattr(self.recipe.method, "radius", None)
        return radius

    @property
    def norm(self) -> Norm:
        """Norm of the radius."""
        return self.recipe.radius_norm

    def extra_repr(self) -> str:
        """Text of the model itself in `print(model)`."""
        radius = "natural training" if self.radius is None else f"radius={self.radius} {self.norm}"
        return f"{len(self.classes)} classes, inputs {list(self.shape)}, {self.recipe.method_name}, {radius}"
