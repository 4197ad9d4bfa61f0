"""Targets of `iaat evaluate`: run folders and models of others, by the names a user gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from iaat.config.differences import LOCATION_KEYS
from iaat.config.load_recipe import expand_arguments, settings_for_model, stored_recipe
from iaat.config.recipe import Recipe
from iaat.config.setting_keys import check_allowed
from iaat.config.typed_arguments import read_settings
from iaat.data import DataSplits, build_data, read_dataset_info
from iaat.data.image_root import is_image_folder
from iaat.errors import UserError, did_you_mean
from iaat.evaluate.evaluate_run import load_evaluated, weights_to_evaluate
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.external_model import external_model
from iaat.experiments.exported_target import check_exported, evaluated_export, load_exported
from iaat.models import MODELS, weights_digest
from iaat.models.model_file_kind import file_kind, is_file_name
from iaat.models.programs import check_program_trusted
from iaat.models.timm_models import is_timm_name, timm_names
from iaat.runs.exported_weights import ExportRecord, check_readable, exported_file, read_record
from iaat.runs.load_any_model import is_own_name, load_model
from iaat.runs.load_trained import find_checkpoint
from iaat.runs.run_folder import RunFolder, run_of_checkpoint
from iaat.runtime.device import pick_device
from iaat.runtime.distributed import Ranks
from iaat.runtime.progress import Reporter

RUN_SETTINGS = ("evaluate.", *LOCATION_KEYS)
"""Settings that may be given for a run of ours, or what was exported of one: the rest is its recipe's."""

MODEL_SETTINGS = ("evaluate.", "data.", "model.", "train.device")
"""Settings that may be given for a model of others."""


@dataclass(frozen=True, eq=False)
class Target:
    """A run folder or a model of others, with the settings of its evaluation.

    Attributes:
        name: As the user wrote it.
        recipe: The run's own with the user's changes, or settings for a model of others.
        run: The run folder; None for a model of others.
        out: Folder of the evaluations of models of others.
        checkpoint: The checkpoint of the run that was named by its file, if one was.
        exported: The record of what `iaat export` wrote of a run.
    """

    name: str
    recipe: Recipe
    run: RunFolder | None
    out: Path
    checkpoint: str | None = None
    exported: ExportRecord | None = None

    def data(self, ranks: Ranks, reporter: Reporter) -> DataSplits:
        """The data set it is evaluated on; all processes call it together."""
        device = pick_device(self.recipe.train.device)
        return build_data(self.recipe.data, seed=self.recipe.seed, device=device, reporter=reporter, ranks=ranks)

    def check_checkpoint(self, checkpoints: Sequence[str]) -> None:
        """Refuse a single checkpoint that was asked for where the name is that of another.

        Raises:
            UserError: naming both.
        """
        own = self.checkpoint if self.exported is None else self.exported.checkpoint
        if own is not None and len(checkpoints) == 1 and own not in checkpoints:
            raise UserError(f"{self.name} holds checkpoint {own} alone: leave out --checkpoint {checkpoints[0]}")

    def models(
        self,
        checkpoints: Sequence[str],
        data: DataSplits,
        weights: str = "ema",
        preloaded: nn.Module | None = None,
    ) -> list[EvaluatedModel]:
        """The models to evaluate: one for each checkpoint of a run, or two for both kinds of its weights.

        A model of others is what `preload` returned, or loaded now.

        Raises:
            UserError: a model that cannot be loaded, or does not fit the data.
        """
        if self.run is not None:
            return [
                load_evaluated(self.run, self.recipe, which, data, weights=kind)
                for which in (checkpoints if self.checkpoint is None else (self.checkpoint,))
                for kind in weights_to_evaluate(self.recipe, weights)
            ]
        if self.exported is not None:
            model = preloaded or load_exported(self.name, device=pick_device(self.recipe.train.device))
            check_exported(self.name, self.exported, data)
            return [evaluated_export(self.name, self.exported, model, recipe=self.recipe, out=self.out)]
        return [self._external(data, preloaded)]

    def preload(self) -> nn.Module | None:
        """A model of others, loaded before the samples are read: mistakes are reported at once.

        None for a run, and where loading the model needs the samples.

        Raises:
            UserError: a model that cannot be loaded, or does not fit the data.
        """
        if self.exported is not None:
            return load_exported(self.name, device=pick_device(self.recipe.train.device))
        data = self.recipe.data
        if self.run is not None or self.recipe.model.normalize == "data" or data.is_user_function:
            return None
        facts = read_dataset_info(data)
        return self._load(shape=facts.shape, classes=facts.classes)

    def _load(self, **of_data: Any) -> nn.Module:  # noqa: ANN401
        return load_model(self.name, self.recipe.model, device=pick_device(self.recipe.train.device), **of_data)

    def _external(self, data: DataSplits, preloaded: nn.Module | None) -> EvaluatedModel:
        model = preloaded or self._load(shape=data.shape, classes=len(data.classes), mean=data.mean, std=data.std)
        name = re.sub(r"[^\w.-]+", "-", Path(self.name).name if Path(self.name).exists() else self.name).strip("-.")
        # Settings decide what the same weights compute, too.
        digest = sha256(f"{weights_digest(model)} {self.recipe.sections()['model']}".encode()).hexdigest()
        scale_is_given = self.recipe.model.mean is not None
        folder = self.out / f"{name}-{digest[:8]}"
        return external_model(model, name, data, folder, digest=digest, scale_is_given=scale_is_given)


