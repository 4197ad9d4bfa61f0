"""N-FGSM: adversarial training with one radius and one gradient step from noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from iaat.methods.pgd_at import PGDAT, PGDATConfig


@dataclass(frozen=True, kw_only=True)
class NFGSMConfig(PGDATConfig):
    """Settings of N-FGSM; `steps` and `min_step` are those of the PGD that the guard falls back to."""

    inner: Literal["pgd", "nfgsm"] = "nfgsm"
    """The attack: nfgsm, one step from noise, which leads up to (noise + 1) * radius away; with pgd this is PGD-AT."""


class NFGSM(PGDAT):
    """Minimise the cross-entropy of single-step adversarial examples of one radius.

    Source: de Jorge et al. 2022 (arXiv 2202.01181), algorithm 1.

    Example:
        >>> from iaat.methods import NFGSM, NFGSMConfig
        >>> method = NFGSM(NFGSMConfig(), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=2, backward=2)
    """

    Config: ClassVar[type[Any]] = NFGSMConfig
