import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.errors import UserError
from iaat.radius import RadiusMemory, paper, staircase, warm_up


def index(*positions):
    return torch.tensor(positions)


def test_starts_at_one_radius_for_all_in_float32():
    memory = RadiusMemory(5, initial=8 / 255)
    assert len(memory) == 5
    assert memory.values.dtype == torch.float32
    torch.testing.assert_close(memory.values, torch.full((5,), 8 / 255))


def test_writes_reach_the_entries_of_the_index_and_no_other():
    memory = RadiusMemory(5, initial=0.5)
    memory[index(3, 0)] = torch.tensor([0.3, 0.1])
    torch.testing.assert_close(memory.values, torch.tensor([0.1, 0.5, 0.5, 0.3, 0.5]))
    torch.testing.assert_close(memory[index(0, 3, 3)], torch.tensor([0.1, 0.3, 0.3]))


def test_reads_are_copies():
    memory = RadiusMemory(3, initial=0.5)
    memory[index(0, 1)].fill_(9)
    memory.values.fill_(9)
    memory.state_dict()["values"].fill_(9)
    assert memory.values.tolist() == [0.5] * 3


def test_writes_stay_between_floor_and_cap():
    memory = RadiusMemory(4, initial=0.25, floor=0.125, cap=0.5)
    memory[torch.arange(4)] = torch.tensor([-1.0, 0.0, 0.375, 0.75])
    assert memory.values.tolist() == [0.125, 0.125, 0.375, 0.5]


def test_without_bounds_only_negative_values_are_clamped():
    memory = RadiusMemory(3, norm="l2")
    memory[torch.arange(3)] = torch.tensor([-0.5, 0.0, 1e6])
    assert memory.values.tolist() == [0.0, 0.0, 1e6]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_keeps_the_old_one(bad):
    memory = RadiusMemory(3, initial=0.25, cap=0.5)
    memory[index(2, 0)] = torch.tensor([bad, 0.375])
    assert memory.values.tolist() == [0.375, 0.25, 0.25]


def test_a_float64_value_beyond_float32_keeps_the_old_one():
    memory = RadiusMemory(1, initial=0.25)
    memory[index(0)] = torch.tensor([1e300], dtype=torch.float64)
    assert memory.values.tolist() == [0.25]


def test_a_written_graph_is_cut():
    memory = RadiusMemory(1)
    memory[index(0)] = torch.tensor([0.25], requires_grad=True)
    assert not memory.values.requires_grad


def test_state_dict_round_trip_through_a_file():
    memory = RadiusMemory(4, initial=0.25)
    memory[torch.arange(4)] = torch.tensor([0.0, 0.1, 0.2, 0.3])
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    other = RadiusMemory(4)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.values, memory.values)
    other[index(0)] = torch.tensor([0.5])
    assert memory.values[0] == 0


def test_loading_keeps_to_the_bounds_of_this_memory():
    memory = RadiusMemory(3, initial=0.25, floor=0.125, cap=0.5)
    memory.load_state_dict({"values": torch.tensor([0.0, 0.375, 0.75])})
    assert memory.values.tolist() == [0.125, 0.375, 0.5]


def test_loading_radii_of_another_data_set_is_refused():
    memory = RadiusMemory(3, initial=0.25)
    with pytest.raises(UserError, match=r"4 radii.*3 samples"):
        memory.load_state_dict(RadiusMemory(4).state_dict())
    assert memory.values.tolist() == [0.25] * 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loading_radii_that_are_not_finite_is_refused(bad):
    memory = RadiusMemory(2, initial=0.25)
    with pytest.raises(UserError, match="finite"):
        memory.load_state_dict({"values": torch.tensor([0.1, bad])})
    assert memory.values.tolist() == [0.25] * 2


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_memory_is_refused(size):
    with pytest.raises(UserError, match=f"size = {size}"):
        RadiusMemory(size)


@pytest.mark.parametrize(
    "bounds",
    [
        {"initial": 0.1, "floor": 0.2},
        {"initial": 0.3, "cap": 0.2},
        {"initial": "8px", "cap": "4px"},
    ],
)
def test_bounds_out_of_order_are_refused(bounds):
    with pytest.raises(UserError, match="floor <= initial <= cap"):
        RadiusMemory(3, **bounds)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("beyond", [3, -4])
