"""Checks for gradient masking: whether the figures of a gradient attack on a model can be believed.

Every check has a name, which its `Finding` carries. Serious ones forbid trusting gradient attacks; others say that PGD
is too weak for the model, so that its worst case is to be quoted, or are notes.

| name                      | observation                                                                              |
|---------------------------|------------------------------------------------------------------------------------------|
| `random-outputs`          | the same inputs give other logits the next time                                          |
| `batch-dependence`        | the logits of a sample depend on the others of its batch                                 |
| `train-mode`              | handed over in train mode (a note if attacks fare alike), or `eval()` has no effect      |
| `nonfinite-outputs`       | NaN or infinite logits                                                                   |
| `softmax-outputs`         | probabilities in place of logits                                                         |
| `sigmoid-outputs`         | sigmoids in place of logits                                                              |
| `log-softmax-outputs`     | log-probabilities (a note: no attack here sees a difference)                             |
| `few-classes`             | fewer than 4 classes (a note: targeted DLR is not defined)                               |
| `few-samples`             | too few samples for the checks (a note)                                                  |
| `reference-warning`       | a warning of the checks of the reference AutoAttack                                      |
| `remembered-inputs`       | a fresh copy of the model, without earlier inputs, returns other logits                  |
| `no-fresh-copy`           | the model cannot be copied, so its memory was not checked (a note)                       |
| `blocked-gradients`       | no gradient path leads from the logits to the input                                      |
| `nan-gradients`           | input gradients that are NaN or infinite                                                 |
| `zero-gradients`          | the attack fails, and the gradient it follows is exactly 0                               |
| `vanishing-gradients`     | the attack fails, and the margin hardly has a slope                                      |
| `loss-not-rising`         | the attack fails, and its steps have not raised the loss                                 |
| `one-step-stronger`       | one step succeeds on more samples than many steps                                        |
| `logit-scale`             | PGD succeeds on smaller logits only (larger ones: quote the worst case)                  |
| `robust-at-any-radius`    | accuracy does not fall to 0 as the radius grows, though other inputs get other classes   |
| `black-box-stronger`      | the Square attack succeeds where every gradient attack fails                             |
| `no-black-box`            | the Square attack cannot run on such inputs (a note)                                     |
| `transfer-stronger`       | adversarial examples of another model succeed more often than PGD                        |
| `pgd-gap`                 | PGD claims more than the worst case over all attacks leaves (quote the worst case)       |
"""

from iaat.evaluate.masking.attack_checks import gap_finding, no_black_box, transfer_finding
from iaat.evaluate.masking.masking_report import MaskingReport, masking_report
from iaat.evaluate.masking.state_check import Fresh, fresh_copy

__all__ = [
    "MaskingReport",
    "masking_report",
    "Fresh",
    "fresh_copy",
    "gap_finding",
    "transfer_finding",
    "no_black_box",
]
