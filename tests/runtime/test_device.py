"""Which device and number format a recipe gets."""

import platform
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from iaat.cli.main import main
from iaat.errors import UserError
from iaat.runtime import device as device_module
from iaat.runtime.device import autocast, pick_device, uses_bfloat16, warn_of_emulated_bfloat16

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.mark.parametrize("name", ["gpu", "cpux", "", "0", "cuda:x", "cuda:-1", "cuda:99", "meta", "hpu", "fpga"])
def test_a_device_that_cannot_compute_here_is_refused_by_name(name):
    with pytest.raises(UserError, match=r"train\.device") as error:
        pick_device(name)
    assert repr(name) in str(error.value)
    assert "use cpu or auto" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_without_a_gpu_is_refused(name):
    with pytest.raises(UserError, match="use cpu or auto"):
        pick_device(name)


def test_cpu_is_cpu():
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(("available", "expected"), [(True, CUDA), (False, CPU)])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert pick_device("auto") == expected


@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
@pytest.mark.parametrize(("precision", "expected"), [("bf16", True), ("fp32", False)])
def test_a_stated_precision_is_taken_everywhere(precision, expected, device):
    assert uses_bfloat16(precision, device) is expected


@pytest.mark.parametrize(
    ("abilities", "intel", "expected"),
    [
        ({}, False, False),
        ({"avx512_bf16": False, "avx2": True}, False, False),
        ({"avx512_bf16": True}, False, True),
        ({"avx512_bf16": True}, True, False),
        ({"avx512_bf16": True, "amx_bf16": True}, True, True),
    ],
)
def test_auto_takes_bfloat16_where_the_cpu_is_faster_in_it(monkeypatch, abilities, intel, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    monkeypatch.setattr(device_module, "_is_intel", lambda: intel)
    assert uses_bfloat16("auto", CPU) is expected


@pytest.mark.parametrize(
    ("listed", "described", "expected"),
    [
        ("vendor_id\t: GenuineIntel\n", "", True),
        ("vendor_id\t: AuthenticAMD\n", "", False),
        (None, "Intel64 Family 6 Model 143 Stepping 8, GenuineIntel", True),
        (None, "arm", False),
    ],
)
def test_the_maker_of_the_processor(monkeypatch, listed, described, expected):
    monkeypatch.setattr(Path, "exists", lambda _: listed is not None)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: listed)
    monkeypatch.setattr(platform, "processor", lambda: described)
    assert device_module._is_intel.__wrapped__() is expected


@pytest.mark.parametrize("supported", [False, True])
def test_auto_asks_the_gpu_and_not_for_emulation(monkeypatch, supported):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda *, including_emulation: including_emulation or supported
    )
    assert uses_bfloat16("auto", CUDA) is supported


@pytest.mark.parametrize(("precision", "native", "warns"), [("bf16", False, 1), ("bf16", True, 0), ("fp32", False, 0)])
def test_emulated_bfloat16_is_warned_of(monkeypatch, precision, native, warns):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native}, raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_emulated_bfloat16(precision, CPU)
    assert ["train.precision auto" in str(warning.message) for warning in caught] == [True] * warns


def test_auto_is_float32_on_other_devices():
    assert not uses_bfloat16("auto", MPS)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_layers_compute_in_the_chosen_format(precision, dtype):
    layer = nn.Linear(2, 2)
    with autocast(precision, CPU):
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32


# Sets the allocator, then counts the page faults of making and freeing a tensor of 64 MB 50 times.
FAULTS = """
import resource, torch
from iaat.runtime.device import keep_freed_memory
kept = keep_freed_memory()
torch.set_num_threads(1)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
make = lambda: torch.empty(16 * 2**20).fill_(1.0)
make()
before = faults()
for _ in range(50):
    make()
print(kept, faults() - before)
"""


def freed_memory(**environment):
    run = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    kept, faults = run.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_kept_and_a_choice_in_the_environment_wins():
    kept, few = freed_memory()
    left, many = freed_memory(MALLOC_MMAP_THRESHOLD_="1048576")
    assert (kept, left) == (True, False)
    assert many > 2 * few  # 50 times the pages of the tensor against a few times


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_check_says_in_one_line_that_a_gpu_is_missing_and_prints_the_rest(capsys):
    assert main(["check", "quickstart", "--train.device", "cuda"]) == 0
    shown = capsys.readouterr()
    assert "device: cuda" in shown.out
    assert re.fullmatch(r"warning: train\.device 'cuda' cannot be used here \(.+\): use cpu or auto\n", shown.err)


def test_check_refuses_a_device_that_no_machine_has(capsys):
    assert main(["check", "quickstart", "--train.device", "cdua"]) == 2
    assert "error: train.device 'cdua' cannot be used here" in capsys.readouterr().err
