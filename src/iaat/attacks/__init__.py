from iaat.attacks.context import Mode, attack_mode
from iaat.attacks.geometry import GEOMETRIES, geometry, per_sample
from iaat.attacks.losses import LOSSES, AttackLoss, cross_entropy, dlr, full_precision, kl_from, margin
from iaat.attacks.pgd import pgd

__all__ = [
    "pgd",
    "attack_mode",
    "Mode",
    "geometry",
    "per_sample",
    "GEOMETRIES",
    "cross_entropy",
    "margin",
    "dlr",
    "kl_from",
    "full_precision",
    "AttackLoss",
    "LOSSES",
]