def find_targets(
    names: Sequence[str], makers: Sequence[str], overrides: Sequence[str], out: Path
) -> tuple[list[Target], list[Target]]:
    """Find run folders and models of others by their names, and read the settings of each.

    A setting goes to every target of a kind that takes it: those of `data` and `model` to models of others only.

    Args:
        names: What to evaluate: run folders, `module:function`, timm names, files of a model or of weights.
        makers: Further models of these kinds, to make adversarial examples on.
        overrides: `--section.key=value` arguments.
        out: Folder of the evaluations of models of others.

    Returns:
        The targets of `names` and those of `makers`, each model once.

    Raises:
        UserError: a setting that none of them takes, a wrong value, or a name that is none of these.
    """
    wanted = dict.fromkeys(map(_place, names))
    unique = list(dict.fromkeys([*wanted, *map(_place, makers)]))
    runs = [name for name in unique if _run_of(name) is not None or _is_exported(name)]
    runs_alone = len(runs) == len(unique)
    allowed = RUN_SETTINGS if runs_alone else MODEL_SETTINGS  # each once: data. holds data.root
    if runs_alone:  # they know their data set: --data is its folder
        overrides = [each.replace("--data=", "--data.root=", 1) for each in overrides]
    overrides = expand_arguments(overrides)
    if runs_alone:
        overrides = _without_own_data_set(runs, overrides, out)
    check_allowed(overrides, allowed, _keeps_its_recipe(runs[0]) if runs else "the model is not trained here")
    targets = [_target(name, overrides, out, evaluated=name in wanted) for name in unique]
    return [each for each in targets if each.name in wanted], [each for each in targets if each.name not in wanted]


def _without_own_data_set(runs: Sequence[str], overrides: Sequence[str], out: Path) -> list[str]:
    """The settings without `data.name` where it names the data set that all runs have anyway."""
    given = read_settings(overrides).get("data.name")
    if given is None or {_target(run, [], out, evaluated=True).recipe.data.name for run in runs} != {given}:
        return list(overrides)
    return [each for each in overrides if not each.startswith("--data.name=")]


def _keeps_its_recipe(run: str) -> str:
    command = shlex.join(("iaat", "evaluate", "MODEL", "--model.weights", str(_weights_of(run)), "--data.name", "NAME"))
    in_python = f"iaat.evaluate_model(iaat.load({run!r}), data)"
    return f"a finished run keeps its recipe. For other data: {command}, or in Python {in_python}"


def _weights_of(run: str) -> Path:
    """The file of weights of a run, a checkpoint or an export."""
    try:
        return exported_file(Path(run)) or find_checkpoint(Path(run))
    except UserError:  # whoever loads it says that there is none yet
        return RunFolder(Path(run)).checkpoint("best")


def _place(name: str) -> str:
    return str(Path(name)) if Path(name).exists() else name


def _target(name: str, overrides: Sequence[str], out: Path, *, evaluated: bool) -> Target:
    if (found := _run_of(name)) is not None:
        run, checkpoint = found
        recipe = run.recipe([each for each in overrides if each[2:].startswith(RUN_SETTINGS)])
        return Target(name, recipe, run, out, checkpoint)
    check_readable(Path(name))
    if (file := exported_file(Path(name))) is not None:
        record = read_record(file)
        own = [each for each in overrides if each[2:].startswith(RUN_SETTINGS)]
        recipe = stored_recipe(record.recipe, record.name, f"exported weights {name}", own)
        return Target(name, recipe, None, out, exported=record)
    _check_names_a_model(name)
    if evaluated:
        _check_names_data(name, overrides)
    recipe = settings_for_model(name, overrides)
    _check_file(name, overrides)
    return Target(name, recipe, None, out)


def _is_exported(name: str) -> bool:
    return exported_file(Path(name)) is not None


def _run_of(name: str) -> tuple[RunFolder, str | None] | None:
    """The run of a folder, or of a checkpoint in one, with the checkpoint; None for a model of others."""
    if Path(name).is_dir() and not (_is_exported(name) and not RunFolder(Path(name)).exists()):
        return RunFolder(Path(name)), None
    return run_of_checkpoint(Path(name))


def _check_names_data(name: str, overrides: Sequence[str]) -> None:
    """Refuse to evaluate a model of others on data that the user has not named: the default is no choice."""
    given = read_settings(overrides)
    root = given.get("data.root")
    if "data.name" in given or (root is not None and is_image_folder(root)):
        return
    what = f"{name} is no run folder" if root is None else f"{root} holds no train/CLASS and test/CLASS"
    raise UserError(
        f"{what}, so say what {name} is to be evaluated on: --data.name cifar10 --data.root DIR, or --data.root DIR "
        "for your own images in DIR/train/CLASS and DIR/test/CLASS"
    )


def _check_names_a_model(name: str) -> None:
    if not (":" in name or Path(name).is_file() or is_own_name(name) or is_timm_name(name)):
        raise UserError(
            f"{name} is neither a run folder nor a file (seen from {Path.cwd()}), nor a model's name"
            f"{did_you_mean(name, (*MODELS, *timm_names()))}; a factory of yours is written module:function"
        )


def _check_file(name: str, overrides: Sequence[str]) -> None:
    """Refuse a file that cannot be loaded, before the data is read: weights of no named model, untrusted programs."""
    if not is_file_name(name):
        return
    kind = file_kind(Path(name))
    if kind != "weights":
        check_program_trusted(Path(name), kind)
    elif "model.name" not in read_settings(overrides):
        raise UserError(
            f"{name} holds weights, and no model was named: give --model NAME, such as resnet18 or module:function"
        )
