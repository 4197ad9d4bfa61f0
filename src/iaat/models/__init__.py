from iaat.models.build import build_model, count_parameters
from iaat.models.check import supports_channels_last
from iaat.models.choose import MODELS
from iaat.models.config import ModelConfig
from iaat.models.digest import weights_digest
from iaat.models.load import AS_IT_IS, load_model
from iaat.models.normalize import Normalize, NormalizedModel, with_normalization
from iaat.models.resnet import PreActResNet, ResNet, preactresnet18, resnet18
from iaat.models.small import SmallCNN
from iaat.models.wrn import WideResNet

__all__ = [
    "ModelConfig",
    "build_model",
    "load_model",
    "AS_IT_IS",
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
