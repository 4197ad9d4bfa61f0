"""The Square attack of the reference with fewer copies and host reads.

Source: Andriushchenko et al. 2020 (arXiv 1912.00049).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyautoattack.square import SquareAttack
from torch import Tensor


class LeanSquare(SquareAttack):  # type: ignore[misc]
    """Square in L-inf and L2: the reference's draws, examples and queries, bit for bit.

    Samples still robust are kept side by side and copied when one is broken, not with every query; in L-inf only the
    window of a proposal is computed; in L2 the shape of a square is computed once for each size.
    """

    @torch.no_grad()
    def attack_single_run(self, x: Tensor, y: Tensor) -> tuple[Any, Tensor]:
        """As the reference: `(_, x_adv [n, C, H, W])`; the counts of queries, which nothing uses, are None."""
        if self.norm == "L1" or self.targeted or self.loss != "margin":
            counts, examples = super().attack_single_run(x, y)
            return counts, examples
        self._etas: dict[int, Tensor] = {}
        start, propose = (self._stripes, self._square) if self.norm == "Linf" else (self._tiles, self._swap)
        result = start(x)
        margin = self._margin(result, y)
        if bool((margin < 0).all()):
            return None, result
        rows = (margin > 0).nonzero()[:, 0]
        x, y, best, margin = x[rows], y[rows], result[rows], margin[rows]
        for query in range(self.n_queries):
            if not len(rows):
                break
            proposal = propose(x, best, query)
            reached = self._margin(proposal, y)
            better = reached < margin
            margin = torch.where(better, reached, margin)
            best = torch.where(better.view(-1, 1, 1, 1), proposal, best)
            robust = margin > 0
            if not bool(robust.all()):
                result[rows] = best
                rows, x, y, best, margin = (each[robust] for each in (rows, x, y, best, margin))
        result[rows] = best
        return None, result

    def _margin(self, x: Tensor, y: Tensor) -> Tensor:
        """`[b]`: logit of the label minus the largest of the others."""
        logits: Tensor = self.predict(x)
        label = y[:, None]
        return logits.gather(1, label)[:, 0] - logits.scatter(1, label, -math.inf).max(dim=1)[0]

    def _side(self, query: int, smallest: int, shape: torch.Size) -> int:
        """Side of the square of a query in pixels."""
        channels, height, width = shape[1:]
        share = self.p_selection(query) * (channels * height * width) / channels  # in the reference's order
        return max(round(math.sqrt(share)), smallest)

    def _corner(self, side: int, shape: torch.Size) -> tuple[slice, slice]:
        """A window drawn at random, rows then columns."""
        top, left = (int(self.random_int(0, length - side)) for length in shape[2:])
        return slice(top, top + side), slice(left, left + side)

    def _stripes(self, x: Tensor) -> Tensor:
        n, channels, _, width = x.shape
        signs: Tensor = self.random_choice([n, channels, 1, width])
        return torch.clamp(x + self.eps * signs, 0.0, 1.0)

    def _square(self, x: Tensor, best: Tensor, query: int) -> Tensor:
        """L-inf: one square, of the same colour in all samples."""
        side = min(self._side(query, 1, x.shape), *x.shape[2:])
        rows, columns = self._corner(side, x.shape)
        change = 2.0 * self.eps * self.random_choice([x.shape[1], 1, 1])
        clean, proposal = x[:, :, rows, columns], best.clone()
        window = torch.clamp(best[:, :, rows, columns] + change, clean - self.eps, clean + self.eps)
        proposal[:, :, rows, columns] = window.clamp(0.0, 1.0)
        return proposal

    def _tiles(self, x: Tensor) -> Tensor:
        """Start in L2: tiles of random sign and direction."""
        n, channels, height, width = x.shape
        side = height // 5
        offset = (height - side * 5) // 2
        delta = torch.zeros_like(x)
        for row in range(height // side):
            for column in range(width // side):
                top, left = offset + row * side, offset + column * side
                tile = self.eta(side).view(1, 1, side, side) * self.random_choice([n, channels, 1, 1])
                delta[:, :, top : top + side, left : left + side] += tile
        return torch.clamp(x + self.normalize(delta) * self.eps, 0.0, 1.0)

    def _swap(self, x: Tensor, best: Tensor, query: int) -> Tensor:
        """L2: the norm within one window goes to another."""
        n, channels = x.shape[:2]
        side = self._side(query, 3, x.shape)
        side = min(side + (side % 2 == 0), *x.shape[2:])
        into, out_of = (self._corner(side, x.shape) for _ in range(2))
        delta = best - x
        square = delta**2
        used = square.view(n, -1).sum(-1).sqrt().view(-1, 1, 1, 1)
        mask = torch.zeros_like(x[:1, :1])
        mask[:, :, into[0], into[1]] = mask[:, :, out_of[0], out_of[1]] = 1.0
        freed = (square * mask).sum(dim=(-2, -1), keepdim=True).sqrt()
        window = delta[:, :, into[0], into[1]]
        old = window / (1e-12 + (window**2).sum(dim=(-2, -1), keepdim=True).sqrt())
        new = self.eta(side).view(1, 1, side, side) * self.random_choice([n, channels, 1, 1]) + old
        left = torch.clamp(torch.full_like(used, self.eps) ** 2 - used**2, min=0)
        norm = (left / channels + freed**2).sqrt()
        new = new / (1e-12 + (new**2).sum(dim=(-2, -1), keepdim=True).sqrt()) * norm
        delta[:, :, out_of[0], out_of[1]] = 0.0
        delta[:, :, into[0], into[1]] = new
        return torch.clamp(x + self.normalize(delta) * self.eps, 0.0, 1.0)

    def eta(self, side: int) -> Tensor:
        """Shape `[side, side]` of a perturbation in L2: halves of opposite sign, upright or across by a draw."""
        if side not in self._etas:
            halves = self.eta_rectangles(side // 2, side), -1.0 * self.eta_rectangles(side - side // 2, side)
            shape = torch.cat(halves)
            self._etas[side] = shape / (shape**2).sum(dim=(0, 1), keepdim=True).sqrt()
        shape = self._etas[side]
        # Contiguous, as the reference's sums are taken over: another order in memory is another rounding.
        return shape.t().contiguous() if torch.rand([1]) > 0.5 else shape
