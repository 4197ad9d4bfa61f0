"""Whether a model runs on images in channels-last memory format."""

from copy import deepcopy

import torch
from torch import nn

from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.rng import seeded


def supports_channels_last(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a model runs on images in channels-last format; one that calls `.view` on them does not.

    A copy of the model is run forward and backward on two inputs, on the model's device and in evaluation mode; the
    model itself and torch's global generators are left as they were.

    Args:
        model: A model that has passed `iaat.models.check_logits.check_fits`.
        shape: Shape of one input without the batch; False unless it is `[C, H, W]`.
    """
    if len(shape) != 3:
        return False
    try:
        with seeded(0), torch.inference_mode(False), torch.enable_grad():
            copy = deepcopy(model).eval().to(memory_format=torch.channels_last)
            weight = next(copy.parameters(), None)
            inputs = torch.full((2, *shape), 0.5, device=None if weight is None else weight.device)
            inputs = inputs.contiguous(memory_format=torch.channels_last).requires_grad_()
            copy(inputs).sum().backward()
    except (RuntimeError, TypeError) as error:  # a TypeError: the model cannot be copied
        if is_lack_of_memory(error):
            raise
        return False
    return True
