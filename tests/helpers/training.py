"""Small training runs on real digits, shared by the tests of the loop."""

import torch

from iaat.config import load_recipe
from iaat.progress import Reporter

TINY = [
    *("--data.limit", "200", "--model.width", "4", "--train.epochs", "3", "--train.batch_size", "64"),
    *("--train.holdout_steps", "2", "--train.holdout_n", "10"),
]
QUIET = Reporter(quiet=True)


def tiny(method="iaat", *more):
    return load_recipe("quickstart", [*TINY, "--method", method, *more])


class Interrupting(Reporter):
    """Stops the run as Ctrl-C would, when the batch of that number has been trained on."""

    def __init__(self, batch):
        super().__init__(quiet=True)
        self.left = batch

    def track(self, items, **_):
        for item in items:
            yield item
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def same(left, right):
    """Whether two nested states are equal to the last bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right
