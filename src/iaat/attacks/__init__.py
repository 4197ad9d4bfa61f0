from iaat.attacks.apgd import apgd
from iaat.attacks.batching import filled_up
from iaat.attacks.boundary import Boundary, to_boundary
from iaat.attacks.carlini_wagner import cw_l2, cw_pgd
from iaat.attacks.climb import proportional_steps
from iaat.attacks.context import MODES, Mode, attack_mode, mixes_samples, standing_statistics
from iaat.attacks.deepfool import deepfool
from iaat.attacks.geometry import GEOMETRIES, geometry, per_sample
from iaat.attacks.losses import (
    LOSSES,
    AttackLoss,
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
from iaat.attacks.minimal import SmallestRadius, smallest_radius
from iaat.attacks.nfgsm import nfgsm
from iaat.attacks.pgd import pgd
from iaat.attacks.predict import is_correct, predict
from iaat.attacks.screening import apgd_ce, apgd_t, screen

__all__ = [
    "pgd",
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
    "to_boundary",
    "Boundary",
    "filled_up",
    "predict",
    "is_correct",
    "attack_mode",
    "mixes_samples",
    "standing_statistics",
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
    "LOSSES",
]
