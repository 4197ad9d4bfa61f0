"""Radii and step sizes as users write them: `8/255`, `8px`, or a number on the [0, 1] image scale."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from iaat.errors import UserError, shown

PX_PER_UNIT = 255
"""Pixel levels on the [0, 1] scale: a radius of 8px is 8 / 255."""
PIXEL = 1 / PX_PER_UNIT
"""One pixel level on the [0, 1] scale: the unit `px`."""

Norm = Literal["linf", "l2"]

_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_PIXELS = re.compile(rf"({_NUMBER})\s*px")
_LONGEST = 100
_FRACTION = re.compile(rf"({_NUMBER})\s*/\s*({_NUMBER})")


class Radius(float):
    """Perturbation norm on the [0, 1] scale, read from `8/255`, `8px`, `0.03` or a plain number.

    Behaves as the float it is; `str` gives px where that is exact (`"8px"`) and the plain number elsewhere, and
    `Radius(str(r)) == r` always. `unitless` is whether it was given as a plain number, and so perhaps meant in px;
    `given` the text it was read from.

    Args:
        value: Text, or a number on the [0, 1] scale, not negative and finite.

    Raises:
        UserError: the text is none of these forms, or the value is negative or not finite.

    Source: `px` is a level of 8-bit images, 1/255 (`PIXEL`), as papers on CIFAR-10 count.

    Example:
        >>> from iaat import PIXEL, Radius
        >>> Radius("8px") == Radius("8/255") == 8 * PIXEL
        True
        >>> str(Radius(8 / 255)), Radius("8px").px
        ('8px', 8.0)
    """

    unitless: bool
    given: str

    def __new__(cls, value: str | float) -> Radius:
        """Parse `value`; see the class."""
        number = _parse(value) if isinstance(value, str) else _float(value)
        if not math.isfinite(number) or number < 0:
            raise UserError(f"radius {shown(value)}: must be finite and not negative; write 8px, 8/255 or 0.03")
        self = super().__new__(cls, number + 0.0)  # -0.0 becomes 0.0, which prints without a sign
        self.unitless = _is_unitless(value)
        self.given = value.strip() if isinstance(value, str) else getattr(value, "given", str(self))
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> Any:  # noqa: ANN401
        """How files are read into one; see `iaat.runtime.json_files`."""
        from pydantic_core import core_schema  # takes long to import, and attacks need none

        return core_schema.no_info_plain_validator_function(cls._of_plain)

    @classmethod
    def _of_plain(cls, value: object) -> Radius:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UserError(f"radius {shown(value)} cannot be read: write 8px, 8/255 or 0.03")
        return cls(value)

    @property
    def px(self) -> float:
        """Radius in pixel levels (1/255)."""
        return float(self) * PX_PER_UNIT

    def __str__(self) -> str:
        text = f"{self.px:.10g}"
        return f"{text}px" if float(text) / PX_PER_UNIT == float(self) else repr(float(self))

    def __repr__(self) -> str:
        return f"Radius({str(self)!r})"


def _is_unitless(value: str | float) -> bool:
    if isinstance(value, Radius):
        return value.unitless
    return not (isinstance(value, str) and ("px" in value or "/" in value))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # of an int
        return math.inf
    except (TypeError, ValueError):
        raise UserError(f"radius {shown(value)} cannot be read: write 8px, 8/255 or 0.03") from None


def _parse(text: str) -> float:
    text = text.strip()
    if len(text) > _LONGEST:  # parsing takes time that grows with the square of the length
        raise UserError(f"radius {shown(text)} cannot be read: write 8px, 8/255 or 0.03")
    if match := _PIXELS.fullmatch(text):
        return float(match[1]) / PX_PER_UNIT
    if match := _FRACTION.fullmatch(text):
        denominator = float(match[2])
        if denominator == 0:
            raise UserError(f"radius {shown(text)}: division by zero; write 8px, 8/255 or 0.03")
        return float(match[1]) / denominator
    try:
        return float(text)
    except ValueError:
        raise UserError(f"radius {shown(text)} cannot be read: write 8px, 8/255 or 0.03") from None


def check_radius(value: float, norm: str, *, name: str, width: float = 1.0) -> None:
    """Refuse a norm that is negative or not finite, or in L-inf above the pixel range: a unit is missing there.

    Args:
        value: Norm on the scale of the inputs.
        norm: `linf` or `l2`; an L2 norm may exceed the range of one pixel.
        name: Its name in the message.
        width: Distance between the smallest and largest input value; 1 for images in [0, 1].

    Raises:
        UserError: naming the value and, where it reads like px, the spelling that was meant.
    """
    if not 0 <= value < math.inf:
        raise UserError(f"{name} = {value:g}: must be finite and not negative")
    if norm == "linf" and value > width:
        if isinstance(value, Radius) and not value.unitless:
            raise UserError(f"{name} = {value.given} is above {width * PX_PER_UNIT:g}px, the range of a pixel")
        hint = f"; for {value:g} pixel levels write {value:g}px or {value:g}/255" if value <= PX_PER_UNIT else ""
        raise UserError(f"{name} = {value:g} is above the pixel range {width:g}{hint}")


def read_length(value: float | str, name: str) -> float:
    """A length on the [0, 1] scale that is given in an unknown norm: a number, or text such as "8px".

    A plain number is at most 1, the range of a pixel: above that a unit is missing. A `Radius` was checked in its norm.

    Args:
        value: Number or text.
        name: Its name in messages.

    Raises:
        UserError: a text that cannot be read, a number that is negative, not finite or above 1, or something else.
    """
    if isinstance(value, str):
        return float(Radius(value))
    if callable(item := getattr(value, "item", None)) and getattr(value, "ndim", None) == 0:  # of a tensor or array
        value = item()
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise UserError(f"{name} = {shown(value)}: must be a finite number from 0 on, such as 8 / 255, or text, '8px'")
    if value > 1 and not isinstance(value, Radius):
        raise UserError(
            f"{name} = {value:g} is above the pixel range 1; for {value:g} pixel levels write {value:g} / 255 "
            f'or "{value:g}px", for an L2 norm "{value:g}/1"'
        )
    return float(value)


def format_radius(value: float, norm: str) -> str:
    """Format a learned radius: `"8.00px"` in L-inf, `"0.702"` in L2."""
    return f"{value * PX_PER_UNIT:.2f}px" if norm == "linf" else f"{value:.3f}"


def format_norm(value: float, norm: str, digits: int = 4) -> str:
    """Format a norm with some digits: `"8px"` in L-inf, `"0.502"` in L2, where px has no meaning."""
    return f"{value * PX_PER_UNIT:.{digits}g}px" if norm == "linf" else f"{value:.{digits}g}"


@dataclass(frozen=True, slots=True)
class LengthUnit:
    """Unit in which reports and figures show radii and norms: px in L-inf; in L2, where px has no meaning, none.

    Attributes:
        name: Behind the names of axes and columns: `px`, or `L2`.
        scale: Length in this unit of 1 on the [0, 1] scale.
        digits: Digits after the point that are shown.
    """

    name: str
    scale: float
    digits: int

    def of_record(self, px: float) -> float:
        """A length that logs and results hold, which is 255 times the radius whatever its norm, in this unit."""
        return self.scale * PIXEL * px

    def number(self, length: float) -> str:
        """A length below a heading that names the unit: `"8.00"`, or `"0.500"`."""
        return f"{length:.{self.digits}f}"

    def text(self, length: float) -> str:
        """A length in this unit: `"8.00 px"`, or `"0.500"`."""
        return f"{self.number(length)} px" if self.name == "px" else self.number(length)

    def short(self, length: float) -> str:
        """A length that was set, without zeros at its end: `"8 px"`, or `"L2 0.5"`."""
        return f"{length:g} px" if self.name == "px" else f"{self.name} {length:.4g}"

    def of(self, words: str) -> str:
        """Name of an axis or a column: `"radius (px)"`, or `"radius (L2)"`."""
        return f"{words} ({self.name})"


_IN_PX, _IN_L2 = LengthUnit("px", float(PX_PER_UNIT), 2), LengthUnit("L2", 1.0, 3)


def unit_of(norm: str) -> LengthUnit:
    """Return the unit of lengths in a norm, `linf` or `l2`."""
    return _IN_PX if norm == "linf" else _IN_L2


def significant(value: float) -> float:
    """Round to five significant digits, which serve lengths in px and in L2 alike."""
    return float(f"{value:.5g}")
