import copy
import math
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iaat.errors import UserError
from iaat.units import PIXEL, Radius, check_radius, format_norm, format_radius, significant, unit_of

lengths = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("8 / 255", 8 / 255),
        (" 8/255\n", 8 / 255),
        ("1/2", 0.5),
        ("0.5/255", 0.5 / 255),
        ("8px", 8 / 255),
        ("8 px", 8 / 255),
        ("1.9px", 1.9 / 255),
        (".5px", 0.5 / 255),
        ("1e-3px", 1e-3 / 255),
        ("0px", 0.0),
        ("0", 0.0),
        ("0.03", 0.03),
        ("3e-2", 0.03),
        ("1.5", 1.5),
    ],
)
def test_every_spelling_is_read(text, value):
    assert Radius(text) == value


@pytest.mark.parametrize("number", [0, 1, 0.03, 8 / 255, 3.5])
def test_numbers_are_taken_as_they_are(number):
    radius = Radius(number)
    assert radius == number
    assert isinstance(radius, float)
    assert radius.px == pytest.approx(number * 255)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "px",
        "8 pixels",
        "8/",
        "/255",
        "8/255px",
        "8px/255",
        "1/2/3",
        "eight",
        "8,5px",
        "0x8",
        "-8px",
        "-8/255",
        "8/-255",
        "__import__('os')",
    ],
)
def test_other_text_is_refused_with_examples(text):
    with pytest.raises(UserError, match=r"8px, 8/255 or 0\.03"):
        Radius(text)


@pytest.mark.parametrize(
    "value", [-0.1, -1e-300, math.nan, math.inf, -math.inf, "nan", "inf", "-0.1", "1e999", "1e999px"]
)
def test_values_that_are_no_length_are_refused(value):
    with pytest.raises(UserError, match="finite and not negative"):
        Radius(value)


def test_division_by_zero_is_refused():
    with pytest.raises(UserError, match="division by zero"):
        Radius("8/0")


@pytest.mark.parametrize(
    ("radius", "text"),
    [
        ("8px", "8px"),
        ("8/255", "8px"),
        (8 * PIXEL, "8px"),
        ("1.9px", "1.9px"),
        (0, "0px"),
        ("0.03", "0.03"),
        (1, "255px"),
    ],
)
def test_text_is_in_px_where_that_is_exact(radius, text):
    assert str(Radius(radius)) == text
    assert repr(Radius(radius)) == f"Radius('{text}')"


@given(lengths)
@example(0.1 + 0.2)
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
@example(1 / 3)
def test_text_reads_back_as_the_same_length(number):
    radius = Radius(number)
    assert Radius(str(radius)) == radius
    assert eval(repr(radius), {"Radius": Radius}) == radius


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_fractions_are_read_exactly(numerator, denominator):
    assert Radius(f"{numerator}/{denominator}") == numerator / denominator


@given(st.text(max_size=12))
def test_any_text_is_a_length_or_a_user_error(text):
    try:
        radius = Radius(text)
    except UserError:
        return
    assert math.isfinite(radius)
    assert radius >= 0


@given(lengths)
def test_copies_and_pickles_keep_value_and_type(number):
    radius = Radius(number)
    for other in (copy.copy(radius), copy.deepcopy(radius), pickle.loads(pickle.dumps(radius))):
        assert other == radius
        assert type(other) is Radius


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (8, r"method\.radius = 8 .*8px or 8/255"),
        (3.0, r"3px or 3/255"),
        (1.01, r"1\.01px"),
        (300.0, "above the pixel range"),
    ],
)
def test_linf_lengths_above_the_pixel_range_are_refused(value, message):
    with pytest.raises(UserError, match=message):
        check_radius(value, "linf", name="method.radius")


def test_no_pixel_spelling_is_proposed_above_255():
    with pytest.raises(UserError) as error:
        check_radius(300.0, "linf", name="radius")
    assert "px" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "norm", "width"), [(0.0, "linf", 1.0), (1.0, "linf", 1.0), (8.0, "linf", 255.0), (8.0, "l2", 1.0)]
)
def test_lengths_inside_the_range_pass(value, norm, width):
    check_radius(value, norm, name="radius", width=width)


@pytest.mark.parametrize(("value", "text"), [(8 / 255, "8.00px"), (0.0314, "8.01px"), (0.0, "0.00px")])
def test_format_for_people(value, text):
    assert format_radius(value, "linf") == text


@pytest.mark.parametrize(
    ("value", "norm", "length", "radius"),
    [(8 * PIXEL, "linf", "8px", "8.00px"), (128 * PIXEL, "l2", "0.502", "0.502"), (1.5, "l2", "1.5", "1.500")],
)
def test_lengths_for_people_are_in_px_in_linf_alone(value, norm, length, radius):
    assert (format_norm(value, norm), format_radius(value, norm)) == (length, radius)


@pytest.mark.parametrize(
    ("norm", "length", "texts"),
    [
        ("linf", 8.0, ("8.00 px", "8 px", "radius (px)", 8.0)),
        ("l2", 0.5, ("0.500", "L2 0.5", "radius (L2)", 128 / 255)),
    ],
)
def test_the_unit_of_reports_is_px_in_linf_and_none_in_l2(norm, length, texts):
    unit = unit_of(norm)
    shown = (unit.text(length), unit.short(length), unit.of("radius"))
    scaled = unit.scale * (8 / 255 if norm == "linf" else 128 / 255)
    assert (*shown, pytest.approx(scaled)) == texts


def test_significant_digits_keep_lengths_of_both_units():
    assert [significant(value) for value in (12.345678, 0.02345678, 0.0)] == [12.346, 0.023457, 0.0]
