"""A stand-in for a GPU on a machine without one: it counts where the host waits, and refuses to mix devices.

Its tensors say that they are on `DEVICE`, take the paths of the code that a GPU takes, and are computed by the CPU
underneath. Autocast is on where the code turns it on, but leaves numbers in float32.
"""

from collections import Counter
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)

aten = torch.ops.aten

_READS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
"""Operations with a result that is a value on the host."""

_SIZED_BY_VALUES = {
    *(aten.nonzero.default, aten.masked_select.default, aten.unique_dim.default, aten.unique_consecutive.default),
    *(aten._unique2.default, aten._unique.default, aten.repeat_interleave.Tensor, aten.bincount.default),
}
"""Operations with a result of a size that depends on values, for which the host waits."""

_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}

_waits = Counter()


class DeviceTensor(torch.Tensor):
    """A tensor on `DEVICE`, around one on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        # As in PyTorch's FakeTensor, autograd sees the meta device, which needs no hardware.
        with _disable_current_modes():
            shape = torch.empty_strided(inner.shape, inner.stride(), dtype=inner.dtype, device="meta")
        made = torch.Tensor._make_subclass(cls, shape, False, device_for_backend_keys=DEVICE)
        made.inner = inner
        return made

    @property
    def device(self):
        return DEVICE

    @property
    def is_cuda(self):
        return True

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def tolist(self):
        _waits["tolist"] += 1
        return self.inner.tolist()

    def __repr__(self):
        return f"DeviceTensor({self.inner!r})"


class _Factories(TorchDispatchMode):
    """Has functions that make tensors, or move them, know the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class MixedDevicesError(RuntimeError):
    """An operation got tensors of the device and of the CPU."""


class _Event:
    """An event that every query finds reached."""

    def __init__(self, *args, **kwargs):
        pass

    def record(self, stream=None):
        pass

    def query(self):
        return True


@contextmanager
def standing_in():
    """Context in which `DEVICE` is there; gives the counter of waits, by operation."""
    _waits.clear()
    replaced = [
        mock.patch.object(torch.cuda, "_lazy_init", return_value=None),
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "is_bf16_supported", return_value=True),
        mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=False),
        mock.patch.object(torch.cuda, "current_device", return_value=0),
        mock.patch.object(torch, "tensor", _tensor),
        mock.patch.object(torch.accelerator, "current_stream", return_value=None),
        mock.patch.object(torch, "Event", _Event),
        # Module.to makes new parameters; PyTorch cannot put the stand-in's into those there are.
        mock.patch.object(torch.__future__, "_overwrite_module_params_on_conversion", True),
        torch.backends.cudnn.flags(enabled=False),
    ]
    with ExitStack() as stack:
        for each in (*replaced, _Factories()):
            stack.enter_context(each)
        yield _waits


_cpu_tensor = torch.tensor


def _tensor(data, *, dtype=None, device=None, requires_grad=False):
    """`torch.tensor`, which does not ask dispatch modes for its device."""
    made = _cpu_tensor(data, dtype=dtype)
    return (made if device is None else made.to(device)).requires_grad_(requires_grad)


def _run(func, args, kwargs):
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    is_here = any(isinstance(each, DeviceTensor) for each in tensors)
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    asked = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    goes_here = is_here if asked is None else asked in (DEVICE.type, "meta")
    if is_here:
        _check_devices(func, tensors)
    if (is_here or goes_here) and _makes_the_host_wait(func, args, kwargs, is_here=is_here, goes_here=goes_here):
        _waits[func.name()] += 1
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    found = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func._schema.is_mutable and args and found is _inner(args[0]):
        return args[0]
    return tree_map(_wrapped, found) if goes_here and func not in _READS else found


def _inner(value):
    return value.inner if isinstance(value, DeviceTensor) else value


def _wrapped(value):
    return DeviceTensor(value) if isinstance(value, torch.Tensor) and not isinstance(value, DeviceTensor) else value


def _check_devices(func, tensors):
    """As a GPU: numbers alone and indices may be on the CPU, and copies go from one to the other."""
    if func in (aten.copy_.default, *_INDEXING):
        return
    if any(each.ndim and not isinstance(each, DeviceTensor) for each in tensors):
        raise MixedDevicesError(f"{func} got tensors of the device and of the CPU")


def _makes_the_host_wait(func, args, kwargs, *, is_here, goes_here):
    if func is aten._to_copy.default:  # of a tensor of the device to the device: a copy, or another type
        return is_here != goes_here and not kwargs.get("non_blocking")
    if func is aten.copy_.default:
        between = isinstance(args[0], DeviceTensor) != isinstance(args[1], DeviceTensor)
        return between and not (len(args) > 2 and args[2])
    if func in _INDEXING:
        return any(isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in args[1])
    return func in _READS or func in _SIZED_BY_VALUES
