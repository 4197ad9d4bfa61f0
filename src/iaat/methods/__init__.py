"""Training methods, their settings, and the parts that methods of users are made of."""

from iaat.methods.adversarial_loss import AdversarialLoss, AdversarialLossConfig
from iaat.methods.adversarial_training import AdversarialTraining
from iaat.methods.attack_config import AttackConfig
from iaat.methods.base import BaseMethod, Method, Objective, StepContext
from iaat.methods.cat import CAT, CATConfig
from iaat.methods.fat import FAT, FATConfig
from iaat.methods.gradnorm import GradNorm, GradNormConfig
from iaat.methods.iaat import IAAT, IAATConfig
from iaat.methods.iaat_paper import IAATPaper, IAATPaperConfig
from iaat.methods.iaat_trades import IAATTRADES, IAATTRADESConfig
from iaat.methods.inner_config import InnerConfig
from iaat.methods.mart import MART, MARTConfig
from iaat.methods.method_config import MethodConfig
from iaat.methods.mma import MMA, MMAConfig
from iaat.methods.natural import Natural, NaturalConfig
from iaat.methods.nfgsm_at import NFGSM, NFGSMConfig
from iaat.methods.pgd_at import PGDAT, PGDATConfig
from iaat.methods.registry import METHODS, find_method, make_method, untrained_method
from iaat.methods.trades import TRADES, TRADESConfig
from iaat.methods.training_attacks import Attacker, NFGSMAttacker, PGDAttacker, RandomTargetAttacker
from iaat.methods.vpb import VPB, VPBConfig

__all__ = [
    "METHODS",
    "find_method",
    "make_method",
    "untrained_method",
    "Method",
    "BaseMethod",
    "AdversarialTraining",
    "AdversarialLoss",
    "AdversarialLossConfig",
    "Objective",
    "StepContext",
    "MethodConfig",
    "AttackConfig",
    "InnerConfig",
    "Attacker",
    "PGDAttacker",
    "RandomTargetAttacker",
    "NFGSMAttacker",
    "Natural",
    "NaturalConfig",
    "PGDAT",
    "PGDATConfig",
    "NFGSM",
    "NFGSMConfig",
    "IAAT",
    "IAATConfig",
    "IAATPaper",
    "IAATPaperConfig",
    "TRADES",
    "TRADESConfig",
    "MART",
    "MARTConfig",
    "IAATTRADES",
    "IAATTRADESConfig",
    "VPB",
    "VPBConfig",
    "GradNorm",
    "GradNormConfig",
    "FAT",
    "FATConfig",
    "MMA",
    "MMAConfig",
    "CAT",
    "CATConfig",
]
