from iaat.attacks.batching import filled_up
from iaat.attacks.context import MODES, Mode, attack_mode
from iaat.attacks.geometry import GEOMETRIES, geometry, per_sample
from iaat.attacks.losses import LOSSES, AttackLoss, cross_entropy, dlr, dlr_towards, full_precision, kl_from, margin
from iaat.attacks.pgd import pgd

__all__ = [
    "pgd",
    "filled_up",
    "attack_mode",
    "Mode",
    "MODES",
    "geometry",
    "per_sample",
    "GEOMETRIES",
    "cross_entropy",
    "margin",
    "dlr",
    "dlr_towards",
    "kl_from",
    "full_precision",
    "AttackLoss",
    "LOSSES",
]
