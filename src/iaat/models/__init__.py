"""Models by name, with their normalisation layer."""

from iaat.models.build_model import build_model, count_parameters
from iaat.models.channels_last import supports_channels_last
from iaat.models.digest import weights_digest
from iaat.models.model_config import ModelConfig
from iaat.models.normalize import Normalize, NormalizedModel, with_normalization
from iaat.models.registry import MODELS
from iaat.models.resnet import PreActResNet, ResNet, preactresnet18, resnet18
from iaat.models.small import SmallCNN
from iaat.models.wrn import WideResNet

__all__ = [
    "ModelConfig",
    "build_model",
    "weights_digest",
    "count_parameters",
    "supports_channels_last",
    "MODELS",
    "Normalize",
    "NormalizedModel",
    "with_normalization",
    "PreActResNet",
    "ResNet",
    "SmallCNN",
    "WideResNet",
    "preactresnet18",
    "resnet18",
]
