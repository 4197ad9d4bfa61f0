"""One thread, no deadlines: the same speed everywhere. Its place also makes `tests/reference` importable."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("iaat", deadline=None)
settings.load_profile("iaat")
