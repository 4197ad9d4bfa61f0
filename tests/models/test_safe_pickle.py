"""A small file of `torch.save` takes little memory: what it names is looked at before anything is made."""

import codecs
import collections
import random
import tracemalloc

import pytest
import torch

from iaat.errors import UserError
from iaat.models import ModelConfig
from iaat.models.weights import check_plain, read_content
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.load_any_model import load_model

BYTES = 50_000_000


class Call:
    """Its pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def doubled():
    value = Call(codecs.encode, "xx", "latin1")
    for _ in range(25):
        value = Call(codecs.encode, value, "hex_codec")
    return value


BOMBS = {
    "bytes": (Call(bytearray, BYTES), r"__builtin__\.bytearray"),
    "tensor": (Call(torch.FloatTensor, BYTES), r"torch\.FloatTensor"),
    "encoded": (doubled(), r"_codecs\.encode"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_asks_for_memory_is_refused_before_any_is_taken(tmp_path, name, zipped):
    bomb, named = BOMBS[name]
    file = tmp_path / "last.pt"
    torch.save({"format": 2, "bomb": bomb}, file, _use_new_zipfile_serialization=zipped)
    assert file.stat().st_size < 4000
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"could run code or take any memory \({named}\)") as error:
            read_content(file)
        assert "\n" not in str(error.value)
        if zipped:  # a checkpoint is always
            with pytest.raises(UserError, match="could run code or take any memory"):
                load_checkpoint(file)
        assert tracemalloc.get_traced_memory()[1] < BYTES / 10
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_key_with_an_endless_hash_is_refused(tmp_path, zipped):
    key = (1, 2)
    for _ in range(18):  # which is still hashed at once
        key = (key, key)
    file = tmp_path / "last.pt"
    torch.save({"format": 2, key: 1}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"could run code or take any memory \(builtins\.tuple\)"):
        read_content(file)


@pytest.mark.parametrize("zipped", [True, False])
def test_large_tuples_are_read(tmp_path, zipped):
    value = {
        "long": tuple(map(float, range(300_000))),
        "state": random.getstate(),
        (1, (2, "a")): (),
        "three": (1, 2, 3),
    }
    torch.save(value, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert read_content(tmp_path / "w.pt") == value


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_values_and_tensors_of_all_kinds_are_read(tmp_path, zipped):
    marked = torch.zeros(2)
    marked.mark = 1  # which is kept, and makes another kind of pickle
    value = {
        "bytes": b"\xff\x00",
        "set": {1, 2},
        "complex": 1j,
        "counter": collections.Counter("aab"),
        "ordered": collections.OrderedDict(a=1),
        "size": torch.Size((2, 3)),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "marked": marked,
    }
    if zipped:  # the oldest form has no such storages
        value["unsigned"] = torch.zeros(2, dtype=torch.uint16)
    torch.save(value, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    read = read_content(tmp_path / "w.pt")
    assert read.keys() == value.keys()
    tensors = {key for key, each in value.items() if isinstance(each, torch.Tensor)}
    assert all(torch.equal(read[key], value[key]) for key in tensors)
    assert {key: read[key] for key in read.keys() - tensors} == {key: value[key] for key in value.keys() - tensors}


class Settings:
    """A class of the user's."""


def test_what_the_users_code_declared_safe_is_read(tmp_path):
    torch.save({"settings": Settings()}, tmp_path / "w.pt")
    with torch.serialization.safe_globals([Settings]):
        assert isinstance(read_content(tmp_path / "w.pt")["settings"], Settings)


# What is in a file twice is in it once


def nested(kind, inner, depth=9, width=100):
    """One value in a list or dict 100 times, that one in another 100 times, and so on; of 10 KB as a file."""
    for _ in range(depth):
        inner = [inner] * width if kind is list else dict.fromkeys(map(str, range(width)), inner)
    return inner


@pytest.mark.parametrize("kind", [list, dict])
def test_containers_that_hold_each_other_many_times_are_looked_into_once(tmp_path, kind):
    file = tmp_path / "last.pt"
    torch.save({"format": 2, "beside": nested(kind, [1])}, file)
    assert load_checkpoint(file)["format"] == 2
    check_plain(read_content(file), "weights")


def test_a_tensor_is_checked_from_the_place_nearest_to_the_top():
    inner = [torch.zeros(2).to_sparse()]
    with pytest.raises(UserError, match=r"w\.other\.0 is sparse"):
        check_plain({"w": {"deep": nested(list, inner, depth=9, width=2), "other": inner}}, "weights")


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("part", ["records", "faults"])
def test_records_that_would_be_written_without_end_are_refused(tmp_path, kind, part, monkeypatch):
    monkeypatch.setattr("iaat.runs.checkpoint_schema._LONGEST_JSON", 1_000_000)
    for depth, inner in ((9, 1), (3, "x" * 1000), (60, 1)):
        file = tmp_path / "last.pt"
        width = 1 if depth > 9 else 100
        torch.save({"format": 2, part: [{"epoch": 1, "more": nested(kind, inner, depth, width)}]}, file)
        with pytest.raises(UserError, match=f"{part} is a list, not a list of"):
            load_checkpoint(file)
    torch.save({"format": 2, part: [{"epoch": 1, "more": nested(kind, 0.5, 2)}]}, file)
    assert load_checkpoint(file)[part][0]["epoch"] == 1


def test_weights_of_endless_names_are_refused(tmp_path):
    weight = torch.zeros(1)
    torch.save({"format": 2, "w": weight, "model": {"a." * 150_000 + "w": weight}}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="is a name of 300,001 characters, and 1,000 are the most"):
        load_checkpoint(tmp_path / "last.pt")
    with pytest.raises(UserError, match="is a name of 300,001 characters"):
        load_model(str(tmp_path / "last.pt"), ModelConfig(name="small-cnn", width=4), shape=(1, 8, 8), classes=10)
