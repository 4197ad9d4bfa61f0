"""Attacks with a radius per sample, their losses, and what they do with a model meanwhile."""

from iaat.attacks.apgd import apgd
from iaat.attacks.attack_mode import MODES, Mode, attack_mode, frozen_running_stats, mixes_samples
from iaat.attacks.batching import padded_rows
from iaat.attacks.boundary import Boundary, find_boundary
from iaat.attacks.carlini_wagner import cw_l2, cw_pgd
from iaat.attacks.deepfool import deepfool
from iaat.attacks.early_stop import pgd_early_stop
from iaat.attacks.geometry import GEOMETRIES, geometry, per_sample
from iaat.attacks.losses import (
    LOSSES,
    AttackLoss,
    PerSampleLoss,
    Targeted,
    cross_entropy,
    dlr,
    dlr_towards,
    full_precision,
    kl_divergence,
    kl_from,
    margin,
    soft_margin,
)
from iaat.attacks.mi_fgsm import mi_fgsm
from iaat.attacks.nfgsm import nfgsm
from iaat.attacks.per_sample_steps import proportional_steps
from iaat.attacks.pgd import pgd
from iaat.attacks.predict import is_correct, predict_classes
from iaat.attacks.screening import apgd_ce, apgd_t, screen
from iaat.attacks.smallest_radius import SmallestRadius, smallest_radius

__all__ = [
    "pgd",
    "pgd_early_stop",
    "proportional_steps",
    "nfgsm",
    "apgd",
    "apgd_ce",
    "apgd_t",
    "screen",
    "mi_fgsm",
    "deepfool",
    "cw_pgd",
    "cw_l2",
    "smallest_radius",
    "SmallestRadius",
    "find_boundary",
    "Boundary",
    "padded_rows",
    "predict_classes",
    "is_correct",
    "attack_mode",
    "mixes_samples",
    "frozen_running_stats",
    "Mode",
    "MODES",
    "geometry",
    "per_sample",
    "GEOMETRIES",
    "cross_entropy",
    "margin",
    "soft_margin",
    "dlr",
    "dlr_towards",
    "kl_divergence",
    "kl_from",
    "full_precision",
    "AttackLoss",
    "PerSampleLoss",
    "Targeted",
    "LOSSES",
]
