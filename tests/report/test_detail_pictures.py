"""What a page is given to make attacked images of is the attacked images."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from iaat.data import InMemorySource
from iaat.report.detail_pictures import attacked_uri, drawn_detail
from iaat.report.detail_records import DetailSettings
from iaat.report.sample_details import sample_details
from iaat.units import PIXEL

FEW = DetailSettings(steps=3, levels=3, batch_size=8)


def details(channels=3, side=12, count=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 3))
    # Whole levels, as images are.
    x = (255 * torch.rand(12, channels, side, side)).round() / 255
    source = InMemorySource(x, torch.arange(12) % 3, ("a", "b", "c"))
    own = torch.tensor([0.0, 3.3, 20.0])[:count] * PIXEL
    return list(sample_details(model, source, torch.arange(count), source, own=own, settings=FEW))


def pixels(uri):
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int).transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_attacked_images_are_those_of_the_attack_to_one_level(channels):
    for detail in details(channels):
        drawn = json.loads(json.dumps(drawn_detail(detail)))
        assert drawn["columns"] == len(detail.frames) + len(detail.strip)
        off = []
        for place, frame in enumerate(detail.frames):
            expected = np.broadcast_to(frame.image, (3, 12, 12)).astype(int)
            off.append(np.abs(pixels(attacked_uri(drawn, place)) - expected))
        assert np.max(off) <= 1
        assert np.mean(off) < 0.05
        assert not off[0].any()


def test_large_images_are_scaled_down():
    (detail,) = details(side=160, count=1)
    drawn = drawn_detail(detail)
    assert pixels(drawn["image"]).shape == (3, 64, 64)
    assert pixels(attacked_uri(drawn, 4)).shape == (3, 64, 64)


def test_plain_values_have_few_digits_and_no_pictures():
    (detail,) = details(count=1)
    drawn = drawn_detail(detail)
    assert all(each["image"] is each["perturbation"] is None for each in [*drawn["frames"], *drawn["strip"]])
    assert all(each["image"] is None for each in drawn["near_own"])
    assert len(json.dumps(drawn)) - len(drawn["image"]) - len(drawn["sheet"]) < 5000


def test_inputs_that_are_no_images_have_no_sheet():
    torch.manual_seed(0)
    model, source = nn.Linear(6, 3), InMemorySource(torch.rand(9, 6), torch.arange(9) % 3, ("a", "b", "c"))
    (detail,) = sample_details(model, source, torch.tensor([3]), source, settings=FEW)
    drawn = drawn_detail(detail)
    assert drawn["image"] is drawn["sheet"] is None
    assert attacked_uri(drawn, 0) is None
