"""Hash of the weights and layers of a model, which identifies it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

import torch
from torch import Tensor, nn

from iaat.models.programs import Program

_MANGLED = re.compile(r"___torch_mangle_\d+\.?")


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over the weights and modules of a model, as 64 hexadecimal digits.

    Counted are name, dtype, shape and bytes of every entry of the state dict and of every other buffer, the class of
    every module, the code and constants of TorchScript, and the file of a program. Not counted are the device, the
    modes, `requires_grad`, and settings that modules keep as plain attributes.
    """
    digest = sha256()
    for name, value in sorted({**dict(model.named_buffers()), **model.state_dict()}.items()):
        for part in _value_parts(name, value):
            digest.update(part)
    inside = {part for module in model.modules() if isinstance(module, Program) for part in list(module.modules())[1:]}
    for name, module in model.named_modules():
        if module in inside:  # the digest of the file covers them
            continue
        for text in (name, *_module_parts(module)):
            digest.update(f"\n{text}".encode())
    return digest.hexdigest()


def _value_parts(name: str, value: object) -> Iterator[bytes]:
    if not isinstance(value, Tensor):  # the extra state of a module
        yield f"\n{name} {value!r}\n".encode()
        return
    yield f"\n{name} {value.dtype} {list(value.shape)}\n".encode()
    yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _module_parts(module: nn.Module) -> Iterator[str]:
    yield f"{type(module).__module__}.{type(module).__qualname__}"
    if isinstance(module, Program):
        yield module.digest
    if isinstance(module, torch.jit.ScriptModule) and hasattr(module, "forward"):
        code, constants = module.code_with_constants
        yield _MANGLED.sub("", code)  # these numbers count what the process has compiled before
        yield from (f"{name} {value.tolist()}" for name, value in constants.const_mapping.items())
