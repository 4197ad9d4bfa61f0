"""Checks of labels and pixels: what they refuse, and that they name the sample."""

import numpy as np
import pytest
import torch

from iaat.data.sample_checks import check_classes, check_labels, check_lengths, check_pixels, item_label
from iaat.errors import UserError

CLASSES = ("cat", "dog", "owl")


@pytest.mark.parametrize(
    "labels",
    [torch.tensor([2, 0, 1], dtype=torch.uint8), np.array([2, 0, 1]), [2, 0, 1], torch.tensor([2, 0, 1])],
    ids=["uint8", "array", "list", "int64"],
)
def test_integral_labels_become_int64(labels: object) -> None:
    checked = check_labels(labels, where="set")
    assert checked.dtype == torch.int64
    assert checked.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([3.0, 1.0]), r"set: the label at index 0 is 3\.0 \(torch\.float32\).*labels\.to\(torch\.int64\)"),
        ([1.5], r"set: the label at index 0 is 1\.5"),
        (torch.tensor([True]), r"set: the label at index 0 is True \(torch\.bool\)"),
        (torch.eye(3).long(), r"set: the labels have shape \[3, 3\], not \[N\].*argmax"),
        (["cat", "dog"], r"set: the labels cannot be made a tensor .*give one class id"),
    ],
)
def test_other_labels_are_refused(labels: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_labels(labels, where="set")


def test_label_outside_the_classes_is_named() -> None:
    with pytest.raises(UserError, match=r"set: the label at index 2 is 3, outside 0\.\.2 \(3 classes\)"):
        check_classes(torch.tensor([0, 1, 3, 4, 2]), CLASSES, where="set")
    with pytest.raises(UserError, match=r"set: the label at index 1 is -1, outside"):
        check_classes(torch.tensor([0, -1]), CLASSES, where="set")


def test_empty_class_is_named_unless_allowed() -> None:
    labels = torch.tensor([0, 2, 2])
    with pytest.raises(UserError, match=r"set: no samples of class 'dog': add samples or remove the class"):
        check_classes(labels, CLASSES, where="set")
    check_classes(labels, CLASSES, where="set", complete=False)


def test_one_class_is_too_few() -> None:
    with pytest.raises(UserError, match=r"set: has 1 class \(cat\), training needs at least 2"):
        check_classes(torch.tensor([0]), ("cat",), where="set")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"set: the input at index 5001 holds nan: repair"),
        (float("inf"), r"set: the input at index 5001 holds inf: repair"),
        (255.0, r"set: the input at index 5001 reaches from 0\.5 to 255, outside \[0, 1\]: divide by 255"),
        (1.25, r"set: the input at index 5001 reaches from 0\.5 to 1\.25.*rescale or clamp"),
        (-0.5, r"set: the input at index 5001 reaches from -0\.5 to 0\.5.*it looks normalised: remove Normalize"),
        (-2.1, r"set: the input at index 5001 reaches from -2\.1 to 0\.5.*it looks normalised: remove Normalize"),
        (-0.01, r"set: the input at index 5001 reaches from -0\.01 to 0\.5.*rescale or clamp"),
    ],
)
def test_bad_pixel_is_named(value: float, message: str) -> None:
    x = torch.full((6000, 2, 2), 0.5)
    check_pixels(x, where="set")
    x[5001, 1, 0] = value
    with pytest.raises(UserError, match=message):
        check_pixels(x, where="set")
    with pytest.raises(UserError, match="at index 15001 "):
        check_pixels(x, where="set", index=torch.arange(6000) + 10_000)


def test_ends_of_the_range_are_inside() -> None:
    check_pixels(torch.tensor([[0.0, 1.0]]), where="set")
    check_pixels(torch.tensor([[0, 255]], dtype=torch.uint8), where="set")


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float16])
def test_other_pixel_types_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(UserError, match=rf"set: the inputs are {dtype}: give float32 in \[0, 1\], or uint8"):
        check_pixels(torch.zeros(2, 2, dtype=dtype), where="set")


def test_lengths_must_agree() -> None:
    with pytest.raises(UserError, match="set: 3 inputs but 2 labels"):
        check_lengths(torch.zeros(3, 1), torch.zeros(2), where="set")
    with pytest.raises(UserError, match="set: has no samples"):
        check_lengths(torch.zeros(0, 1), torch.zeros(0), where="set")


@pytest.mark.parametrize("y", [3, np.int64(3), torch.tensor(3), torch.tensor([3]), np.array(3)])
def test_item_label_takes_integers(y: object) -> None:
    assert item_label(y, where="item") == 3


@pytest.mark.parametrize("y", [3.0, np.float32(3), torch.tensor(3.0), "3", None, True, torch.tensor([1, 2])])
def test_item_label_refuses_the_rest(y: object) -> None:
    with pytest.raises(UserError, match=r"item 4: the label is .*convert it with int\(y\)"):
        item_label(y, where="item 4")


def test_a_class_name_of_megabytes_is_refused_in_a_short_line() -> None:
    with pytest.raises(UserError, match=r"set: the name of class 1 has 10,000,000 characters \('xxx") as error:
        check_classes(torch.tensor([0, 1]), ["cat", "x" * 10_000_000], where="set")
    assert len(str(error.value)) < 300


def test_labels_that_begin_at_one_are_refused_with_the_fix() -> None:
    labels = torch.tensor([1, 2, 3, 3])
    with pytest.raises(UserError, match=r"outside 0\.\.2 \(3 classes\): labels go from 1 to 3: subtract 1 from each"):
        check_classes(labels, ("a", "b", "c"), where="set")
    with pytest.raises(UserError, match=r"no samples of class '0': labels go from 1 to 3: subtract 1 from each"):
        check_classes(labels, ("0", "1", "2", "3"), where="set")
    with pytest.raises(UserError, match="number the classes from 0"):
        check_classes(torch.tensor([0, 1, 3]), ("a", "b", "c"), where="set")
    with pytest.raises(UserError, match="no samples of class 'a': add samples"):
        check_classes(torch.tensor([1, 2]), ("a", "b", "c"), where="set")


def test_labels_that_begin_later_are_named() -> None:
    labels = torch.arange(5, 15)
    with pytest.raises(UserError, match=r"set: labels run from 5 to 14: number them from 0"):
        check_classes(labels, tuple(map(str, range(15))), where="set")
