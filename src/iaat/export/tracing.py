"""What the exporters of PyTorch share: an example input, a batch of any size, quiet warnings, failures in one line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO

import torch
from torch import Tensor
from torch.export import Dim

from iaat.errors import UserError
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.text import first_line


def example_of(model: TrainedModel) -> Tensor:
    """Two inputs `[2, ...]`; exporters take a batch of one for a size that never changes."""
    return torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0))


def dynamic_batch() -> tuple[dict[int, Dim]]:
    """The shapes of one argument with a first dimension of any length."""
    return ({0: Dim("batch", min=1)},)


@contextmanager
def failures_named(what: str) -> Iterator[None]:
    """Context of an export that shows no warnings, log or graphs of PyTorch's.

    Raises:
        UserError: a package is too old, or whatever else the exporter stumbles on.
    """
    quiet = logging.root.manager.disable
    try:
        logging.disable()
        with redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UserError, OSError):
        raise
    except ImportError as error:  # of a part that only newer versions have
        package = (error.name or "").partition(".")[0]
        raise UserError(
            f"PyTorch {torch.__version__} cannot write {what} ({error}): pip install --upgrade {package}"
        ) from error
    except Exception as error:  # code of others, which fails in many ways
        if is_lack_of_memory(error):
            raise
        raise UserError(
            f"PyTorch cannot write this model as {what} ({type(error).__name__}: {first_line(error, 300)}): leave out"
            " of its forward what depends on values or on the size of the batch, or take --format safetensors"
        ) from error
    finally:
        logging.disable(quiet)
