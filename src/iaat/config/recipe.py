"""`Recipe`: everything that decides a run, as typed sections."""

from __future__ import annotations

import dataclasses
from typing import Any

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe_files import SECTIONS
from iaat.config.safe_yaml import dump_yaml
from iaat.config.train_config import TrainConfig
from iaat.data import DataConfig
from iaat.methods import MethodConfig
from iaat.methods.setting_fields import setting_names
from iaat.models import ModelConfig
from iaat.units import Norm, Radius


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run.

    Attributes:
        name: Name of the recipe or of its file.
        about: One line for people.
        seed: Seed of weights, data order, augmentation and attacks.
        data, model, train, evaluate: The typed sections.
        method_name: Key of `iaat.methods.METHODS`, or module:Class of the user's own.
        method: That method's `Config`.
    """

    name: str
    about: str
    seed: int
    data: DataConfig
    model: ModelConfig
    method_name: str
    method: Any
    train: TrainConfig
    evaluate: EvaluateConfig

    @property
    def method_epochs(self) -> int:
        """Epochs that the method trains: all but those of natural training before it."""
        return self.train.epochs - self.train.natural_epochs

    @property
    def run_method(self) -> Any:  # noqa: ANN401
        """The method's settings for the epochs it has in this run: what the method is built from."""
        return self.method.over(self.method_epochs) if isinstance(self.method, MethodConfig) else self.method

    @property
    def radius_norm(self) -> Norm:
        """The norm of its radii: the method's, or that of the evaluation where the method has none."""
        norm: Norm = getattr(self.method, "norm", self.evaluate.norm)
        return norm

    def to_dict(self) -> dict[str, Any]:
        """The recipe as YAML has it, every default filled in; `load_recipe` reads it back to an equal recipe."""
        sections = self.sections()
        sections["method"] = {"name": self.method_name, **sections["method"]}
        return {"about": self.about, "seed": self.seed, **sections}

    def sections(self) -> dict[str, dict[str, Any]]:
        """The settings of each section as plain values."""
        return {key: _plain(getattr(self, key)) for key in SECTIONS}

    def dotted(self) -> dict[str, Any]:
        """The values of `to_dict` by dotted key, such as `train.lr`; `about` and `seed` have no section."""
        plain = self.to_dict()
        own = {key: plain.pop(key) for key in ("about", "seed")}
        return own | {f"{section}.{key}": value for section, values in plain.items() for key, value in values.items()}

    def to_yaml(self) -> str:
        """`to_dict` as YAML text."""
        return dump_yaml(self.to_dict())


def _plain(config: Any) -> dict[str, Any]:  # noqa: ANN401
    values = {key: getattr(config, key) for key in setting_names(config)}
    return {key: plain(value) for key, value in values.items()}


def plain(value: Any) -> Any:  # noqa: ANN401
    """A setting as YAML has it."""
    return str(value) if isinstance(value, Radius) else value
