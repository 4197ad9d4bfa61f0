"""TensorBoard and Weights & Biases follow a run; any other tracker is a class like the one here.

Install: pip install tensorboard wandb
Run:     python examples/trackers.py [EPOCHS], and with more epochs again: it goes on
         tensorboard --logdir runs    # and, to send what was logged without a network: wandb sync wandb/offline-run-*
"""

import sys

import wandb

import iaat


class WeightsAndBiases(iaat.Tracker):
    def started(self, recipe, run, records):  # records: epochs that were finished before the run was interrupted
        self.run = wandb.init(project="iaat", id=run.name, config=recipe, resume="allow", mode="offline")

    def epoch(self, record):
        self.run.log(record.to_json(), step=record.epoch)

    def finished(self):  # or stopped, or failed
        self.run.finish()


run = iaat.fit(
    "small-cnn",  # or a module of yours
    "digits",  # or a data set of yours
    radius="32px",
    epochs=int(sys.argv[1]) if sys.argv[1:] else 5,
    lr=0.05,
    schedule="constant",
    out="runs/tracked",
    callbacks=[iaat.TensorBoard(), WeightsAndBiases()],
)
print(run)
