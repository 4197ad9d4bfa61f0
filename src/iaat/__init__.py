"""Instance-adaptive adversarial training for PyTorch image classifiers.

Names are imported when they are first used: `import iaat` alone imports no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iaat.attacks import attack_mode, nfgsm, pgd, proportional_steps
    from iaat.data import with_index
    from iaat.errors import UserError
    from iaat.evaluate.evaluate_given import evaluate_model
    from iaat.experiments.fit import fit
    from iaat.experiments.fitted_run import Run
    from iaat.export import export_model
    from iaat.radius import RadiusMemory, paper, staircase, warm_up
    from iaat.runs.load_trained import load
    from iaat.runs.predict_files import Prediction, predict
    from iaat.runs.trained_model import TrainedModel
    from iaat.runtime.device import keep_freed_memory
    from iaat.runtime.passes import Passes, count_passes
    from iaat.train.tensorboard_tracker import TensorBoard
    from iaat.train.trackers import Tracker
    from iaat.units import PIXEL, Radius

    __version__: str

__all__ = [
    "fit", "Run", "evaluate_model", "predict", "Prediction", "Tracker", "TensorBoard",
    "load", "TrainedModel", "export_model",
    "pgd", "proportional_steps", "nfgsm", "attack_mode",
    "RadiusMemory", "paper", "staircase", "warm_up",
    "with_index",
    "Radius", "PIXEL",
    "Passes", "count_passes",
    "keep_freed_memory",
    "UserError",
    "__version__",
]  # fmt: skip

_MODULES = {
    "attacks": ("attack_mode", "nfgsm", "pgd", "proportional_steps"),
    "data": ("with_index",),
    "runs.load_trained": ("load",),
    "runs.trained_model": ("TrainedModel",),
    "runtime.device": ("keep_freed_memory",),
    "errors": ("UserError",),
    "evaluate.evaluate_given": ("evaluate_model",),
    "experiments.fit": ("fit",),
    "experiments.fitted_run": ("Run",),
    "runs.predict_files": ("Prediction", "predict"),
    "train.tensorboard_tracker": ("TensorBoard",),
    "train.trackers": ("Tracker",),
    "export": ("export_model",),
    "runtime.passes": ("Passes", "count_passes"),
    "radius": ("RadiusMemory", "paper", "staircase", "warm_up"),
    "units": ("PIXEL", "Radius"),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a name of `__all__`, or a module of the package, when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version(__name__)
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
