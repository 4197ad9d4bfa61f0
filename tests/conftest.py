"""One thread, no deadlines: the same speed everywhere. Its place also makes `tests/reference` importable."""

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("iaat", deadline=None)
settings.load_profile("iaat")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws from the global generator does not depend on the tests before it."""
    torch.manual_seed(0)
