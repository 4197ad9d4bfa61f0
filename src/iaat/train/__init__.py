"""Training: `Trainer`, and `train`, which builds one from a recipe and runs it to the end."""

from iaat.train.trainer import Trainer, train

__all__ = ["Trainer", "train"]
