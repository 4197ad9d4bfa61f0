"""The `train` section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from iaat.errors import UserError, check_choice, shown
from iaat.runtime.json_files import UserPath, check_fields
from iaat.runtime.number_limits import check_numbers

AtLeastOne = Annotated[int, Field(ge=1)]
FromZero = Annotated[int, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
_NonNegative = Annotated[float, Field(ge=0)]
Below1 = Annotated[float, Field(ge=0, lt=1)]

SGD = "sgd"
OWN_ARGUMENTS = ("lr", "momentum", "nesterov", "weight_decay")
"""Arguments of optimisers that are settings of their own."""
_UNUSABLE = ("Optimizer", "LBFGS", "SparseAdam", "SGD")
"""The base class; optimisers that call the loss themselves or take sparse gradients; and SGD by another name."""


def _is_usable(name: str) -> bool:
    return name[0].isupper() and name not in _UNUSABLE


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Schedule, optimiser and checkpoint selection."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Passes over the training set."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Samples in a step, those of all processes together; BatchNorm needs 2."""
    accumulate: AtLeastOne = 1
    """Micro-batches that a process splits its samples of a batch into, where they do not fit into memory."""
    optimizer: str = "sgd"
    """Optimiser: sgd, or the name of another class of torch.optim, such as AdamW."""
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the optimiser, such as '{betas: [0.9, 0.98], eps: 1e-6}'."""
    lr: _Positive = 0.1
    """Peak learning rate."""
    momentum: Below1 = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov momentum of SGD."""
    weight_decay: _NonNegative = 5e-4
    """Weight decay."""
    clip_grad: _NonNegative = 0.0
    """Largest norm of the gradient of all weights together; a longer one is scaled down to it. 0: no clipping."""
    schedule: Literal["onecycle", "cosine", "multistep", "constant"] = "onecycle"
    """Course of the learning rate, per step: up, then down to 0; cosine to 0; drops at the milestones; or constant."""
    warmup_epochs: _NonNegative = 0.0
    """Epochs, also a fraction of one, in which the rate rises from 0 to lr before schedule cosine, multistep or
    constant goes on; onecycle has a rise of its own."""
    milestones: list[int] = field(default_factory=list)
    """Epochs after which schedule multistep drops the rate."""
    lr_drop: _Positive = 0.1
    """Factor of each drop of schedule multistep."""
    ema: Below1 = 0.0
    """Decay of an exponential moving average (EMA) of the weights, such as 0.995; 0: no average. Where there is one, it
    is validated and evaluated; the raw weights are kept, too."""
    awp: Below1 = 0.0
    """Adversarial weight perturbation (AWP): norm of the perturbation relative to the weights, such as 0.005; 0: none.
    Costs one more forward and backward of the loss."""
    awp_from: FromZero = 0
    """Epoch, counted from 0, in which weight perturbation begins."""
    natural_epochs: FromZero = 0
    """Epochs of natural training before the method begins; radii do not change meanwhile."""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "auto"
    """Number format of the model's layers; auto takes bf16 where the device is faster in it. fp16 is for GPUs
    without bf16; gradients are scaled, so that small ones are not lost. Losses and radii are float32 always."""
    channels_last: bool = True
    """Memory order of images and convolutions."""
    device: str = "auto"
    """cpu, cuda, cuda:N, mps, or auto: a GPU if there is one; of several processes each takes the GPU of its number."""
    sync_batchnorm: bool = True
    """Have BatchNorm on GPUs normalise by the samples of all processes; false: each by its own, which is faster and
    does well from some 32 samples a process. On CPUs each has its own. Running statistics are the same in all."""
    radii: Literal["replicated", "sharded"] = "replicated"
    """Where several processes keep radii: replicated, all in each, exchanged once an epoch; or sharded, each its part,
    looked up at each step, for data sets with radii that do not fit into the memory of a device."""
    radii_folder: UserPath | None = None
    """Folder on a local disk for memory-mapped radii, where even host memory is too small; null: on the device."""
    select: Literal["mean", "robust", "clean"] = "mean"
    """Validation accuracy that decides which epoch is kept as best: clean, robust (PGD), or the mean of the two."""
    validation_steps: AtLeastOne = 10
    """PGD steps of the attack on validation samples, at evaluate.radius."""
    validation_n: AtLeastOne = 1000
    """Validation samples attacked after each epoch; clean accuracy is of all of them."""
    snapshot_every: AtLeastOne = 1
    """Epochs between two saved snapshots of all radii."""
    save_minutes: _NonNegative = 10.0
    """Minutes between two checkpoints within an epoch; 0: none. There is one after every epoch in any case."""
    save_steps: FromZero = 0
    """Steps between two checkpoints within an epoch; 0: none."""
    keep: FromZero = 1
    """Checkpoints of earlier epochs kept beside the last, to fall back on where that is damaged."""
    nonfinite: Literal["stop", "skip", "rollback"] = "stop"
    """What a step with NaN or infinite loss, gradient, weights or statistics leads to; it is never taken: stop the run,
    skip the batch, or go back to the last finished epoch and on from there at a lower learning rate."""
    rollback_lr: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor on the learning rate at each rollback."""
    nonfinite_limit: AtLeastOne = 10
    """Number of such steps in the whole run at which skip and rollback give up."""
    deterministic: bool = False
    """Use deterministic algorithms on GPUs, which are slower, so that equal seeds give equal bits there, too."""

    def __post_init__(self) -> None:
        check_numbers(vars(self), "train")
        check_fields(self, "train")
        if self.nesterov and self.momentum == 0:
            raise UserError("train.nesterov needs train.momentum above 0")
        for key in ("natural_epochs", "warmup_epochs"):
            if getattr(self, key) >= self.epochs:
                raise UserError(f"train.{key} = {getattr(self, key):g}: give fewer than train.epochs, {self.epochs}")
        self._check_optimizer()
        self._check_schedule()

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        idle: dict[str, str] = {}
        if not self.awp:
            idle["awp_from"] = "train.awp above 0"
        elif self.awp_from >= self.epochs:
            idle |= dict.fromkeys(("awp", "awp_from"), f"train.awp_from below train.epochs, {self.epochs}")
        if self.schedule != "multistep":
            idle["lr_drop"] = "train.schedule multistep"
        if self.optimizer != SGD:
            idle |= dict.fromkeys(("momentum", "nesterov"), "train.optimizer sgd; others have train.optimizer_options")
        if self.nonfinite != "rollback":
            idle["rollback_lr"] = "train.nonfinite rollback"
        if self.nonfinite == "stop":
            idle["nonfinite_limit"] = "train.nonfinite skip or rollback"
        return idle

    def awp_in(self, epoch: int) -> float:
        """Size of the weight perturbation in an epoch, counted from 0."""
        return self.awp if epoch >= self.awp_from else 0.0

    def _check_optimizer(self) -> None:
        if self.optimizer != SGD:
            from torch import optim  # imported here: recipes are read by commands that need no PyTorch

            known = [name for name, value in vars(optim).items() if isinstance(value, type) and _is_usable(name)]
            check_choice(self.optimizer, [SGD, *sorted(known)], "train.optimizer")
        if own := sorted(self.optimizer_options.keys() & {"params", *OWN_ARGUMENTS}):
            raise UserError(f"train.optimizer_options has {own[0]}: write train.{own[0]}")

    def _check_schedule(self) -> None:
        if self.warmup_epochs and self.schedule == "onecycle":
            raise UserError(
                f"train.warmup_epochs = {self.warmup_epochs:g} has no effect with schedule onecycle, in which the rate "
                "rises for 30 % of the steps: use schedule cosine, multistep or constant"
            )
        if self.schedule == "multistep" and not self.milestones:
            raise UserError("train.schedule multistep needs train.milestones, such as [70, 90, 100]")
        if self.schedule != "multistep" and self.milestones:
            raise UserError(
                f"train.milestones {shown(self.milestones)} have no effect with train.schedule {self.schedule}: set "
                "train.milestones to [], or train.schedule to multistep"
            )
        if any(later <= earlier for earlier, later in zip([0, *self.milestones], self.milestones, strict=False)):
            raise UserError(f"train.milestones {shown(self.milestones)}: must be positive and grow")
