"""Trackers, such as TensorBoard, that follow a run; the log in the run folder stays the truth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol, Self

from iaat.evaluate.results import EvaluationResult
from iaat.runs.epoch_record import EpochRecord
from iaat.runtime import rng
from iaat.runtime.distributed import current


class Tracker(Protocol):
    """Follows a run. Derive from it and define the methods you need; the others do nothing.

    The process that writes the run folder calls the methods, once the files that belong to a call are written. Training
    waits meanwhile. Arguments are copies.

    Example:
        >>> import iaat
        >>> class Losses(iaat.Tracker):
        ...     def started(self, recipe, run, records):
        ...         self.losses = [record.loss for record in records]
        ...     def epoch(self, record):
        ...         self.losses.append(record.loss)
        >>> losses, settings = Losses(), {"method": "natural", "limit": 200, "device": "cpu", "quiet": True}
        >>> run = iaat.fit("small-cnn", "digits", epochs=1, callbacks=[losses], **settings)
        >>> losses.losses == [run.history[0].loss]
        True
    """

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """The run begins or goes on.

        Args:
            recipe: All settings, as `recipe.yaml` has them.
            run: The run folder.
            records: What the log says of the epochs finished before, oldest first; none where the run is new. All
                epochs after them are made again, whatever was reported of them.
        """
        return  # a body, without which type checkers take the method for an abstract one

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is finished and its checkpoint written.

        Args:
            record: Its line of `metrics.jsonl`. An epoch that was reported before has been made again, and all after it
                will be.
        """
        return

    def evaluated(self, results: EvaluationResult) -> None:
        """A checkpoint was evaluated on the test set.

        Args:
            results: Content of `results.json`; `results.to_json()` is the same as plain values.
        """
        return

    def finished(self) -> None:
        """The run is finished, stopped or failed; the last call."""
        return


class Trackers(Tracker):
    """Passes each call on to several trackers, in the main process alone; `finished` when its context is left.

    A tracker that fails gets no more calls. Nor can one change the run in other ways: the state of the global
    generators is restored after each call.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._active: list[Tracker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finished()

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """Call all trackers; those that fail are dropped."""
        self._active = list(self._trackers) if current().main else []
        self._call(lambda tracker: tracker.started(deepcopy(recipe), run, deepcopy(list(records))))

    def epoch(self, record: EpochRecord) -> None:
        """Call the trackers that are left."""
        self._call(lambda tracker: tracker.epoch(deepcopy(record)))

    def evaluated(self, results: EvaluationResult) -> None:
        """Call the trackers that are left."""
        self._call(lambda tracker: tracker.evaluated(deepcopy(results)))

    def finished(self) -> None:
        """Call the trackers that are left, for the last time."""
        self._call(lambda tracker: tracker.finished())
        self._active = []

    def _call(self, call: Callable[[Tracker], None]) -> None:
        for tracker in self._active.copy():
            state = rng.globals_state()
            try:
                call(tracker)
            except Exception as error:  # code of others, which fails in many ways
                self._active = [other for other in self._active if other is not tracker]
                warnings.warn(
                    f"tracker {type(tracker).__name__} failed and gets no more calls in this run: "
                    f"{type(error).__name__}: {error}. The run goes on, and its metrics.jsonl has every epoch",
                    stacklevel=2,
                )
            finally:
                rng.set_globals_state(state)
