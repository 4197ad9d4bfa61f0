"""One of several processes that keep radii together: a script of its own, and the visits that it shares with tests.

Started as `radius_worker.py FOLDER` in a launcher's environment. Every process knows what all of them visit, and holds
what it sees against a plain loop. Takes over `FOLDER/before.pt`, if there is one, and leaves `FOLDER/after-RANK.pt`.
"""

import math
import random
import sys
from pathlib import Path

import pytest
import torch

from helpers.processes import finish, start
from iaat.errors import UserError
from iaat.radius import RadiusMemory, radius_memory, sharding
from iaat.runtime.distributed import current
from iaat.runtime.launch import processes

SIZE = 23
BOUNDS = {"initial": 0.25, "floor": 0.125, "cap": 0.5, "norm": "l2"}
VALUES = (0.0, 0.125, 0.3, 0.4, 0.45, 0.5, 3.0, math.nan, math.inf, -math.inf)


def launch(world, folder):
    """Run this script in `world` processes to the end."""
    codes, said = finish(start(world, __file__, folder))
    assert codes == [0] * world, "\n".join(said)


def kept(value, old):
    return min(max(value, BOUNDS["floor"]), BOUNDS["cap"]) if math.isfinite(value) else old


def batch(draw, size=SIZE):
    """Indices, none twice, and what is written there; often none."""
    index = draw.sample(range(size), draw.randrange(min(size, 9)))
    return index, [draw.choice(VALUES) + draw.random() / 64 for _ in index]


def turns(seed, world, size=SIZE):
    """What every process writes, turn by turn, whoever else writes there."""
    draw = random.Random(seed)
    return [[batch(draw, size) for _ in range(world)] for _ in range(12)]


def epoch(number):
    """What an epoch writes: every sample once, in batches of any sizes."""
    draw = random.Random(number)
    order = draw.sample(range(SIZE), SIZE)
    cuts = sorted(draw.choices(range(SIZE), k=8))
    pieces = [order[a:b] for a, b in zip([0, *cuts], [*cuts, SIZE], strict=True)]
    return [(index, [draw.choice(VALUES) + draw.random() / 64 for _ in index]) for index in pieces]


def visit(radii, index, new):
    """As a method does: the new value depends on the old one."""
    radii[torch.tensor(index)] = (radii[torch.tensor(index)] + torch.tensor(new)) / 2


def as_float32(numbers):
    return torch.tensor(numbers, dtype=torch.float32)


def make(folder, *, size=SIZE, mapped=False, sharded=False, late=False):
    radii = RadiusMemory(size, **BOUNDS)
    if sharded and not late:
        radii.shard()
    if mapped:
        radii.map_to(folder / f"{current().rank}.radii")
    if sharded and late:
        radii.shard()
    return radii


def check_synchronized(radii, seed):
    """Copies that are brought together every third turn; in between a process sees its own writes alone."""
    ranks = current()
    copies = [[BOUNDS["initial"]] * len(radii) for _ in range(ranks.world)]
    written = [set() for _ in range(ranks.world)]
    for turn, batches in enumerate(turns(seed, ranks.world, len(radii))):
        for rank, (index, new) in enumerate(batches):
            for position, value in zip(index, new, strict=True):
                copies[rank][position] = kept(value, copies[rank][position])
                written[rank].add(position)
        index, new = batches[ranks.rank]
        radii[torch.tensor(index)] = torch.tensor(new)
        assert torch.equal(radii.values, as_float32(copies[ranks.rank]))
        if turn % 3 == 2:
            merged = {p: copies[rank][p] for rank in reversed(range(ranks.world)) for p in written[rank]}
            for copy in copies:
                for position, value in merged.items():
                    copy[position] = value
            written = [set() for _ in written]
            radii.synchronize()
            assert_same_everywhere(radii.values)
            assert torch.equal(radii.values, as_float32(copies[0]))


