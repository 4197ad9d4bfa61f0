"""Checkpoints: the whole state of a run in one file, which is loaded without running code from it."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from iaat.config.recipe import Recipe
from iaat.errors import UserError
from iaat.models import build_model
from iaat.models.model_file_kind import check_sizes
from iaat.models.safe_pickle import check_names
from iaat.models.state_dict_search import FoundStateDict
from iaat.models.weights import check_plain, misfit
from iaat.runs.checkpoint_schema import SavedState, saved_state, using
from iaat.runtime.files import replacing
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.text import first_line

FORMAT = 2


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path) as temporary:
        # A file of Python's: PyTorch's own writer does not say why it could not write.
        try:
            with temporary.open("wb") as file:
                torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:
            reason = error.__context__
            raise reason if isinstance(reason, OSError) else OSError(first_line(error, 300)) from error


class DamagedCheckpoint(UserError):  # noqa: N818 - it names what was found
    """A file that was a checkpoint, or looks like one, and cannot be read as one."""


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> SavedState:
    """Read a checkpoint; nothing but tensors and plain values is accepted from it.

    Raises:
        DamagedCheckpoint: the file is broken.
        UserError: no such file, one that may not be read, one that holds objects other than data, one of another
            format, or one a part of which is of another kind than was written.
    """
    if not path.is_file():
        why = "the run has not finished its first epoch" if path.parent.is_dir() else "the path is wrong"
        raise UserError(f"no checkpoint {path}: {why}")
    try:
        # Opened once: a run that is going on may put another file in its place between checking and loading.
        with path.open("rb") as file:
            _check_intact(file)
            check_names(file)
            file.seek(0)
            state = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"checkpoint {path} is refused: it holds objects other than tensors and plain values, which could run code"
            " or take any memory"
        ) from None
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a broken file can fail in any way
        if is_lack_of_memory(error):
            raise
        raise DamagedCheckpoint(
            f"checkpoint {path} cannot be read, it may be cut short: {first_line(error, 300)}"
        ) from None
    number = state.get("format") if isinstance(state, dict) else None
    if not (isinstance(number, int) and number == FORMAT):
        raise UserError(f"checkpoint {path} is not of format {FORMAT} of iaat")
    check_plain(state, f"checkpoint {path}")
    return saved_state(state, path)


def _check_intact(file: IO[bytes]) -> None:
    """Compare checksums, which `torch.load` does not: a damaged file would load as other weights."""
    with zipfile.ZipFile(file) as archive:
        check_sizes(archive, file)
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise ValueError("it is a TorchScript program")
        if damaged := archive.testzip():
            raise ValueError(f"its part {damaged} is damaged")


def has_average(state: dict[str, Any]) -> bool:
    """Whether a checkpoint holds a moving average (EMA) of the weights beside the raw ones."""
    return state.get("averaged") is not None


def restore_model(
    recipe: Recipe, state: dict[str, Any], device: torch.device | str = "cpu", *, raw: bool = False
) -> nn.Module:
    """The model of a checkpoint, in eval mode on `device`: the EMA of its weights where there is one, if not `raw`.

    Raises:
        UserError: the weights do not fit the recipe's model.
    """
    # The weights are all in the checkpoint: nothing is downloaded, and the statistics are buffers among them.
    channels = state["data"]["shape"][0]
    model = build_model(
        recipe.model.without_start(),
        shape=tuple(state["data"]["shape"]),
        classes=len(state["data"]["classes"]),
        mean=torch.zeros(channels),
        std=torch.ones(channels),
        seed=recipe.seed,
    )
    ema = has_average(state) and not raw
    weights = state["averaged"]["model"] if ema else state["model"]
    with using("averaged" if ema else "model", state, fit=recipe.model.name):
        check_fit(model, weights)
        model.load_state_dict(weights)
    return model.to(device).eval()


def check_fit(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Compare names and shapes of saved weights with those of a model.

    Raises:
        ValueError: naming the first that differ.
    """
    if problem := misfit(FoundStateDict("", dict(weights), (), None), model.state_dict()):
        raise ValueError(problem)
