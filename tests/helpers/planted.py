"""Small honest classifiers of digits, and bad defences to put around them."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from iaat import RadiusMemory, pgd, staircase
from iaat.data import DataConfig, build_data, sequential_order


def digits(classes=10):
    """Training and test samples `(x, y)` of the digits below `classes`."""
    data = build_data(DataConfig(), seed=0)
    parts = []
    for source, index in ((data.train, data.train_index), (data.test, data.test_index)):
        index = index[source.labels[index] < classes]
        batch = next(iter(source.batches(sequential_order(index, len(index)))))
        parts.append((batch.x, batch.y))
    return parts


def cnn(classes=10):
    layers = (nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    more = (nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(*layers, *more, nn.Flatten(), nn.Linear(64, classes))


def mlp(classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Dropout(0.5), nn.ReLU(), nn.Linear(64, classes))


def trained(network, x, y, *, radius=0.0, adaptive=False, seed=0, epochs=5, lr=0.1, norm="linf"):
    """Train a network with SGD: naturally, adversarially at `radius`, or with a radius per sample that starts there."""
    generator = torch.Generator().manual_seed(seed)
    radii = RadiusMemory(len(x), initial=radius)
    batches = len(x) // 64
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * batches, cycle_momentum=False)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator)[: batches * 64].split(64):
            inputs = x[rows]
            if radius:
                ball = radii[rows]
                settings = {"radius": ball, "steps": 3, "norm": norm, "mode": "batch", "generator": generator}
                inputs = pgd(network, inputs, y[rows], **settings)
            logits = network(inputs)
            if adaptive:
                radii[rows] = staircase(radii[rows], correct=logits.argmax(1) == y[rows], up=4 / 255)
            optimizer.zero_grad()
            cross_entropy(logits, y[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


class Around(nn.Module):
    """A defence: what is done to the inputs, and what to the logits, of a network that has been trained without it."""

    def __init__(self, network, *, before=lambda x: x, after=lambda logits: logits):
        super().__init__()
        self.network, self.before, self.after = network, before, after
        self.eval()

    def forward(self, x):
        return self.after(self.network(self.before(x)))


class LyingBackward(torch.autograd.Function):
    """The identity, with a gradient that points the other way wherever the inputs are not multiples of 1/16."""

    @staticmethod
    def forward(ctx, x):
        ctx.on_grid = bool((x * 16 == (x * 16).round()).all())
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient if ctx.on_grid else -gradient


class BatchStatistics(nn.Module):
    """BatchNorm that knows only the batch at hand, in eval mode too."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def train(self, mode=True):
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()
        return self

    def forward(self, x):
        return self.network(x)


class AlwaysDropout(nn.Module):
    def __init__(self, rate=0.3):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return nn.functional.dropout(x, self.rate, training=True)


def rounded(x):
    """Two grey levels and the middle: what is left of the image has no derivative."""
    return (2 * x).round() / 2


def detached(x):
    return x.detach()


def binary(x):
    return (x > 0.5).float()


def steep(x):
    return torch.sigmoid(400 * (x - 0.5))


def jpeg(x):
    """Rounded coefficients of a cosine transform of the image."""
    k = torch.arange(8.0, device=x.device)
    cosine = torch.cos(torch.pi / 8 * (k[None] + 0.5) * k[:, None]) / 2
    cosine[0] /= 2**0.5
    coefficients = cosine @ x @ cosine.T
    return cosine.T @ ((4 * coefficients).round() / 4) @ cosine


def undefined(x):
    """Adds nothing, with a derivative that is NaN."""
    return x + (0 * x).sqrt()


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


def gated(logits):
    """Logits behind a gate that saturates in the margin: its gradient is tiny, not 0."""
    top = logits.detach().topk(2, dim=1).values
    return torch.sigmoid(10 * (logits - top.mean(dim=1, keepdim=True)))


def overflowing(logits):
    """Logits that are NaN for some of the samples: those that look like a 0."""
    return torch.where(logits[:, :1] > 0, torch.nan, logits)