def test_an_index_beyond_the_data_set_is_an_error(beyond, written, mapped, tmp_path):
    memory = RadiusMemory(3)
    if mapped:
        memory.map_to(tmp_path / "radii")
    if written:
        memory[:] = 0.5
    for kind in (IndexError, UserError):
        with pytest.raises(kind, match=f"index {beyond} is beyond the 3 radii: give RadiusMemory the size"):
            memory[index(beyond)] = torch.tensor([0.1])
        with pytest.raises(kind, match=f"index {beyond} is beyond the 3 radii"):
            memory[index(0, beyond)]
        with pytest.raises(kind, match=r"a mask of shape \[4\] for 3 radii"):
            memory[[True] * 4]
        with pytest.raises(kind, match=r"an index of torch.float32: pass whole numbers"):
            memory[torch.tensor([0.0, 1.0])]
    assert len(list(memory)) == 3


@pytest.mark.parametrize(
    "radius", [8.0, 1.5, torch.tensor([0.1, 8.0]), torch.tensor([torch.nan, 8.0]), [0.1, 8]], ids=str
)
@pytest.mark.parametrize("cap", [None, "8px"])
def test_radii_in_pixel_levels_are_refused_and_not_stored(radius, cap):
    memory = RadiusMemory(3, initial=0.01, cap=cap)
    with pytest.raises(UserError, match=r"radius (8|1\.5) is above the pixel range 1: .*8 pixel levels as 8 / 255"):
        memory[index(0, 2)] = radius
    assert memory.values[1:].tolist() == pytest.approx([0.01] * 2)
    memory[index(0, 2)] = torch.tensor([torch.inf, 1.0])
    assert memory.values[2] == pytest.approx(memory.largest)


@pytest.mark.parametrize(
    "radius", [torch.full((2, 1), 0.1), torch.full((1,), 0.1), torch.full((3,), 0.1), [0.1]], ids=str
)
def test_radii_do_not_broadcast(radius):
    memory = RadiusMemory(3, initial=0.5)
    with pytest.raises(UserError, match=r"radii of shape .* for an index of shape \[2\]: write one radius for each"):
        memory[index(0, 2)] = radius
    assert memory.values.tolist() == [0.5] * 3


def test_the_largest_radius_that_can_be_stored():
    assert RadiusMemory(1).largest == 1
    assert RadiusMemory(1, cap=0.5).largest == 0.5
    assert RadiusMemory(1, norm="l2").largest == math.inf
    assert RadiusMemory(1, norm="l2", cap=3.0).largest == 3


@pytest.mark.parametrize("size", [2.0, math.nan])
def test_a_size_is_a_whole_number(size):
    with pytest.raises(UserError, match="RadiusMemory size"):
        RadiusMemory(size)


def test_nothing_waits_for_a_device_that_is_not_the_cpu():
    """A tensor on meta has no values: whatever reads one on the host fails."""
    memory = RadiusMemory(3, device="meta")
    where = torch.tensor([0, 2], device="meta")
    memory[where] = staircase(memory[where], torch.zeros(2, dtype=torch.bool, device="meta"), up=0.1)
    assert memory[where].shape == (2,)


def test_no_memory_is_taken_before_the_first_use():
    memory = RadiusMemory(2**60)  # more than any machine has
    assert len(memory) == 2**60


def test_one_process_has_nobody_to_share_with():
    memory = RadiusMemory(3)
    memory.shard()
    memory[index(1)] = 0.5
    memory.synchronize()
    assert memory.values.tolist() == [0, 0.5, 0]


@pytest.mark.parametrize("use", [lambda memory: memory[0], lambda memory: memory.values])
def test_where_radii_are_kept_is_chosen_before_they_are_used(use, tmp_path):
    memory = RadiusMemory(3)
    use(memory)
    for choose in (memory.shard, lambda: memory.map_to(tmp_path / "radii")):
        with pytest.raises(UserError, match="radii are in use"):
            choose()


SIZE = 4
numbers = st.floats(width=32)
outcomes = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE).map(torch.tensor)
updates = st.one_of(
    st.builds(
        lambda c, a, b, gamma, beta: lambda e: paper(e, c, a, b, gamma=gamma, beta=beta),
        outcomes,
        outcomes,
        outcomes,
        st.floats(0, 1),
        st.floats(0.01, 1),
    ),
    st.builds(
        lambda r, up, down: lambda e: staircase(e, r, up=up, down=down), outcomes, st.floats(0, 1), st.floats(0, 1)
    ),
    st.builds(lambda c, radius: lambda e: warm_up(c, radius), outcomes, st.floats(0, 1)),
    st.lists(numbers, min_size=SIZE, max_size=SIZE).map(lambda values: lambda e: torch.tensor(values)),
)


