"""Thirty classifiers without any defence, of many kinds, and how each is trained: none may raise an alarm."""

from dataclasses import dataclass

import torch
from torch import nn

from helpers import planted

LINF, L2 = 32 / 255, 0.5


@dataclass(frozen=True)
class Honest:
    """How one network is made: `epochs` 0 leaves it as it was initialised."""

    network: object
    classes: int = 10
    radius: float = 0.0
    epochs: int = 5
    lr: float = 0.1
    seed: int = 0
    adaptive: bool = False
    norm: str = "linf"


def linear(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


def mlp(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, classes))


def deep_mlp(classes):
    hidden = [layer for _ in range(3) for layer in (nn.Linear(64, 64), nn.GELU())]
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.GELU(), *hidden, nn.Linear(64, classes))


def layer_norm(classes):
    first, second = (nn.LayerNorm(64), nn.ReLU()), (nn.LayerNorm(64), nn.ReLU())
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(64), *first, nn.Linear(64, 64), *second, nn.Linear(64, classes))


def _convolutional(classes, norm):
    first = (nn.Conv2d(1, 16, 3, padding=1), norm(16), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 3, padding=1), norm(32), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.LazyLinear(classes))


def batch_norm(classes):
    return _convolutional(classes, nn.BatchNorm2d)


def group_norm(classes):
    return _convolutional(classes, lambda channels: nn.GroupNorm(4, channels))


class Vit(nn.Module):
    """A vision transformer on patches of 2 x 2 pixels."""

    def __init__(self, classes, width=32):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.place = nn.Parameter(0.02 * torch.randn(1, 32, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.place[:, : tokens.shape[1]]
        return self.head(self.layers(tokens).mean(dim=1))


HONEST = {
    **{f"softmax regression, 3 epochs, seed {seed}": Honest(linear, epochs=3, lr=0.02, seed=seed) for seed in range(4)},
    "softmax regression, 40 epochs": Honest(linear, epochs=40),
    "softmax regression, adversarial": Honest(linear, radius=LINF, epochs=10),
    "softmax regression, 2 classes": Honest(linear, classes=2, epochs=10),
    **{f"hardly trained mlp, seed {seed}": Honest(mlp, epochs=3, lr=0.02, seed=seed) for seed in range(3)},
    "untrained mlp": Honest(mlp, epochs=0),
    "untrained cnn": Honest(batch_norm, epochs=0),
    "hardly trained deep mlp": Honest(deep_mlp, epochs=2, lr=0.02),
    "mlp, 60 epochs": Honest(mlp, epochs=60, lr=0.2),
    "mlp, adversarial": Honest(mlp, radius=LINF, epochs=20),
    "mlp, 3 classes": Honest(mlp, classes=3),
    "mlp, 100 classes": Honest(mlp, classes=100, epochs=15),
    "deep mlp, adversarial, l2": Honest(deep_mlp, radius=L2, epochs=15, lr=0.3, norm="l2"),
    "layer norm": Honest(layer_norm, epochs=10),
    "layer norm, adversarial": Honest(layer_norm, radius=LINF, epochs=10),
    "layer norm, hardly trained": Honest(layer_norm, epochs=1, lr=0.01),
    "cnn": Honest(batch_norm, epochs=10),
    "cnn, instance-adaptive": Honest(batch_norm, radius=LINF, epochs=10, adaptive=True),
    "cnn, adversarial, l2": Honest(batch_norm, radius=L2, epochs=10, norm="l2"),
    "group norm": Honest(group_norm, epochs=10),
    "group norm, adversarial, 2 classes": Honest(group_norm, classes=2, radius=LINF, epochs=10),
    "group norm, adversarial, 100 classes": Honest(group_norm, classes=100, radius=LINF / 2, epochs=8),
    "transformer": Honest(Vit, epochs=15, lr=0.02),
    "transformer, adversarial": Honest(Vit, radius=LINF / 3, epochs=15, lr=0.02),
    "transformer that adversarial training left at chance": Honest(Vit, radius=LINF, epochs=4),
}


def pairs(part, count, seed):
    """100 classes: two digits side by side, `count` images `[1, 8, 16]` and their classes."""
    x, y = part
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randint(len(x), (2, count), generator=generator)
    return torch.cat([x[left], x[right]], dim=3), 10 * y[left] + y[right]


def samples(classes):
    """Training and test samples of a number of classes."""
    if classes <= 10:
        return planted.digits(classes)
    return [
        pairs(part, count, seed) for seed, (part, count) in enumerate(zip(planted.digits(), (6000, 1000), strict=True))
    ]


def made(spec):
    """The network of a specification, trained, in eval mode."""
    torch.manual_seed(spec.seed)
    network = spec.network(spec.classes)
    x, y = samples(spec.classes)[0]
    network(x[:2])  # lazy layers take their sizes
    if not spec.epochs:
        return network.eval()
    settings = {"radius": spec.radius, "adaptive": spec.adaptive, "seed": spec.seed, "norm": spec.norm}
    return planted.trained(network, x, y, epochs=spec.epochs, lr=spec.lr, **settings)
