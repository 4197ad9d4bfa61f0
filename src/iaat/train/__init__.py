"""Training: `Trainer`, and `train`, which builds one from a recipe and runs it to the end."""

from iaat.train.train_recipe import train
from iaat.train.trainer import Trainer

__all__ = ["Trainer", "train"]
