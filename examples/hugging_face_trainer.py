"""The Trainer of Hugging Face: a ResNet trained by a method of iaat, evaluated under attack, radii in its checkpoints.

Install: pip install transformers accelerate
Run:     python examples/hugging_face_trainer.py [EPOCHS] [resume]
"""

import sys

import torch
from sklearn.datasets import load_digits
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainerCallback, TrainingArguments

import iaat
from iaat.methods import IAAT, IAATConfig, StepContext
from iaat.types import Batch


class Classifier(ResNetForImageClassification):  # Classifier.from_pretrained(NAME) has weights of the hub
    def forward(self, x):  # attacks need images in [0, 1] to logits: the normalisation is here, not in the data
        return super().forward(pixel_values=(x - 0.5) / 0.5).logits


class RobustTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **_):
        x, y = inputs["x"], inputs["labels"]
        if model.training:
            return method.step(model, Batch(x, y, inputs["index"]), StepContext(int(self.state.epoch))).loss
        logits = model(iaat.pgd(model, x, y, radius="16px"))
        return torch.nn.functional.cross_entropy(logits, y), {"logits": logits}


class KeepMethod(TrainerCallback):
    def on_save(self, args, state, control, **_):
        method.radii.synchronize()  # between processes, if there are several
        torch.save(method.state_dict(), f"{args.output_dir}/checkpoint-{state.global_step}/method.pt")

    def on_train_begin(self, args, state, control, **_):
        if state.global_step:
            method.load_state_dict(torch.load(f"{args.output_dir}/checkpoint-{state.global_step}/method.pt"))


def accuracy(found):
    return {"robust_accuracy": (found.predictions.argmax(axis=1) == found.label_ids).mean()}


torch.manual_seed(0)
images, labels = torch.tensor(load_digits().images[:, None] / 16).float(), torch.tensor(load_digits().target)
digits = [{"x": x, "labels": y} for x, y in zip(images, labels, strict=True)]  # or a data set of the hub
data = {"train_dataset": iaat.with_index(digits[360:]), "eval_dataset": digits[:360]}
config = ResNetConfig(num_channels=1, embedding_size=32, hidden_sizes=[64], depths=[1], num_labels=10)
options = {"num_train_epochs": int(sys.argv[1]) if sys.argv[1:] else 5, "learning_rate": 5e-3}
options |= {"per_device_train_batch_size": 64, "per_device_eval_batch_size": 360}
options |= {"eval_strategy": "epoch", "save_strategy": "epoch", "report_to": "none"}
arguments = TrainingArguments("trainer", remove_unused_columns=False, label_names=["labels"], **options)
method = IAAT(IAATConfig(radius="16px", steps=5).over(epochs=5), size=len(digits) - 360, device=arguments.device)
trainer = RobustTrainer(Classifier(config), arguments, compute_metrics=accuracy, callbacks=[KeepMethod()], **data)
trainer.train(resume_from_checkpoint="resume" in sys.argv)