def check_sharded(radii, seed):
    """Parts: all see at once what any writes."""
    ranks, draw = current(), random.Random(100 + current().rank)
    truth = [BOUNDS["initial"]] * len(radii)
    for batches in turns(seed, ranks.world, len(radii)):
        old = list(truth)
        for index, new in reversed(batches):
            for position, value in zip(index, new, strict=True):
                truth[position] = kept(value, old[position])
        index, new = batches[ranks.rank]
        radii[index] = torch.tensor(new)
        radii.synchronize()
        asked = draw.choices(range(-len(radii), len(radii)), k=draw.randrange(9))
        assert torch.equal(radii[asked], as_float32([truth[position] for position in asked]))
    values = as_float32(truth)
    assert torch.equal(radii.values, values)
    assert torch.equal(radii[-1], values[-1])
    assert torch.equal(radii[torch.tensor([[0], [-1]])], values[[0, -1]][:, None])
    assert torch.equal(radii[ranks.rank :: 2], values[ranks.rank :: 2])
    assert torch.equal(radii[[value > 0.3 for value in truth]], values[values > 0.3])
    with pytest.raises(IndexError):  # in every process, whoever asks
        radii[[len(radii) if ranks.rank == 1 else 0]]
    with pytest.raises(IndexError):
        radii[[-1 - len(radii)] if ranks.rank == 1 else []] = 0.3
    radii[: 2 * ranks.rank] = 0.5
    values[: 2 * (ranks.world - 1)] = 0.5
    assert torch.equal(radii.values, values)


def check_bits():
    """Zeros keep their sign on their way."""
    for sharded in (False, True):
        radii = RadiusMemory(SIZE)
        if sharded:
            radii.shard()
        if current().rank == 1 or sharded:
            radii[[4]] = -0.0
        radii.synchronize()
        assert math.copysign(1, radii[[4]].item()) == -1


def check_loaded():
    """What was written before radii are loaded is not reported any more."""
    radii = RadiusMemory(SIZE)
    if current().rank == 0:
        radii[[3, 5]] = 0.3
    radii.load_state_dict({"values": torch.full((SIZE,), 0.2)})
    if current().rank == 1:
        radii[[5]] = 0.4
    radii.synchronize()
    assert torch.equal(radii[[3, 5, 6]], as_float32([0.2, 0.4, 0.2]))


def check_epochs(folder):
    """Whatever the arrangement, epochs lead to the same radii, which are left for the test to look at."""
    ranks, ends = current(), []
    arrangements = [{}, {"mapped": True}, {"sharded": True}, {"mapped": True, "sharded": True, "late": True}]
    for arrangement in arrangements:
        radii = make(folder, **arrangement)
        start = 0
        if (folder / "before.pt").exists():
            state = torch.load(folder / "before.pt")
            start = state.pop("epoch")
            radii.load_state_dict(state)
            assert torch.equal(radii.values, state["values"])
            radii.synchronize()
            assert torch.equal(radii.values, state["values"])
        for number in (start, start + 1):
            for turn in range(0, 9, ranks.world):
                own = epoch(number)[turn + ranks.rank : turn + ranks.rank + 1]
                visit(radii, *(own[0] if own else ([], [])))
            radii.synchronize()
        ends.append(radii.state_dict())
        assert_same_everywhere(ends[-1]["values"])
        assert torch.equal(ends[-1]["values"], ends[0]["values"]), arrangement
    torch.save({**ends[0], "epoch": start + 2}, folder / f"after-{ranks.rank}.pt")


def check_errors(folder):
    radii = RadiusMemory(SIZE)
    (folder / "no-folder").touch()
    place = folder / "no-folder" if current().rank == 1 else folder
    with pytest.raises(UserError, match=r"cannot map radii to .*no-folder"):
        radii.map_to(place / f"radii-{current().rank}.bin")
    radii.shard()
    assert torch.equal(radii.values, torch.zeros(SIZE))


def assert_same_everywhere(values):
    bits = [part.view(torch.int32) for part in current().all_gather(values)]
    assert all(torch.equal(part, bits[0]) for part in bits)


def main(folder):
    sharding.PIECE = radius_memory.PIECE = 7  # all at once go in several pieces, the last one short
    with processes():
        for mapped in (False, True):
            for seed in range(1 if mapped else 3):
                check_synchronized(make(folder, mapped=mapped), seed)
                check_sharded(make(folder, mapped=mapped, sharded=True), seed)
            check_sharded(make(folder, mapped=mapped, sharded=True, late=True, size=2), 0)
            check_synchronized(make(folder, mapped=mapped, size=1), 0)
        check_bits()
        check_loaded()
        check_epochs(folder)
        check_errors(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
