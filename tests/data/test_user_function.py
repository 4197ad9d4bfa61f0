"""Data sets made by a function of the user's: found, called, read, or explained."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from iaat.data import DataConfig, StreamingSource, user_function
from iaat.data.sample_log import SampleLog
from iaat.data.user_function import UserSplit, function_splits
from iaat.errors import UserError

MODULE = """
import torch
from torch.utils.data import TensorDataset

NUMBER = 3


def make_blobs(split, n=12, scale=1.0):
    n = n if split == "train" else 6
    return TensorDataset(torch.rand(n, 5) * scale, torch.arange(n) % 3)


def broken(split):
    return [][0]


class Noisy(TensorDataset):
    def __getitem__(self, position):
        return torch.rand(5), int(self.tensors[1][position])


def noisy(split):
    return Noisy(torch.zeros(12, 5), torch.arange(12) % 3)


def named(split, train, test):
    data = make_blobs(split)
    data.classes = train if split == "train" else test
    return data
"""


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current directory holds `my_blobs.py` and a module that needs what is not there."""
    (tmp_path / "my_blobs.py").write_text(MODULE)
    (tmp_path / "needy.py").write_text("import a_package_nobody_has")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("my_blobs", "needy"):
        sys.modules.pop(name, None)


def config(name: str, **options: Any) -> DataConfig:
    return DataConfig(name=name, options=options)


@pytest.mark.usefixtures("in_folder")
def test_function_in_the_current_directory_is_called_for_both_splits() -> None:
    train, test = function_splits(config("my_blobs:make_blobs", n=9))
    assert (len(train), len(test)) == (9, 6)
    assert train.classes == test.classes == ("0", "1", "2")
    assert train.labels.tolist() == [0, 1, 2] * 3
    assert train.load(torch.tensor([4, 1])).shape == (2, 5)
    assert train.sample_bytes == 20


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("my_blob:make_blobs", {}, r"data\.name: no module 'my_blob' in .*holds my_blob\.py.*did you mean 'my_blobs'"),
        ("os.nothing:make", {}, r"data\.name: no module 'os\.nothing'"),
        ("my_blobs:make_blob", {}, r"my_blobs\.py has no function 'make_blob'.*did you mean 'make_blobs'"),
        ("my_blobs:NUMBER", {}, r"my_blobs\.py holds no function but a value under the name 'NUMBER'"),
        ("my_blobs:make_blobs", {"scal": 2}, r"data\.options \{'scal': 2\} do not fit .*did you mean 'scale'"),
        ("my_blobs:make_blobs", {"split": "x"}, r"data\.options \{'split': 'x'\} do not fit .*multiple values"),
    ],
)
def test_what_cannot_be_found_or_called_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        function_splits(config(name, **options))


@pytest.mark.usefixtures("in_folder")
def test_faults_inside_the_users_code_are_shown_as_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match="a_package_nobody_has"):
        function_splits(config("needy:make"))
    with pytest.raises(IndexError) as caught:
        function_splits(config("my_blobs:broken"))
    assert caught.value.__notes__ == ["raised by data.name=my_blobs:broken, called with split='train' and {}"]


BIRDS = ["bird", "cat", "dog"]


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize(
    ("test", "message"),
    [
        (["dog", "cat", "bird"], "in another order than those of .*: label 0 is 'dog' here and 'bird' there"),
        (["cat", "dog"], "other classes than those of .*: label 0 is 'cat' here and 'bird' there"),
        (["bird", "cat", "owl"], "label 2 is 'owl' here and 'dog' there"),
    ],
)
def test_a_test_set_that_numbers_the_classes_otherwise_is_refused(test: list[str], message: str) -> None:
    with pytest.raises(UserError, match=rf"split=test: its `classes` .*{message}"):
        function_splits(config("my_blobs:named", train=BIRDS, test=test))


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize("test", [BIRDS, ["bird", "cat"], [], ["0", "1", "2"], [*BIRDS, "owl"]])
def test_a_test_set_with_the_same_numbers_has_the_names_of_training(test: list[str]) -> None:
    assert function_splits(config("my_blobs:named", train=BIRDS, test=test))[1].classes == tuple(BIRDS)


