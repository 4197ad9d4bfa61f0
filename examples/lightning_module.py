"""PyTorch Lightning: a method of iaat in a LightningModule, its radii in Lightning's checkpoints.

Install: pip install lightning
Run:     python examples/lightning_module.py [EPOCHS] [CHECKPOINT to go on from]
"""

import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import iaat
from iaat.attacks import is_correct
from iaat.methods import IAAT, IAATConfig, StepContext
from iaat.types import Batch


class RobustClassifier(lightning.LightningModule):
    def setup(self, stage):
        layers = nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
        self.model = nn.Sequential(*layers)  # yours: inputs in [0, 1] to logits
        settings = IAATConfig(radius="32px", steps=5).over(epochs=self.trainer.max_epochs)
        self.method = IAAT(settings, size=len(training), device=self.trainer.strategy.root_device)

    def training_step(self, batch):
        output = self.method.step(self.model, Batch(*batch), StepContext(self.current_epoch))
        self.log("radius_px", 255 * output.radius.mean())
        return output.loss

    def on_train_epoch_end(self):
        self.method.radii.synchronize()  # between processes, if there are several

    def validation_step(self, batch):
        x_adv = iaat.pgd(self.model, *batch, radius="32px")
        self.log("robust", is_correct(self.model, x_adv, batch[1]).float().mean(), prog_bar=True, sync_dist=True)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["method"] = self.method.state_dict()

    def on_load_checkpoint(self, checkpoint):
        self.method.load_state_dict(checkpoint["method"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)


lightning.seed_everything(0)
digits = TensorDataset(torch.tensor(load_digits().images[:, None] / 16).float(), torch.tensor(load_digits().target))
training, validation = random_split(digits, [1437, 360])
loaders = DataLoader(iaat.with_index(training), batch_size=64, shuffle=True), DataLoader(validation, batch_size=360)
trainer = lightning.Trainer(max_epochs=int(sys.argv[1]) if sys.argv[1:] else 5, log_every_n_steps=1)
trainer.fit(RobustClassifier(), *loaders, ckpt_path=sys.argv[2] if sys.argv[2:] else None)
print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
