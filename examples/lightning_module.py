"""PyTorch Lightning: a method of iaat in a LightningModule, its radii in Lightning's checkpoints.

Install: pip install lightning
Run:     python examples/lightning_module.py [EPOCHS] [CHECKPOINT to go on from]
"""

import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

import iaat
from iaat.methods import IAAT, IAATConfig, StepContext


class RobustClassifier(lightning.LightningModule):
    def __init__(self, samples, epochs):
        super().__init__()
        self.save_hyperparameters()  # load_from_checkpoint then needs only the file
        layers = torch.nn.Flatten(), torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
        self.model = torch.nn.Sequential(*layers)  # yours: inputs in [0, 1] to logits
        self.method = IAAT(IAATConfig(radius="32px", steps=5).over(epochs=epochs), size=samples, device="cpu")

    def on_fit_start(self):
        self.method.radii.to(self.device)

    def training_step(self, batch):
        return self.method.step(self.model, iaat.types.Batch(*batch), StepContext(self.current_epoch)).loss

    def on_train_epoch_end(self):
        self.method.radii.synchronize()  # between processes, if there are several

    def validation_step(self, batch):
        x_adv = iaat.pgd(self.model, *batch, radius="32px")
        self.log("robust", (self.model(x_adv).argmax(1) == batch[1]).float().mean(), prog_bar=True, sync_dist=True)

    test_step = validation_step

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
module = RobustClassifier(len(training), trainer.max_epochs)
trainer.fit(module, *loaders, ckpt_path=sys.argv[2] if sys.argv[2:] else None)
trainer.test(module, loaders[1])
print(RobustClassifier.load_from_checkpoint(trainer.checkpoint_callback.best_model_path).method.radii)
