"""The data section refuses what cannot work, and describes itself."""

from typing import Any

import pytest

from iaat.data import DataConfig
from iaat.errors import UserError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "cifar1"}, r"data\.name is 'cifar1'.*did you mean 'cifar10"),
        ({"name": "imagenet"}, r"data\.name is 'imagenet': give one of digits.*module:function"),
        ({"name": "my data:make"}, r"data\.name is 'my data:make': .*write module:function"),
        ({"name": "ud.py:tab"}, r"data\.name is 'ud\.py:tab': 'ud\.py' is a file; write ud:tab, without \.py"),
        ({"name": "./pkg/ud.py:tab"}, r"write pkg\.ud:tab, without \.py"),
        ({"name": "mine:"}, r"data\.name is 'mine:': write module:function"),
        ({"name": "folder"}, r"data\.root is not set: data\.name=folder needs"),
        ({"validation_fraction": 0.0}, r"data\.validation_fraction is 0\.0: give one above 0 and below 0\.5"),
        ({"validation_fraction": 0.5}, r"data\.validation_fraction is 0\.5"),
        ({"validation_fraction": float("nan")}, r"data\.validation_fraction is nan"),
        ({"limit": 0}, r"data\.limit is 0: .* at least 1"),
        ({"test_limit": -1}, r"data\.test_limit is -1: .* at least 1"),
        ({"crop": -1}, r"data\.crop is -1: .* at least 0"),
        ({"size": 0}, r"data\.size is 0: .* at least 1"),
        ({"workers": -2}, r"data\.workers is -2: .* at least 0"),
        ({"memory_gb": 0.0}, r"data\.memory_gb is 0\.0: give a size in GiB above 0"),
        ({"padding": "zero"}, r"data\.padding 'zero' is not known \(did you mean 'zeros'\?\); use reflect, zeros"),
        ({"channels": 4}, r"data\.channels is 4: give 3 for colour or 1 for grey"),
        ({"cutout": -1}, r"data\.cutout is -1: .* at least 0"),
        ({"color": 1.1}, r"data\.color is 1\.1: give a strength from 0 to 1"),
        ({"color": float("nan")}, r"data\.color is nan"),
        ({"rotate": -5.0}, r"data\.rotate is -5\.0: give degrees from 0 to 180"),
        ({"rotate": 181.0}, r"data\.rotate is 181\.0"),
        ({"zoom": 1.0}, r"data\.zoom is 1\.0: give a fraction from 0 to below 1"),
        ({"zoom": -0.1}, r"data\.zoom is -0\.1"),
        ({"extra_ratio": 0.0}, r"data\.extra_ratio is 0\.0: give a fraction above 0 and below 1"),
        ({"extra_ratio": 1.0}, r"data\.extra_ratio is 1\.0"),
        ({"extra_limit": 0}, r"data\.extra_limit is 0: .* at least 1"),
    ],
)
def test_wrong_value_is_named_with_its_key_and_fix(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DataConfig(**settings)


def test_good_values_are_accepted() -> None:
    DataConfig()
    DataConfig(name="package.module:make", options={"n": 3})
    DataConfig(name="folder", root="somewhere", size=32, channels=1, validation_fraction=0.49, padding="zeros")
    DataConfig(cutout=8, color=1.0, rotate=180.0, zoom=0.99, extra="more.npz", extra_ratio=0.01, extra_limit=1)