@given(
    bounds=st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3).map(sorted),
    capped=st.booleans(),
    steps=st.lists(st.tuples(st.permutations(range(SIZE)), updates), max_size=12),
)
def test_no_update_through_any_rule_ever_leaves_the_bounds(bounds, capped, steps):
    floor, initial, cap = bounds
    memory = RadiusMemory(SIZE, initial=initial, floor=floor, cap=cap if capped else None)
    for order, update in steps:
        memory[torch.tensor(order)] = update(memory[torch.tensor(order)]).clamp_max(memory.largest)
        assert bool(memory.values.isfinite().all())
        assert memory.values.max() <= 1
        assert memory.values.min() >= floor
        if capped:
            assert memory.values.max() <= cap


@pytest.mark.parametrize("name", ["initial", "floor", "cap"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_bounds_that_are_no_length_are_refused(name, value):
    with pytest.raises(UserError, match=rf"RadiusMemory {name} = {value}"):
        RadiusMemory(3, **{name: value})


@pytest.mark.parametrize("bounds", [{"initial": 8}, {"floor": 8, "initial": 9}, {"initial": 0.1, "cap": 8}])
def test_bounds_in_pixel_levels_are_refused_in_linf_alone(bounds):
    with pytest.raises(UserError, match=r"above the pixel range 1; for \d pixel levels write \dpx"):
        RadiusMemory(3, **bounds)
    RadiusMemory(3, norm="l2", **bounds)


def test_an_unknown_norm_is_refused():
    with pytest.raises(UserError, match="'l1' is not known"):
        RadiusMemory(3, norm="l1")


def test_bounds_may_be_written_with_a_unit():
    memory = RadiusMemory(2, initial="8px", floor="1/255", cap="16 px")
    assert memory.values.tolist() == pytest.approx([8 / 255] * 2)
    assert (memory.floor, memory.cap) == (1 / 255, 16 / 255)
    with pytest.raises(UserError, match="'8pixels' cannot be read"):
        RadiusMemory(2, initial="8pixels")


INDICES = [
    (1, [1]),
    (-1, [3]),
    (slice(3), [0, 1, 2]),
    (slice(None, None, -2), [3, 1]),
    ([2, 0], [2, 0]),
    ((2, 0), [2, 0]),
    ([], []),
    ([True, False, False, True], [0, 3]),
    (np.array([3, 1]), [3, 1]),
    (np.int64(2), [2]),
    (range(2), [0, 1]),
    (torch.tensor(2), [2]),
]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(("where", "positions"), INDICES, ids=str)
def test_any_index_reads_a_copy_and_takes_a_number(where, positions, mapped, tmp_path):
    memory = RadiusMemory(4)
    if mapped:
        memory.map_to(tmp_path / "radii")
    memory[torch.arange(4)] = torch.tensor([0.0, 0.125, 0.25, 0.375])
    read = memory[where]
    assert read.flatten().tolist() == [position / 8 for position in positions]
    read += 1
    assert memory.values.max() < 1
    memory[where] = 0.5
    assert memory.values.tolist() == [0.5 if position in positions else position / 8 for position in range(4)]


def test_a_list_of_radii_is_stored_and_a_number_that_is_not_finite_is_not():
    memory = RadiusMemory(3, cap=0.5)
    memory[[0, 2]] = [0.25, 1]
    memory[:] = math.nan
    assert memory.values.tolist() == [0.25, 0, 0.5]
    assert [float(radius) for radius in memory] == [0.25, 0, 0.5]


# Radii of one run as the start of another, and their figures


@pytest.mark.parametrize("kind", ["memory", "tensor"])
def test_every_sample_may_start_with_a_radius_of_its_own(kind):
    before = RadiusMemory(4, cap="16px")
    before[:] = torch.tensor([0.0, 4.0, 8.0, 16.0]) / 255
    memory = RadiusMemory(4, initial=before if kind == "memory" else before.values, floor="2px", cap="10px")
    torch.testing.assert_close(memory.values * 255, torch.tensor([2.0, 4.0, 8.0, 10.0]))
    memory[index(1)] = 0.01
    assert before[1] == pytest.approx(4 / 255)
    memory.load_state_dict({"values": torch.full((4,), 6 / 255)})
    torch.testing.assert_close(memory.values * 255, torch.full((4,), 6.0))


def test_a_checkpoint_that_is_loaded_first_wins_over_the_start():
    memory = RadiusMemory(2, initial=torch.tensor([0.1, 0.2]))
    memory.load_state_dict({"values": torch.tensor([0.3, 0.4])})
    assert memory.values.tolist() == pytest.approx([0.3, 0.4])


def test_a_file_of_radii_starts_with_them_too(tmp_path):
    memory = RadiusMemory(3, initial=torch.tensor([0.1, 0.2, 0.3]))
    memory.map_to(tmp_path / "radii")
    assert memory.values.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert "not in memory" in repr(memory)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (torch.zeros(3), r"initial has shape \[3\] for 4 samples"),
        (torch.zeros(2, 2), "one radius a sample"),
        (torch.tensor([0.0, -0.1, 0.0, 0.0]), "negative or NaN"),
        (torch.tensor([0.0, math.nan, 0.0, 0.0]), "negative or NaN"),
        (torch.tensor([0.0, 8.0, 0.0, 0.0]), "for 8 pixel levels write 8px"),
    ],
)
def test_first_radii_that_are_none_are_refused(initial, message):
    with pytest.raises(UserError, match=message):
        RadiusMemory(4, initial=initial)


