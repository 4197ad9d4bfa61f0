"""The data of a run as its checkpoints describe it, compared with the data at hand."""

from __future__ import annotations

import warnings
from typing import Any

from iaat.data import DataSplits
from iaat.errors import UserError


def data_record(data: DataSplits) -> dict[str, Any]:
    """The data of a run as its checkpoints describe it."""
    return {
        "shape": list(data.shape),
        "classes": list(data.classes),
        "train_size": len(data.train),
        "train_fingerprint": data.train.fingerprint,
        "test_fingerprint": data.test.fingerprint,
        "train_contents": data.train_contents,
        "test_contents": data.test_contents,
    }


def check_same_data(saved: dict[str, Any], data: DataSplits, *, may_be_repaired: bool = False) -> None:
    """Refuse to go on with other data: radii belong to the samples they were updated on.

    Where damaged files are skipped and `may_be_repaired`, other bytes are only warned of.

    Raises:
        UserError: number of samples, classes, labels, files or what is in some of them differ from those of the
            checkpoint.
    """
    if saved["train_size"] != len(data.train):
        raise UserError(
            f"the training set has {len(data.train)} samples, the checkpoint was made with {saved['train_size']}: "
            "radii belong to samples, so give the same data (--data.root), or start a new run"
        )
    if saved["train_fingerprint"] != data.train.fingerprint:
        raise UserError(
            "the training set has other labels, classes or files than the one the checkpoint was made with: "
            "give the same data (--data.root) with the same corrected labels (--data.relabel), or start a new run"
        )
    if _differ(saved.get("train_contents"), data.train_contents):
        found = "training images were replaced: files of the same names hold other bytes than when the run was started"
        if data.train.paths is None:
            found = "training samples have other values than when the run was started, under the same labels"
        if not may_be_repaired:
            raise UserError(f"{found}; put the old ones back (--data.root), or start a new run")
        warnings.warn(f"{found}; with data.skip_damaged the run goes on, as if they had been repaired", stacklevel=2)


def _differ(saved: str | None, now: str | None) -> bool:
    """Whether both are known, and are not the same."""
    return saved is not None and now is not None and saved != now


def check_same_test_data(saved: dict[str, Any], data: DataSplits) -> None:
    """Refuse to evaluate a run on other test data than its own: class numbers would not mean the same.

    Raises:
        UserError: classes, input shape, labels or files of the test set differ from those of the checkpoint.
    """
    if saved["classes"] != list(data.classes):
        raise UserError(
            f"the data has the classes {', '.join(data.classes)}, the run has {', '.join(saved['classes'])}: "
            "give the run's own data (--data.root)"
        )
    if saved["shape"] != list(data.shape):
        raise UserError(f"the data has inputs of shape {list(data.shape)}, the run was trained on {saved['shape']}")
    if not saved["test_fingerprint"]:  # a run without a test set is evaluated on any of its classes
        return
    if saved["test_fingerprint"] != data.test.fingerprint:
        raise UserError("the test set has other labels or files than the run's own: give the run's data (--data.root)")
    if _differ(saved.get("test_contents"), data.test_contents):
        warnings.warn(
            "test images were replaced: files of the same names hold other bytes than when the run was trained; the "
            "results are of the new ones",
            stacklevel=2,
        )