class Remembering(nn.Module):
    """Answers an input that lies near one seen before with the old logits, and otherwise as the network.

    Args:
        network: Trained without any defence.
        near: L-inf distance up to which inputs are taken for the same.
        kept: Fraction of the change from the old logits to the network's that is hidden. Gradients are the network's.
    """

    def __init__(self, network, near, kept=0.9):
        super().__init__()
        self.network, self.near, self.kept = network, near, kept
        self.seen, self.answers = torch.empty(0), torch.empty(0)
        self.eval()

    def forward(self, x):
        logits = self.network(x)
        old = torch.full(logits.shape[:1], -1)
        if len(self.seen):
            distance, nearest = torch.cdist(x.detach().flatten(1), self.seen, p=torch.inf).min(dim=1)
            old = torch.where(distance <= self.near, nearest, -1)
        new = old < 0
        self.seen = torch.cat([self.seen, x.detach()[new].flatten(1)])
        self.answers = torch.cat([self.answers, logits.detach()[new]])
        return logits + self.kept * torch.where(new[:, None], 0, self.answers[old] - logits.detach())


DEFENCES = {
    "rounded input": (
        lambda net: Around(net, before=rounded),
        {"zero-gradients", "loss-not-rising", "robust-at-any-radius", "black-box-stronger"},
    ),
    "jpeg": (lambda net: Around(net, before=jpeg), {"zero-gradients", "black-box-stronger"}),
    "detached": (lambda net: Around(net, before=detached), {"blocked-gradients", "black-box-stronger"}),
    "binary": (lambda net: Around(net, before=binary), {"blocked-gradients", "black-box-stronger"}),
    "steep input": (lambda net: Around(net, before=steep), {"loss-not-rising"}),
    "saturated gate": (lambda net: Around(net, after=gated), {"vanishing-gradients", "loss-not-rising"}),
    "nan gradients": (lambda net: Around(net, before=undefined), {"nan-gradients", "loss-not-rising"}),
    "noise": (lambda net: Around(net, before=noisy), {"random-outputs", "reference-warning"}),
    "noise, logits + 1e5": (
        lambda net: Around(net, before=noisy, after=lambda logits: logits + 1e5),
        {"random-outputs"},
    ),
    "noise, one logit - 1e4": (
        lambda net: Around(net, before=noisy, after=lambda logits: logits - 1e4 * (torch.arange(10) == 3)),
        {"random-outputs"},
    ),
    "dropout": (lambda net: Around(nn.Sequential(AlwaysDropout(), net)), {"random-outputs"}),
    "logits x1000": (
        lambda net: Around(net, after=lambda logits: 1000 * logits),
        {"zero-gradients", "loss-not-rising", "logit-scale"},
    ),
    "softmax": (lambda net: Around(net, after=lambda z: z.softmax(1)), {"softmax-outputs", "reference-warning"}),
    "saturated softmax": (
        lambda net: Around(net, after=lambda z: (1000 * z).softmax(1)),
        {"softmax-outputs", "zero-gradients", "robust-at-any-radius"},
    ),
    "lying gradient": (
        lambda net: Around(net, before=LyingBackward.apply),
        {"one-step-stronger", "loss-not-rising", "robust-at-any-radius"},
    ),
    "batch statistics": (lambda net: BatchStatistics(net).eval(), {"batch-dependence", "train-mode"}),
    "batch statistics, logits + 100": (
        lambda net: Around(BatchStatistics(net), after=lambda logits: logits + 100),
        {"batch-dependence"},
    ),
    "nan logits": (lambda net: Around(net, after=overflowing), {"nonfinite-outputs"}),
    "memory": (lambda net: Remembering(net, 33 / 255), {"remembered-inputs"}),
    "memory of everything": (lambda net: Remembering(net, 33 / 255, kept=1.0), {"remembered-inputs"}),
}
"""Defences by name: what puts one around a network trained without it, and the findings that must name it."""


def defended(name, mlp_network, cnn_network):
    """A defence around the network it is meant for: batch statistics need BatchNorm."""
    return DEFENCES[name][0](cnn_network if name.startswith("batch statistics") else mlp_network)
