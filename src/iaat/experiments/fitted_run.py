"""`Run`: what `iaat.fit` returns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from iaat.attacks import geometry
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.errors import UserError
from iaat.evaluate.evaluate_given import samples_for
from iaat.evaluate.evaluate_run import load_evaluated
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation
from iaat.evaluate.results import EvaluationResult, ModelFacts
from iaat.models import weights_digest
from iaat.radius import RadiiTable, RadiusMemory
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.checkpoint_schema import SavedState
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.load_trained import as_trained_model
from iaat.runs.memory_run import MemoryRun
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device
from iaat.runtime.files import user_path
from iaat.runtime.progress import Reporter
from iaat.runtime.text import counted
from iaat.units import Norm, Radius


class Run:
    """A finished run, as `iaat.fit` returns it.

    Attributes:
        model: That of the best epoch, in eval mode on the training device: inputs in [0, 1] to logits.
        radii: Radius of every sample of the training data by its position, also of those that chose the best epoch,
            which keep the one they began with; None where the method keeps none.
        history: A record of every epoch: `loss`, `validation_clean`, `validation_robust`, `radius_mean_px`, ...
        train_index: `[n]` int64, positions of the samples that were trained on.
        recipe: All settings.
        path: The run folder; None where nothing was written.

    Example:
        >>> import iaat
        >>> run = iaat.fit("small-cnn", "digits", method="natural", epochs=1, limit=200, device="cpu", quiet=True)
        >>> run
        Run(natural, 1 epoch, 10 classes, nothing written)
        >>> run.history[0].epoch, run.radii
        (1, None)
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSplits,
        store: RunFolder | MemoryRun,
        module: nn.Module | None,
        reporter: Reporter,
    ) -> None:
        self.recipe, self._data, self._store, self._reporter = recipe, data, store, reporter
        self.path = store.path if isinstance(store, RunFolder) else None
        self._best, last = _state(store, "best"), _state(store, "last")
        self.model = as_trained_model(self._best, recipe, module, pick_device(recipe.train.device))
        self.history = [EpochRecord.from_json(record) for record in last["records"]]
        self.train_index = data.train_index
        self.radii = _radii(last, recipe, data)

    def __repr__(self) -> str:
        """Method, epochs, classes and place."""
        count = len(self.history)
        place = "nothing written" if self.path is None else str(self.path)
        return f"Run({self.recipe.method_name}, {counted(count, 'epoch')}, {len(self.model.classes)} classes, {place})"

    def evaluate(
        self,
        data: object = None,
        *,
        suite: str | None = None,
        radius: float | str | None = None,
        norm: Norm | None = None,
        n: int | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> EvaluationResult:
        """Evaluate the model on clean and attacked samples.

        Args:
            data: A `Dataset` of (x, y), a `DataLoader`, a pair of tensors, or a folder with a folder for each class. By
                default the test images of the training data's folder; where there are none, the validation samples,
                which have chosen the epoch, so that figures on them are a little too high.
            suite: quick, standard, paper, full, or attacks and sections joined by "+".
            radius: Radius of the attacks.
            norm: Norm of the radius; another one than that of the settings needs a radius, too.
            n: Number of samples.
            batch_size: Samples attacked at once.
            seed: Seed of the attacks.

        What is not given is what the settings of the run have under `evaluate`: by default suite quick on 1,000 samples
        (all in other suites) at the radius of the training. With another norm `evaluate.step_size` of the settings does
        not count: steps follow the radius.

        Returns:
            The results: `accuracy`, `interval95`, `verdict`, `findings`, and more. A run folder keeps them.

        Raises:
            UserError: samples or settings that cannot be used.
        """
        own = self.recipe.evaluate
        if norm is not None:
            geometry(norm)  # refuses any other
        if norm not in (None, own.norm) and radius is None:
            raise UserError(f"norm={norm!r}: the radius of the run is {own.radius} in {own.norm}; give radius=, too")
        config = replace(
            own,
            suite=suite or own.suite,
            radius=own.radius if radius is None else Radius(radius),
            norm=norm or own.norm,
            step_size=own.step_size if norm in (None, own.norm) else None,
            n=own.n if n is None else n,
            batch_size=own.batch_size if batch_size is None else batch_size,
            seed=own.seed if seed is None else seed,
        )
        if data is None and len(self._data.test_index) and isinstance(self._store, RunFolder):
            evaluated = load_evaluated(self._store, self.recipe, "best", self._data)
            return run_evaluation(evaluated, self._data, config, self._reporter)
        return self._evaluate(self._samples(data), config, kept=not len(self._data.test_index))

    def _samples(self, data: object) -> DataSplits:
        """The data of the run with the samples to evaluate as its test set."""
        if data is not None:
            source = samples_for(self.model, data, self.model.classes)
            return replace(self._data, test=source, test_index=torch.arange(len(source)), test_contents=None)
        if len(self._data.test_index):
            return self._data
        warnings.warn(
            f"evaluated on the {len(self._data.validation_index)} validation samples, which have chosen the epoch; for "
            "figures to quote give test data: run.evaluate(test_data)",
            stacklevel=3,
        )
        return replace(self._data, test=self._data.train, test_index=self._data.validation_index, test_contents=None)

    def _evaluate(self, data: DataSplits, config: EvaluateConfig, *, kept: bool) -> EvaluationResult:
        """Evaluate the model; a run folder keeps the results, unless it has those of a test set of its own."""
        radii = None
        if self.radii is not None:
            index = data.trained_index(self.recipe.train.batch_size, seed=self.recipe.seed, epochs=self._best["epoch"])
            radii = index, self._best["method"]["radii"]["values"].cpu()[index]
        with TemporaryDirectory() as temporary:
            run = self._store
            folder = run.evaluations if kept and isinstance(run, RunFolder) else Path(temporary)
            facts = ModelFacts(
                run=self.recipe.name, checkpoint="best", epoch=self._best["epoch"], seed=self.recipe.seed
            )
            name, digest = f"{self.recipe.name}-best", weights_digest(self.model)
            evaluated = EvaluatedModel(name, self.model, digest, folder, facts, radii=radii)
            return run_evaluation(evaluated, data, config, self._reporter)

    def report(
        self, out: str | Path = "report.html", *, images: int = 2000, details: int = 40, details_of: Sequence[int] = ()
    ) -> Path:
        """Write one page that shows the run: accuracies, radii, images, suspected label errors.

        Args:
            out: The page.
            images: Images in its gallery.
            details: Images of them that have details, at up to 402 forwards and 380 backwards each: suspects first.
            details_of: Images that have details beside them, by their position in the training data.

        Returns:
            The page.

        Raises:
            UserError: it cannot be written.
        """
        # Imported here: what draws pages takes long to import.
        from iaat.report.collect import collect_content
        from iaat.report.page import write_page
        from iaat.report.scope import Scope

        out = user_path(out)
        with TemporaryDirectory() as temporary:
            run = self._folder(Path(temporary, self.recipe.name))
            scope = Scope(images=images, details=details, details_of=tuple(map(int, details_of)))
            content = collect_content([run], (), self._reporter, scope, recipes=[self.recipe])
            write_page(content, out)
        return out

    def save(self, out: str | Path) -> Path:
        """Write a run that was kept in memory into a run folder, for `iaat.load`, `iaat report` and the like.

        Args:
            out: The folder; it has to be new or empty.

        Returns:
            The folder.

        Raises:
            UserError: there is something in it, it cannot be written, or the run has a folder already.
        """
        if self.path is not None:
            raise UserError(f"the run is in {self.path} already: copy that folder")
        self._store = self._folder(user_path(out))
        self.path = self._store.path
        return self.path

    def radii_table(self) -> RadiiTable:
        """The radii with the labels of their samples, for another run to begin with.

        Raises:
            UserError: the method keeps no radii.
        """
        if self.radii is None:
            raise UserError(f"{self!r} has no radii: its method trains every sample at one radius")
        return RadiiTable.of_object(repr(self), self.radii, self._data.train.labels)

    def _folder(self, out: Path) -> RunFolder:
        return self._store if isinstance(self._store, RunFolder) else self._store.write(self.recipe, out)


def _state(store: RunFolder | MemoryRun, which: str) -> SavedState:
    if isinstance(store, RunFolder):
        return load_checkpoint(store.checkpoint(which))
    state = store.best if which == "best" else store.last
    assert state is not None  # a run has an epoch
    return state


def _radii(last: SavedState, recipe: Recipe, data: DataSplits) -> RadiusMemory | None:
    """The radii after the last epoch, of the training data without samples that were given for validation alone."""
    if (state := last["method"].get("radii")) is None:
        return None
    values = state["values"]
    values = values if len(data.extra_index) else values[: len(values) - data.validation_size]
    return RadiusMemory(len(values), initial=values, norm=recipe.radius_norm)