class Named(Dataset[tuple[object, int]]):
    """Counts how often an item is read."""

    classes = ("cat", "dog")

    def __init__(self, items: list[tuple[object, int]]) -> None:
        self.items = items
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> tuple[object, int]:
        self.read.append(position)
        return self.items[position]


def split_of(dataset: Any) -> UserSplit:
    return UserSplit(dataset, complete=True, where="mine")


def test_labels_without_a_list_are_read_from_the_items() -> None:
    dataset = Named([(torch.zeros(2), i % 2) for i in range(6)])
    split = split_of(Subset(dataset, [5, 0, 3]))
    assert split.labels.tolist() == [1, 0, 1]
    assert split.classes == ("cat", "dog")
    assert set(dataset.read) == {5, 0, 3}


@pytest.mark.parametrize("attribute", ["targets", "labels"])
@pytest.mark.parametrize("form", [list, torch.tensor, np.array])
def test_listed_labels_are_used_through_subsets(attribute: str, form: Any) -> None:
    dataset = Named([(torch.zeros(2), i % 2) for i in range(6)])
    setattr(dataset, attribute, form([i % 2 for i in range(6)]))
    split = split_of(Subset(Subset(dataset, [5, 4, 3, 2]), [0, 3, 1]))
    assert split.labels.tolist() == [1, 0, 0]
    assert len(dataset.read) == 1


def test_list_of_a_subset_itself_is_not_mapped_again() -> None:
    subset = Subset(Named([(torch.zeros(2), i % 2) for i in range(6)]), [5, 4, 3])
    subset.targets = [1, 0, 1]  # type: ignore[attr-defined]
    assert split_of(subset).labels.tolist() == [1, 0, 1]


def test_listed_labels_that_are_wrong_are_refused() -> None:
    dataset = Named([(torch.zeros(2), i % 2) for i in range(6)])
    dataset.targets = [0, 0, 0, 1, 0, 1]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"mine: item 1 has label 1, but 0 in the list of labels: make .*targets"):
        split_of(dataset).load(torch.arange(6))
    dataset.targets = [0, 1]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="mine: 6 items but 2 labels in its targets"):
        split_of(dataset)


def test_pil_images_are_read_as_they_show() -> None:
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    split = split_of(Named([(Image.fromarray(colour), 0), (Image.fromarray(255 - colour), 1)]))
    x = split.load(torch.tensor([1, 0]))
    assert x.dtype == torch.uint8
    assert np.array_equal(x[1].permute(1, 2, 0).numpy(), colour)
    words = Image.fromarray(np.full((2, 2), 65535, dtype=np.uint16))
    assert split_of(Named([(words, 0), (words, 1)])).load(torch.arange(2)).tolist() == [[[[255, 255]] * 2]] * 2
    floats = Image.fromarray(np.ones((2, 2), dtype=np.float32))
    with pytest.raises(UserError, match="mine: item 0: pixels of mode F have no defined range"):
        split_of(Named([(floats, 0)]))


def test_a_damaged_image_that_was_opened_but_not_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        UserError, match=r"mine: item 0: cannot be read as an image \(.*truncated.*\): repair or remove"
    ):
        split_of(Named([(Image.open(path), 0)]))


def test_an_image_that_cannot_be_decoded_may_be_skipped_where_it_is_the_first(tmp_path: Path) -> None:
    Image.effect_noise((30, 30), 50).convert("RGB").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    dataset = Named([(Image.open(tmp_path / f"{name}.png"), number % 2) for number, name in enumerate("baab")])
    with pytest.raises(UserError, match=r"mine: item 0: cannot be read as an image .* data\.skip_damaged"):
        split_of(dataset)
    split = UserSplit(dataset, complete=True, where="mine", skip=2)
    assert split.shape == (3, 30, 30)
    log = SampleLog(4, where="mine", limit=2)
    split.load(torch.arange(4), log)
    assert sorted(log.unreadable) == [0, 3]


