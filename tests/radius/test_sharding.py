"""Radii that several processes keep together; `helpers/radius_worker.py` is what each of them checks."""

import torch

from helpers.radius_worker import BOUNDS, SIZE, epoch, launch, visit
from iaat.radius import RadiusMemory


def test_any_number_of_processes_goes_on_where_another_has_stopped(tmp_path):
    alone = RadiusMemory(SIZE, **BOUNDS)
    folders = [tmp_path / "two", tmp_path / "three"]
    for world, folder, start in zip((2, 3), folders, (0, 3), strict=True):
        folder.mkdir()
        if start:  # one process in between, after the two and before the three
            radii = RadiusMemory(SIZE, **BOUNDS)
            radii.load_state_dict(torch.load(folders[0] / "after-1.pt"))
            run(radii, 2)
            torch.save({**radii.state_dict(), "epoch": start}, folder / "before.pt")
        launch(world, folder)
        ends = [torch.load(folder / f"after-{rank}.pt") for rank in range(world)]
        if start:
            run(alone, 2)
        run(alone, start)
        run(alone, start + 1)
        assert all(end["epoch"] == start + 2 for end in ends)
        assert all(torch.equal(end["values"], alone.values) for end in ends)


def run(radii, number):
    for index, new in epoch(number):
        visit(radii, index, new)
