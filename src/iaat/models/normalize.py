"""Input standardisation as a layer, so that attacks and radii always live on the [0, 1] scale."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from iaat.errors import UserError


class Normalize(nn.Module):
    """Standardise inputs `[B, C, ...]` of any rank channel by channel: `(x - mean) / std`.

    Args:
        mean: A number for each channel, on the scale of the inputs: a list, or a tensor `[C]` or `[C, 1, 1]`.
        std: As many, above 0.

    Raises:
        UserError: if the two differ in length or a standard deviation is not above 0. On inputs with another number of
            channels, where there is more than one mean.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor | Sequence[float], std: Tensor | Sequence[float]) -> None:
        super().__init__()
        mean, std = torch.as_tensor(mean), torch.as_tensor(std)
        check_statistics(mean, std)
        self.register_buffer("mean", mean.detach().to(torch.float32).flatten().clone())
        self.register_buffer("std", std.detach().to(torch.float32).flatten().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Standardise inputs; the shape stays that of `x`."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            self._check_channels(x)
        per_channel = [1] * (x.dim() - 1)  # in words that TorchScript knows
        per_channel[0] = -1
        return (x - self.mean.view(per_channel)) / self.std.view(per_channel)

    @torch.jit.unused
    def _check_channels(self, x: Tensor) -> None:
        """Refuse inputs that would broadcast to the number of means; a trace has one shape and needs no check."""
        if len(self.mean) not in (1, x.shape[1]) and not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise UserError(
                f"the normalisation has {len(self.mean)} means, but inputs of shape {list(x.shape)} have {x.shape[1]} "
                "channels: give one mean and std a channel, or one for all"
            )

    def extra_repr(self) -> str:
        """Text of this layer in `print(model)`."""
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"


class NormalizedModel(nn.Module):
    """Model with its normalisation layer in front: takes inputs in [0, 1] and returns logits.

    Attributes:
        normalize: The `Normalize` layer.
        network: The module behind it, which gets standardised inputs.
    """

    def __init__(self, normalize: Normalize, network: nn.Module) -> None:
        super().__init__()
        self.normalize = normalize
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of inputs `[B, C, ...]` in [0, 1]."""
        logits: Tensor = self.network(self.normalize(x))
        return logits


def with_normalization(
    model: nn.Module, mean: Tensor | Sequence[float], std: Tensor | Sequence[float]
) -> NormalizedModel:
    """Put a `Normalize` layer, on the device and in the number format of the model, in front of it.

    Raises:
        UserError: as `Normalize` does.
    """
    normalize = Normalize(mean, std)
    weight = next((each for each in model.parameters() if each.is_floating_point()), None)
    return NormalizedModel(normalize if weight is None else normalize.to(weight.device, weight.dtype), model)


def check_statistics(mean: Tensor, std: Tensor) -> None:
    """Check that mean and std are equally many finite numbers, the latter above 0."""
    if mean.numel() != std.numel():
        raise UserError(f"the normalisation has {mean.numel()} means but {std.numel()} standard deviations")
    usable = torch.isfinite(mean) & torch.isfinite(std) & (std > 0)
    if not usable.all():
        raise UserError(
            f"cannot standardise inputs with mean {mean.flatten().tolist()} and std {std.flatten().tolist()}: "
            "they must be finite and std above 0; give other values or set model.normalize to 'none'"
        )
