"""ResNets of torchvision, for large images."""

import torch
from torch import Tensor, nn

from iaat.errors import UserError

TORCHVISION_MODELS = ("resnet50", "resnet101", "resnet152")
PUBLISHED_CLASSES = 1000
_CHANNELS = 3


def build_torchvision(name: str, *, channels: int, classes: int, pretrained: bool = False) -> nn.Module:
    """Build the model `name` of torchvision, one of `TORCHVISION_MODELS`, for images of 100 pixels a side and more.

    The published weights are the first ones (IMAGENET1K_V1), of the plain recipe that the literature compares with, and
    not those of later recipes. At 3 channels and 1,000 classes the models have 25,557,032, 44,549,160 and 60,192,808
    parameters.

    Args:
        name: The model.
        channels: Channels of the images.
        classes: Number of classes; other than 1,000 get a new classifier beside published weights.
        pretrained: Whether to load published weights (downloaded and cached by PyTorch).

    Raises:
        UserError: the images are not of 3 channels, or the weights cannot be had.

    Source: He et al. 2015 (arXiv 1512.03385), with the stride of a stage in its 3x3 convolution.
    """
    from torchvision import models  # takes a second to import, and few models need it

    if channels != _CHANNELS:
        raise UserError(
            f"model.name {name!r} takes images of 3 channels, the data has {channels}: name timm:{name}, or, "
            "where the images are files of yours, set data.channels to 3"
        )
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    if pretrained:
        network.load_state_dict(_published(name, network.state_dict()))
    return network


def _published(name: str, fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published weights, with the classifier of `fresh` where the number of classes differs."""
    from torchvision import models

    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no connection, no space, or another file under that address
        raise UserError(
            f"model.pretrained: the weights of {name} cannot be had from {weights.url} ({error}): download them "
            "elsewhere and give the file by model.weights"
        ) from error
    kept = {key: value for key, value in state.items() if value.shape == fresh[key].shape}
    return fresh | kept


def torchvision_statistics(name: str) -> tuple[Tensor, Tensor] | None:
    """Mean and std `[3]` of the inputs of the published weights of `name`; None for other names."""
    if name not in TORCHVISION_MODELS:
        return None
    return torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
