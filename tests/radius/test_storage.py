"""Radii in a mapped file: the same as in a tensor, to the last bit, and disks that have no room for them."""

import gc
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.errors import UserError
from iaat.radius import RadiusMemory, radius_memory, storage

PAGES = 3
SIZE = (PAGES - 1) * storage.ENTRIES + 5
SETTINGS = [
    {},
    {"initial": "8px", "cap": "16px"},
    {"initial": 1e-45},  # the smallest number there is
    {"initial": 0.3, "floor": 0.1, "cap": 0.3},
]
positions = st.one_of(
    st.integers(-SIZE, SIZE - 1),
    st.sampled_from([0, storage.ENTRIES - 1, storage.ENTRIES, SIZE - 1, -SIZE]),
)
batches = st.lists(st.tuples(positions, st.floats(width=32)), max_size=6, unique_by=lambda entry: entry[0] % SIZE)


def mapped(folder, size=SIZE, **settings):
    radii = RadiusMemory(size, norm="l2", **settings)  # in which radii have no range
    radii.map_to(folder / "radii")
    return radii


def same_bits(left, right):
    return torch.equal(left.view(torch.int32), right.view(torch.int32))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@given(steps=st.lists(st.tuples(batches, st.lists(positions, max_size=6)), max_size=8), moved=st.integers(0, 8))
def test_a_file_holds_what_a_tensor_holds(tmp_path_factory, settings, steps, moved):
    folder = tmp_path_factory.mktemp("mapped")
    plain, radii = RadiusMemory(SIZE, norm="l2", **settings), mapped(folder, **settings)
    for step, (entries, asked) in enumerate(steps):
        if step == moved:  # through a checkpoint, into a new file
            state, radii = radii.state_dict(), mapped(folder, **settings)
            radii.load_state_dict(state)
        index, new = [torch.tensor(column) for column in zip(*entries, strict=True)] or [[], torch.zeros(0)]
        plain[index] = new
        radii[index] = new
        assert same_bits(radii[asked], plain[asked])
        assert same_bits(radii[asked[:1] * 2], plain[asked[:1] * 2])
    assert same_bits(radii.values, plain.values)


def test_holes_are_the_initial_radius_and_take_no_room(tmp_path):
    radii = mapped(tmp_path, 10**6, initial="8px")
    file = tmp_path / "radii"
    assert same_bits(radii.values, torch.full((10**6,), 8 / 255))
    assert same_bits(radii[[0, 999_999]], torch.full((2,), 8 / 255))
    assert file.stat().st_size == pytest.approx(4e6, abs=storage.PAGE)
    assert file.stat().st_blocks == 0
    radii[[5, 6, 500_000]] = 0.5
    assert 0 < file.stat().st_blocks * 512 <= 16 * storage.PAGE


def test_from_zero_the_file_is_the_plain_values(tmp_path):
    radii = mapped(tmp_path, 5)
    radii[[1, 3]] = torch.tensor([0.25, 0.5])
    assert np.fromfile(tmp_path / "radii", np.float32, 5).tolist() == [0, 0.25, 0, 0.5, 0]


def test_an_old_file_is_replaced_and_whoever_uses_it_keeps_it(tmp_path):
    (tmp_path / "radii").write_bytes(b"something else" * 1000)
    old = mapped(tmp_path)
    old[3] = 0.5
    new = mapped(tmp_path)
    assert new.values.max() == 0
    new[3] = 0.25
    assert (old[3], new[3]) == (0.5, 0.25)
    del old
    gc.collect()
    assert (tmp_path / "radii").exists()


def test_the_file_goes_with_the_radii_but_not_with_a_forked_process(tmp_path):
    radii = mapped(tmp_path)
    radii[:] = 0.5
    handle, file = radii._mapped._handle, radii._mapped.file
    storage._discard(os.fdopen(os.dup(handle.fileno()), "rb"), file, os.getppid())
    assert file.exists()
    del radii, handle
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_folders_on_the_way_are_made(tmp_path):
    assert mapped(tmp_path / "a" / "b").values.max() == 0


def test_a_file_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot map radii to .*file/radii: .*; choose a file on another disk"):
        mapped(tmp_path / "file")
    (tmp_path / "radii").mkdir()
    with pytest.raises(UserError, match="cannot map radii to"):
        mapped(tmp_path)


def test_too_little_room_for_all_radii_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000_000))
    with pytest.raises(UserError, match=r"the radii take 4 GB in .*radii, where 3 GB are free: free space or choose"):
        mapped(tmp_path, 10**9)
    assert not list(tmp_path.iterdir())


def test_large_radii_are_loaded_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(radius_memory, "PIECE", 1000)
    values = torch.rand(SIZE, generator=torch.Generator().manual_seed(0))
    for radii in (mapped(tmp_path, initial=0.5), RadiusMemory(SIZE)):
        radii.load_state_dict({"values": values})
        assert same_bits(radii.values, values)
        values[-1] = torch.nan
        with pytest.raises(UserError, match="not finite"):
            radii.load_state_dict({"values": values})
        values[-1] = 0.5


def test_a_disk_that_fills_up_is_an_error_and_not_the_end_of_the_process(small_disk, monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    radii = mapped(small_disk, 200_000, initial="8px")
    with pytest.raises(UserError, match=r"cannot write radii to .*radii: No space left on device; free space or"):
        radii[:] = 0.5
    assert radii[[0]] == pytest.approx(8 / 255)  # the batch is written whole or not at all
    radii[[0]] = 0.5  # where the disk has given room already
    assert radii[[0, 199_999]].tolist() == pytest.approx([0.5, 8 / 255])
    del radii
