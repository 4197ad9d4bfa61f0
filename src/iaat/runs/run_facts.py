"""`run.json`: what a run folder says of its run beside the recipe, such as its name and versions."""

from __future__ import annotations

import platform
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
import torch
from typing_extensions import TypedDict

from iaat.runtime.distributed import current
from iaat.runtime.files import write_json
from iaat.runtime.json_files import DamagedFileError, read_json


class RunFacts(TypedDict):
    """What is read from `run.json`, which may have more keys."""

    name: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    lengthened: NotRequired[list[int]]


def write_facts(file: Path, *, name: str, seed: int) -> None:
    """Write down what a run is started with.

    Raises:
        UserError: the file cannot be written.
    """
    write_json(file, {"name": name, "seed": seed, "versions": _versions()})


def read_facts(file: Path) -> RunFacts:
    """What the file says; nothing without it, nor, with a warning, where it is damaged."""
    try:
        return read_json(file, RunFacts) if file.exists() else {}
    except DamagedFileError as error:
        warnings.warn(f"{error}; the run goes by the name of its folder, its versions are not known", stacklevel=3)
        return {}


def add_facts(file: Path, **facts: object) -> None:
    """Write down more, or anew; a damaged file stays as it is."""
    try:
        known = read_json(file, dict[str, Any]) if file.exists() else {}
    except DamagedFileError:  # `read_facts` has warned of it
        return
    write_json(file, {**known, **facts})


def changed_versions(facts: RunFacts) -> list[str]:
    """What computes otherwise now than when the run was started, such as `torch 2.14.1 -> 2.15.0`."""
    old = facts.get("versions", {})
    return [f"{key} {old[key]} -> {now}" for key, now in _versions().items() if old.get(key, now) != now]


def _versions() -> dict[str, str]:
    from iaat import __version__

    return {
        "iaat": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "processor": platform.processor() or platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads": str(torch.get_num_threads()),
        "processes": str(current().world),
    }
