"""Data sets of Hugging Face: which columns are input and label, and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image

from iaat.data.user_function import UserSplit
from iaat.errors import UserError


class Table:
    """Behaves as a `datasets.Dataset` does: by position a dict, by name a column."""

    def __init__(self, features: Mapping[str, object], **columns: list[Any]) -> None:
        self.features, self._columns = features, columns
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, key: int | str) -> Any:
        return self._columns[key] if isinstance(key, str) else {name: each[key] for name, each in self._columns.items()}


ClassLabel = type("ClassLabel", (), {"names": ["cat", "dog"]})
ImageType, Value = type("Image", (), {}), type("Value", (), {})
IMAGES = [Image.new("L", (4, 4), level) for level in (0, 100, 200)]


def split_of(dataset: Any) -> UserSplit:
    return UserSplit(dataset, complete=True, where="mine")


def test_columns_are_found_by_their_type() -> None:
    features = {"id": Value(), "picture": ImageType(), "label": Value(), "kind": ClassLabel()}
    table = Table(features, id=[7, 8, 9], picture=IMAGES, label=["x", "y", "z"], kind=[1, 0, 1])
    split = split_of(table)
    assert split.labels.tolist() == [1, 0, 1]
    assert split.classes == ("cat", "dog")
    assert [int(split[position][0].max()) for position in range(3)] == [0, 100, 200]


@pytest.mark.parametrize(("image", "label"), [("image", "label"), ("img", "labels")])
def test_without_types_columns_are_found_by_their_name(image: str, label: str) -> None:
    columns = {image: IMAGES, label: [0, 1, 1], "id": [7, 8, 9]}
    split = split_of(Table(dict.fromkeys(columns, Value()), **columns))
    assert split.labels.tolist() == [0, 1, 1]
    assert split[2][0].shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"image": ImageType(), "fine": ClassLabel(), "all": ClassLabel()},
            r"columns image, fine, all .*'label'",
        ),
        ({"left": ImageType(), "right": ImageType(), "label": ClassLabel()}, r"columns left, right, label .*'image'"),
        ({"x": Value(), "label": Value()}, r"mine: it is not clear which of the columns x, label holds the image"),
    ],
)
def test_columns_that_are_not_clear_are_named(features: Mapping[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_of(Table(features, **{name: [0, 1, 1] for name in features}))


def test_labels_that_are_text_are_refused_with_the_call_that_numbers_them() -> None:
    table = Table({"image": ImageType(), "label": Value()}, image=IMAGES, label=["cat", "dog", "dog"])
    with pytest.raises(UserError, match=r"labels in column 'label' are text: .*class_encode_column\('label'\)"):
        split_of(table)