def test_float_inputs_become_float32() -> None:
    split = split_of(TensorDataset(torch.rand(4, 3, dtype=torch.float64), torch.arange(4) % 2))
    assert split.load(torch.arange(4)).dtype == torch.float32
    assert split.sample_bytes == 12


def test_what_is_no_map_style_data_set_is_refused() -> None:
    with pytest.raises(UserError, match="mine: generator has no __len__"):
        split_of(i for i in range(3))
    with pytest.raises(UserError, match=r"mine: item 0 is a Tensor, not a pair"):
        split_of(torch.zeros(3, 2))
    with pytest.raises(UserError, match=r"mine: item 1 has shape \[3\].*but item 0 has \[2\]"):
        split_of([(torch.zeros(2), 0), (torch.zeros(3), 1)]).load(torch.arange(2))


@pytest.mark.usefixtures("in_folder")
@pytest.mark.filterwarnings("ignore:.*split=test.* change from read")
@pytest.mark.parametrize("stream", [None, False])
def test_items_that_change_from_read_to_read_are_reported_unless_streamed(stream: bool | None) -> None:
    with pytest.warns(UserWarning, match=r"split=train: items change from read to read.*data\.crop / data\.flip"):
        function_splits(DataConfig(name="my_blobs:noisy", stream=stream))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function_splits(DataConfig(name="my_blobs:noisy", stream=True))
        function_splits(DataConfig(name="my_blobs:make_blobs", stream=stream))


class Flipped(Named):
    """Items are flipped at random; the first looks the same in a mirror."""

    def __getitem__(self, position: int) -> tuple[object, int]:
        x, y = super().__getitem__(position)
        assert isinstance(x, torch.Tensor)
        return (x.flip(-1) if torch.rand(()) < 0.5 else x), y


@pytest.mark.parametrize("symmetric", [0, 1, 2])
def test_a_flip_that_is_drawn_once_is_reported(symmetric: int) -> None:
    rows = [torch.zeros(4) if row <= symmetric else torch.arange(4.0) / 4 for row in range(4)]
    for seed in range(8):  # of data sets that draw, half would pass a comparison of two reads
        items: list[tuple[object, int]] = [(row, number % 2) for number, row in enumerate(rows)]
        split = split_of(Flipped([*items[:1], *items[: 1 + seed], *items[1:]]))
        with pytest.warns(UserWarning, match="a random transform is drawn once"):
            split.warn_if_random(streamed=False)


def test_slow_and_unreadable_items_are_not_read_on_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Unreadable([(torch.zeros(2), i % 2) for i in range(4)])
    dataset.targets = [0, 1, 0, 1]  # type: ignore[attr-defined]
    split = split_of(dataset)
    monkeypatch.setattr(user_function, "_SECONDS", 0.0)
    dataset.read.clear()
    split.warn_if_random(streamed=False)
    assert dataset.read == [0, 0, 0, 3, 0, 3]


class Unreadable(Named):
    """The third item cannot be read."""

    def __getitem__(self, position: int) -> tuple[object, int]:
        if position == 2:
            raise OSError("truncated file")
        return super().__getitem__(position)


@pytest.mark.parametrize("listed", [True, False])
def test_errors_of_a_users_items_name_the_item(listed: bool) -> None:
    dataset = Unreadable([(torch.zeros(2), i % 2) for i in range(4)])
    if listed:
        dataset.targets = [0, 1, 0, 1]  # type: ignore[attr-defined]
    message = r"(?s)^your code failed: OSError: truncated file\n.*test_user_function\.py, line .*item 2 of mine"
    with pytest.raises(UserError, match=message):
        split_of(dataset).load(torch.arange(4))


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_streamed_items_name_the_item_once(workers: int) -> None:
    dataset = Unreadable([(torch.zeros(2), i % 2) for i in range(4)])
    dataset.targets = [0, 1, 0, 1]  # type: ignore[attr-defined]
    split = split_of(dataset)
    source = StreamingSource(split, split.labels, split.classes, workers=workers, where="mine")
    with pytest.raises(UserError, match=r"^your code failed: OSError: truncated file") as caught:
        list(source.batches([torch.arange(4)]))
    assert str(caught.value).count("item 2") == 1