def test_figures_of_radii_are_those_of_numpy():
    memory = RadiusMemory(101)
    memory[:] = torch.arange(101) / 100 / 255
    array = memory.numpy()
    assert array.dtype == np.float32
    array[:] = 9  # a copy
    torch.testing.assert_close(memory.quantiles() * 255, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).double())
    assert memory.quantiles([1.0]).tolist() == pytest.approx([1 / 255])
    with pytest.raises(UserError, match=r"give levels from 0 to 1"):
        memory.quantiles([95])
    assert repr(memory) == "RadiusMemory(101 in linf: mean 0.50px, quantiles 5% 0.05px, 50% 0.50px, 95% 0.95px; on cpu)"


def test_the_text_of_radii_that_are_not_in_use_does_not_put_them_in_use(tmp_path):
    memory = RadiusMemory(1_000_000, initial="8px", norm="l2")
    assert repr(memory) == "RadiusMemory(1,000,000 in l2: all as they begin, 0.031; on cpu)"
    memory.map_to(tmp_path / "radii")


def test_radii_move_to_a_device_in_place():
    memory = RadiusMemory(3, initial=torch.tensor([0.1, 0.2, 0.3]))
    assert memory.to("cpu") is memory
    assert memory.values.tolist() == pytest.approx([0.1, 0.2, 0.3])
    moved = memory.to("meta")
    assert moved[index(0)].device.type == moved.values.device.type == "meta"


@pytest.mark.parametrize("rule", [
    lambda step: staircase(torch.tensor([0.1, 0.1]), torch.tensor([True, False]), up=step),
    lambda step: staircase(torch.tensor([0.1, 0.1]), torch.tensor([True, False]), up=0.0, down=step),
    lambda step: warm_up(torch.tensor([True, False]), step),
    lambda step: paper(torch.tensor([0.1]), *[torch.tensor([True])] * 3, gamma=step, beta=0.5),
])  # fmt: skip
def test_lengths_of_rules_may_be_written_with_units(rule):
    assert torch.equal(rule("0.2px"), rule(0.2 / 255))
    with pytest.raises(UserError, match="cannot be read: write 8px"):
        rule("0.2 pixels")


def test_radii_of_another_norm_are_refused():
    """An L2 radius of 0.5 would be an L-inf radius of 128px."""
    other, memory = RadiusMemory(5, initial=0.5, norm="l2"), RadiusMemory(5)
    message = r"holds radii in 'l2', and this memory is one of linf"
    with pytest.raises(UserError, match="RadiusMemory initial " + message):
        RadiusMemory(5, initial=other)
    with pytest.raises(UserError, match="the checkpoint " + message):
        memory.load_state_dict(other.state_dict())
    assert memory.values.tolist() == [0.0] * 5
    memory.load_state_dict(RadiusMemory(5, initial=0.5).state_dict())
    memory.load_state_dict({"values": torch.full((5,), 0.25)})  # of an older version
    assert memory.values.tolist() == [0.25] * 5


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"values": torch.full((5,), 3.0)}, r"the checkpoint = 3 is above the pixel range 1; for 3 pixel levels"),
        ({"values": torch.full((5,), -0.1)}, r"the checkpoint holds a radius that is negative"),
        ({}, r"\{\} is no state of radii: give what state_dict\(\) has returned"),
        ({"values": [0.1] * 5}, r"is no state of radii"),
        (None, r"None is no state of radii"),
    ],
)
def test_states_that_hold_no_radii_of_this_norm_are_refused(state, message):
    memory = RadiusMemory(5, initial=0.5)
    with pytest.raises(UserError, match=message):
        memory.load_state_dict(state)
    assert memory.values.tolist() == [0.5] * 5


