"""Damaged images are pixels or a refusal that names the file; mutations of whole files by Hypothesis."""

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from fuzz.guard import guarded
from fuzz.image_samples import SIDES, image_files
from iaat.data.image import decode
from iaat.errors import UserError

CASES = 3000


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A whole file with bytes changed, cut out, put in, or written twice, and its end perhaps cut off."""
    content = bytearray(image_files()[draw(st.sampled_from(sorted(image_files())))])
    places = st.floats(0, 1, exclude_max=True)
    for _ in range(draw(st.integers(1, 4))):
        at = int(draw(places) * len(content))
        match draw(st.sampled_from(("change", "number", "cut", "insert", "repeat"))):
            case "change":
                content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "number":
                content[at : at + 4] = draw(st.sampled_from((b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x01")))
            case "cut":
                del content[at : at + draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = draw(st.binary(max_size=8))
            case "repeat":
                content[at:at] = content[at : at + draw(st.integers(1, 40))]
    return bytes(content[: int((1 - draw(places) * draw(st.booleans())) * len(content))])


@pytest.mark.filterwarnings("ignore")
@seed(1)
@settings(max_examples=CASES, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(mutations(), st.sampled_from((1, 3)), st.sampled_from((None, 4)))
def test_a_damaged_image_is_pixels_or_a_refusal(
    tmp_path: Path, content: bytes, channels: int, size: int | None
) -> None:
    path = tmp_path / "case.png"
    path.write_bytes(content)
    with guarded(tmp_path):
        try:
            pixels = decode(path, channels=channels, size=size)  # type: ignore[arg-type]
        except UserError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most are refused, none must be
            return
    assert pixels.shape[0] == channels
    assert pixels.numel() > 0
    assert size is None or pixels.shape[1:] == (size, size)


@pytest.mark.parametrize("name", sorted(image_files()))
def test_the_files_that_are_mutated_are_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(image_files()[name])
    without_range = ("I-", "F-", "floats")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if name.startswith(without_range):
            with pytest.raises(UserError, match="have no defined range"):
                decode(path)
            return
        shape = decode(path).shape
    assert shape[0] == 3
    assert name.startswith(("text", "runs")) or sorted(shape[1:]) == sorted(SIDES)
