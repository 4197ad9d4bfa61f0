"""The `model` section of a recipe."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from torch import nn

from iaat.errors import UserError, shown
from iaat.runtime.json_files import UserPath
from iaat.runtime.number_limits import check_numbers

NormLayer = Literal["batch", "group"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Model to train; `build_model` refuses a setting that the chosen model would ignore."""

    name: str = "small-cnn"
    """small-cnn | resnet18 | preactresnet18 | wrn-DEPTH-WIDTH (such as wrn-32-10) for small images; resnet50 |
    resnet101 | resnet152 of torchvision for large ones; a timm name, also as timm:NAME; module:function, a class or
    function of yours, such as my_net:Net of my_net.py with class Net(nn.Module) and def __init__(self, classes=10). It
    is called with the options and, where its signature takes them, classes= (their number) and shape= (of one input,
    such as (3, 32, 32)); it builds a module with one output for each class."""

    width: int | None = None
    """Channels of the first layer of small-cnn (its default: 16), resnet18 and preactresnet18 (64)."""

    norm: Literal["batch", "group"] = "batch"
    """Normalisation layers of the built-in models: BatchNorm, or GroupNorm which has no running statistics."""

    normalize: Literal["data", "none"] = "data"
    """First layer of the model: standardise inputs by mean and standard deviation of the training set (by those of the
    weights where the model is pretrained), or feed them in [0, 1] as they are."""

    pretrained: bool = False
    """Start a model of torchvision or timm from its published weights; the classifier is new where the number of
    classes differs."""

    mean: list[float] | None = None
    """Mean of each channel that inputs in [0, 1] are standardised by, such as [0.485, 0.456, 0.406], or [one] for all;
    goes with std, and before normalize. Most files of weights do not contain it;
    figures stored beside the weights are used, and a line says so."""

    std: list[float] | None = None
    """Standard deviation of each channel, or [one] for all; goes with mean."""

    weights: UserPath | None = None
    """File of trained weights (.pt, .pth, .safetensors; RUN/last.pt of a run): training starts from it, or `iaat
    evaluate` evaluates it where the model is given by name or factory."""

    weights_key: str | None = None
    """Which weights of a file that has several, such as model or state_dict_ema: a key in it, or several joined by
    dots; by default the moving average where there is one."""

    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments for a timm model or a module:function factory."""

    module: nn.Module | None = field(default=None, compare=False, repr=False, metadata={"setting": False})
    """The model itself where its name is `GIVEN`; no key of a recipe."""

    def __post_init__(self) -> None:
        for key in ("mean", "std"):
            if (values := getattr(self, key)) is not None and any(value > 1 for value in values):
                divided = ", ".join(f"{value / 255:.4g}" for value in values)
                raise UserError(
                    f"model.{key} = {shown(values)}: inputs are in [0, 1], so is this; divide by 255: [{divided}]"
                )
        check_numbers({key: value for key, value in vars(self).items() if key != "options"}, "model", {"width": 4096})

    @property
    def is_user_function(self) -> bool:
        """Whether `name` is of the form module:function."""
        return ":" in self.name and not self.name.startswith("timm:")

    def without_start(self) -> Self:
        """These settings without the weights that training starts from, for a model that gets all its weights later."""
        return replace(self, weights=None, weights_key=None, pretrained=False)