def test_norms_in_l2_may_exceed_the_range_of_a_pixel():
    memory = RadiusMemory(5, norm="l2")
    memory.load_state_dict({"values": torch.full((5,), 3.0), "norm": "l2"})
    assert memory.values.tolist() == [3.0] * 5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_indices_of_every_integer_type_are_positions(dtype, tmp_path):
    for mapped in (False, True):
        memory = RadiusMemory(4, initial=0.5)
        if mapped:
            memory.map_to(tmp_path / str(dtype))
        memory[torch.tensor([1, 0, 3], dtype=dtype)] = torch.tensor([0.25, 0.125, 0.75])
        assert memory.values.tolist() == [0.125, 0.25, 0.5, 0.75]
        assert memory[torch.tensor([3, 0, 1, 1], dtype=dtype)].tolist() == [0.75, 0.125, 0.25, 0.25]
        assert memory[np.array([3, 0], dtype=str(dtype).removeprefix("torch."))].tolist() == [0.75, 0.125]


@pytest.mark.parametrize("first", ["read", "written", "loaded", "moved"])
def test_radii_first_used_in_inference_mode_are_written_after_it(first, tmp_path):
    for mapped in (False, True):
        memory = RadiusMemory(4, initial=torch.full((4,), 0.5))
        with torch.inference_mode():
            if mapped:
                memory.map_to(tmp_path / first)
            if first == "read":
                memory[:]
            elif first == "written":
                memory[0] = 0.5
            elif first == "loaded":
                memory.load_state_dict({"values": torch.full((4,), 0.5)})
            else:
                memory[:]
                memory.to("cpu")
        memory[torch.tensor([1])] = torch.tensor([0.25])
        assert memory.values.tolist() == [0.5, 0.25, 0.5, 0.5]


@pytest.mark.parametrize("kind", [np.array, list, tuple, torch.tensor])
def test_first_and_new_radii_may_be_any_sequence_of_numbers(kind):
    memory = RadiusMemory(np.int64(3), initial=kind([0.5, 0.25, 0.125]))
    memory[:2] = kind([0.125, 0.5])
    assert memory.values.tolist() == [0.125, 0.5, 0.125]


def test_radii_may_be_written_as_text():
    memory = RadiusMemory(3, cap="16px")
    memory[:2] = "8px"
    memory[2] = "20px"
    torch.testing.assert_close(memory.values * 255, torch.tensor([8.0, 8.0, 16.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RadiusMemory([1, 2, 3]), r"RadiusMemory size = \[1, 2, 3\]: needs the number .*len\(dataset\)"),
        (lambda: RadiusMemory("3"), r"RadiusMemory size = '3': needs the number of training samples"),
        (lambda: RadiusMemory(2, initial=["8px", "4px"]), r"RadiusMemory initial = \['8px', '4px'\]: give a number"),
        (lambda: RadiusMemory(2, initial=None), r"RadiusMemory initial = None: give a number, a text such as"),
        (lambda: RadiusMemory(2, cap=[0.1]), r"RadiusMemory cap = \[0\.1\]: give a number"),
        (lambda: RadiusMemory(2).__setitem__(0, "8 pixels"), r"radius '8 pixels' cannot be read"),
        (lambda: RadiusMemory(2).__setitem__(slice(2), ["8px", "4px"]), r"radii = \['8px', '4px'\]: give a number"),
        (lambda: RadiusMemory(2).__setitem__(0, None), r"radii = None: give a number, a text such as"),
        (lambda: RadiusMemory(2)[["a"]], r"index \['a'\]: pass whole numbers"),
    ],
)
def test_what_is_no_number_is_named(call, message):
    with pytest.raises(UserError, match=message):
        call()
