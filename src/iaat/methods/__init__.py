from iaat.methods.base import AttackConfig, Method, StatelessMethod, StepContext
from iaat.methods.iaat import IAAT, IAATConfig
from iaat.methods.natural import Natural, NaturalConfig
from iaat.methods.pgd_at import PGDAT, PGDATConfig

METHODS: dict[str, type[Method]] = {"natural": Natural, "pgd_at": PGDAT, "iaat": IAAT}
"""Every training method by the name recipes use."""

__all__ = [
    "METHODS",
    "Method",
    "StatelessMethod",
    "StepContext",
    "AttackConfig",
    "Natural",
    "NaturalConfig",
    "PGDAT",
    "PGDATConfig",
    "IAAT",
    "IAATConfig",
]
