"""Details as plain values for a page: attacked images as one clean image and a sheet of perturbations."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaat.report.detail_records import SampleDetail
from iaat.report.thumbnails import lossless_uri, picture_of, shrink, sprites

_DIGITS = 5
_ALL = 2**62  # no sheet of perturbations may lose detail: the attacked images are made of it


def drawn_detail(detail: SampleDetail) -> dict[str, Any]:
    """Return a detail as plain values, with its pictures at most `thumbnails.SIDE` px wide and high.

    Beside the fields of `SampleDetail`, in which pictures are None: `image`, the clean image as a data URI; `sheet`,
    the pictures of the perturbations as one, those of the frames first, then those of the strip, from left to right
    in `columns` columns. An attacked image is the clean one plus its perturbation, which is
    `(byte / 255 - 0.5) / factor`; one of norm 0 is the clean one.
    """
    attempts = [*detail.frames, *detail.strip]
    image = None if detail.image is None else lossless_uri(shrink(detail.image[None])[0])
    perturbations = [each.perturbation for each in attempts if each.perturbation is not None]
    sheet = sprites(np.stack(perturbations), budget=_ALL) if perturbations else None
    plain: dict[str, Any] = _rounded(_without_pictures(asdict(detail)))
    return plain | {
        "image": image,
        "sheet": None if sheet is None else sheet.sheets[0],
        "columns": 1 if sheet is None else sheet.columns,
    }


def attacked_uri(drawn: dict[str, Any], place: int) -> str | None:
    """Return the attacked image of a frame of `drawn_detail` as a data URI; None where inputs are no images.

    The page does the same in its script; this is what it shows without.
    """
    if drawn["image"] is None:
        return None
    clean, sheet = _pixels(drawn["image"]), _pixels(drawn["sheet"])
    height, width = clean.shape[:2]
    row, column = divmod(place, drawn["columns"])
    tile = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
    frame = drawn["frames"][place]
    delta = (tile / 255 - 0.5) / frame["factor"] * 255 if frame["size"] else np.zeros_like(clean)
    attacked = np.clip(np.rint(clean + delta), 0, 255).astype(np.uint8)
    return lossless_uri(attacked.transpose(2, 0, 1))


def _pixels(uri: str) -> NDArray[np.float64]:
    """Return the pixels `[H, W, 3]` of a data URI."""
    return np.asarray(picture_of(uri).convert("RGB"), dtype=np.float64)


def _without_pictures(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {
            key: None if key in ("image", "perturbation") else _without_pictures(item) for key, item in value.items()
        }
    return [_without_pictures(item) for item in value] if isinstance(value, list | tuple) else value


def _rounded(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
