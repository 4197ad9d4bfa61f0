"""data.cache gives what the image files themselves give, is never stale, and survives kills, damage and company."""

import os
import pickle
import shutil
import threading
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from torch import Tensor

from data.test_webdataset import pack
from iaat.cli.main import main
from iaat.config.differences import recipe_differences
from iaat.config.load_recipe import load_recipe
from iaat.data import DataConfig, DataSplits, build_data, image_cache, image_split, read_dataset_info
from iaat.data.cache_index import CacheIndex
from iaat.data.cached_split import CachedSplit, with_cache
from iaat.data.given_data import GivenData
from iaat.data.image_cache import ImageCache
from iaat.data.image_folder import folder_splits
from iaat.errors import UserError
from iaat.runs.data_record import data_record
from iaat.runtime.progress import Reporter
from iaat.runtime.user_code import GIVEN

QUIET = Reporter(quiet=True)


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    """20 images for training and 20 for test, of two classes: one is transparent, one of 16 bits."""
    folder = make_folder(per_class=10)
    Image.fromarray(np.full((6, 6, 4), 128, dtype=np.uint8)).save(folder / "train/cat/001.png")
    Image.fromarray(np.full((6, 6), 20_000, dtype=np.uint16)).save(folder / "test/dog/003.png")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Places of the images that are decoded, but for the first one, which decides the shape of all."""
    places: list[str] = []
    real = image_split.decode

    def spied(*args: Any, where: str, **kwargs: Any) -> Tensor:
        places.append("/".join(where.split("/")[-3:]))
        return real(*args, where=where, **kwargs)

    monkeypatch.setattr(image_split, "decode", spied)
    return places


def config(root: Path, cache: Path | None = None, **settings: Any) -> DataConfig:
    return DataConfig(name="folder", root=str(root), cache=None if cache is None else str(cache), **settings)


def build(*args: Any, **settings: Any) -> DataSplits:
    return build_data(config(*args, **settings), seed=0)


def read_all(source: Any, *, augment: tuple[int, int] | None = None) -> Tensor:
    used = torch.arange(len(source))
    if hasattr(source, "_row") and source._row is not None:
        used = (source._row >= 0).nonzero().flatten()
    return torch.cat([batch.x for batch in source.batches(used.split(7), augment=augment)])


def assert_same(ours: DataSplits, theirs: DataSplits) -> None:
    """The same to the bit: pixels, labels, records, notices, and what checkpoints say of the data."""
    for mine, other in ((ours.train, theirs.train), (ours.test, theirs.test)):
        assert type(mine) is type(other)
        assert torch.equal(read_all(mine), read_all(other))
        assert torch.equal(read_all(mine, augment=(3, 1)), read_all(other, augment=(3, 1)))
        log, wanted = mine.sample_log, other.sample_log
        assert log.digests.tolist() == wanted.digests.tolist()
        assert log._flags.tolist() == wanted._flags.tolist()
        assert log.unreadable == wanted.unreadable
    assert data_record(ours) == data_record(theirs)
    assert ours.notices().to_records() == theirs.notices().to_records()
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.std, theirs.std)
    for name in ("train_index", "validation_index", "test_index"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


HOW = {
    "in memory": {"stream": False},
    "streamed": {"stream": True},
    "streamed by workers": {"stream": True, "workers": 2},
    "resized": {"size": 4, "resize": 5, "channels": 1, "crop": 1, "flip": True},
    "on black": {"background": "black", "stream": True},
}


@pytest.mark.parametrize("settings", HOW.values(), ids=HOW)
@pytest.mark.parametrize("name", ["folder", "webdataset"])
def test_all_is_as_without_a_cache(
    root: Path, cache: Path, tmp_path: Path, decoded: list[str], name: str, settings: dict[str, Any]
) -> None:
    if name == "webdataset":
        root = pack(root, tmp_path / "shards")
    plain = DataConfig(name=name, root=str(root), **settings)
    kept = replace(plain, cache=str(cache))
    expected = build_data(plain, seed=0)
    assert_same(build_data(kept, seed=0), expected)  # while it is filled
    assert expected.notices().to_records()
    decoded.clear()
    again = build_data(kept, seed=0)
    for source in (again.train, again.test):
        read_all(source)
    assert len(decoded) == 1
    assert_same(again, expected)


def test_class_folders_that_are_given_are_cached(root: Path, cache: Path, decoded: list[str]) -> None:
    given = DataConfig(name=GIVEN, given=GivenData(str(root / "train"), str(root / "test")))
    expected = build_data(given, seed=0)
    kept = replace(given, cache=str(cache))
    for _ in range(2):
        decoded.clear()
        data = build_data(kept, seed=0)
        assert torch.equal(read_all(data.train), read_all(expected.train))
    assert len(decoded) == 1


def renew(path: Path) -> None:
    """Give a file another time of change, a second later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def replaced(root: Path) -> None:
    path = root / "train/dog/004.png"
    Image.fromarray(np.full((6, 6, 3), 77, dtype=np.uint8)).save(path)
    renew(path)


def added(root: Path) -> None:
    shutil.copy(root / "train/dog/004.png", root / "train/cat/0005.png")


def removed(root: Path) -> None:
    (root / "train/cat/005.png").unlink()


CHANGES = {
    "time": (lambda root: renew(root / "train/dog/004.png"), "1 changed", 1),
    "content": (replaced, "1 changed", 1),
    "added": (added, "1 added", 1),
    "added and removed": (lambda root: (added(root), removed(root)), "1 added, 1 removed", 1),
    "removed": (removed, None, 0),
}


@pytest.mark.parametrize(("change", "reason", "count"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("stream", [False, True])
def test_files_that_changed_are_decoded_again_and_no_others(
    root: Path,
    cache: Path,
    decoded: list[str],
    stream: bool,
    change: Callable[[Path], object],
    reason: str | None,
    count: int,
) -> None:
    build(root, cache)
    change(root)
    decoded.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = build(root, cache, stream=stream)
    said = [str(each.message) for each in caught if "data.cache" in str(each.message)]
    assert len(decoded) == 1 + count
    assert len(said) == (reason is not None)
    if reason is not None:
        assert f"is older than files of the data ({reason}): {count} of the training images" in said[0]
    assert_same(data, build(root, stream=stream))
    assert not (read_all(data.train) == 0).all(1).any()


def copied(source: Path, target: Path, *, level: int) -> None:
    """Copy a data set as images of one size and one time, which differ in their level alone."""
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        new = (target / path.relative_to(source)).with_suffix(".bmp")
        new.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (level, number, 0)).save(new)
        os.utime(new, (10**9, 10**9))


def test_files_that_took_the_place_of_others_of_the_same_size_and_time_are_decoded_again(
    root: Path, cache: Path, tmp_path: Path
) -> None:
    copied(root, data := tmp_path / "data", level=1)
    build(data, cache)
    (data / "train/cat/000.bmp").unlink()
    for number in range(1, 10):
        (data / f"train/cat/{number:03}.bmp").rename(data / f"train/cat/{number - 1:03}.bmp")
    with pytest.warns(UserWarning, match=r"\(9 changed, 1 removed\): 9 of the training images"):
        assert_same(build(data, cache), build(data))


def test_data_sets_with_equal_names_sizes_and_times_are_not_mixed(root: Path, cache: Path, tmp_path: Path) -> None:
    for level in (1, 2):
        copied(root, tmp_path / str(level) / "data", level=level)
    build(tmp_path / "1/data", cache)
    with pytest.warns(UserWarning, match="holds more images that are gone or changed than others: 20 of the training"):
        assert_same(build(tmp_path / "2/data", cache), build(tmp_path / "2/data"))


def test_data_sets_in_folders_of_different_names_have_their_own_files(
    root: Path, cache: Path, tmp_path: Path, decoded: list[str]
) -> None:
    shutil.copytree(root, other := tmp_path / "other")
    for _ in range(2):
        decoded.clear()
        for data in (root, other):
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="data.cache")
                build(data, cache)
    assert len(decoded) == 2  # the first image of each


def test_a_class_more_costs_its_own_images_alone(root: Path, cache: Path, decoded: list[str]) -> None:
    build(root, cache)
    for split in ("train", "test"):
        shutil.copytree(root / split / "cat", root / split / "ant")
    decoded.clear()
    with pytest.warns(UserWarning, match=r"\(10 added\): 10 of the training images"):
        data = build(root, cache)
    assert len(decoded) == 1 + 10 + 10
    assert_same(data, build(root))


def test_a_file_of_the_far_future_is_read(root: Path, cache: Path) -> None:
    os.utime(root / "train/dog/004.png", (2**34, 2**34))  # of 2514: in nanoseconds no int64
    assert_same(build(root, cache), build(root))


def test_a_link_that_leads_nowhere_is_tried_once(root: Path, cache: Path) -> None:
    (root / "train/cat/000.png").unlink()
    (root / "train/cat/000.png").symlink_to("nowhere.png")
    build(root, cache, skip_damaged=1)
    said = Said()
    build_data(config(root, cache, skip_damaged=1), seed=0, reporter=said)
    assert not said.said


def test_a_shard_that_was_written_again_is_decoded_again(
    root: Path, cache: Path, tmp_path: Path, decoded: list[str]
) -> None:
    shards = pack(root, tmp_path / "shards", shards=2)
    settings = DataConfig(name="webdataset", root=str(shards), cache=str(cache))
    build_data(settings, seed=0)
    renew(shards / "train/001.tar")
    decoded.clear()
    with pytest.warns(UserWarning, match=r"\(10 changed\): 10 of the training images"):
        data = build_data(settings, seed=0)
    assert {place.split("/")[1] for place in decoded[1:]} == {"001.tar"}
    assert_same(data, build_data(replace(settings, cache=None), seed=0))


def test_other_settings_have_their_own_files_and_both_stay(root: Path, cache: Path, decoded: list[str]) -> None:
    settings: list[dict[str, Any]] = [{}, {"size": 4}, {"size": 4, "resize": 5}, {"background": "red"}, {"channels": 1}]
    for more in settings:
        assert_same(build(root, cache, **more), build(root, **more))
    decoded.clear()
    for more in settings:
        assert_same(build(root, cache, **more), build(root, **more)) if more else build(root, cache)
    assert len(list(cache.glob("*.pixels"))) == 2 * len(settings)


def test_another_decoder_makes_it_anew(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(root, cache)
    before = {path.name for path in cache.glob("*.pixels")}
    monkeypatch.setattr(PIL, "__version__", "0.1")
    with pytest.warns(UserWarning, match=r"was made with another Pillow: 20 of the training images"):
        build(root, cache)
    after = {path.name for path in cache.glob("*.pixels")}
    assert len(after) == 2
    assert not before & after


def pixels(cache: Path, split: str = "train") -> Path:
    [path] = cache.glob(f"{split}-*.pixels")
    return path


def index(cache: Path) -> Path:
    [path] = cache.glob("train-*.npz")
    return path


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("stream", [False, True])
def test_a_flipped_bit_is_noticed_and_mended(root: Path, cache: Path, decoded: list[str], stream: bool) -> None:
    expected = build(root, stream=stream)
    build(root, cache)
    whole = pixels(cache).read_bytes()
    flip(pixels(cache), 4 * 108 + 7)
    with pytest.warns(UserWarning, match=r"data\.cache: .*pixels: .* damaged there, and decoded again"):
        assert_same(build(root, cache, stream=stream), expected)
    assert pixels(cache).read_bytes() == whole
    decoded.clear()
    data = build(root, cache, stream=stream)
    read_all(data.train)
    assert len(decoded) == 1
    assert_same(data, expected)


def test_damage_while_it_is_streamed_is_noticed(root: Path, cache: Path) -> None:
    data, expected = build(root, cache, stream=True, workers=1), build(root)
    read_all(data.train)
    with pixels(cache).open("rb+") as file:
        file.truncate(500)
    assert torch.equal(read_all(data.train), read_all(expected.train))


def test_what_is_damaged_is_not_replaced_by_another_image(root: Path, cache: Path) -> None:
    build(root, cache)
    split, _ = with_cache(config(root, cache), *folder_splits(config(root)))
    assert isinstance(split, CachedSplit)
    split.fill(torch.arange(20), QUIET)
    replaced(root)
    flip(pixels(cache), 14 * 108)
    content = pixels(cache).read_bytes()
    with pytest.warns(UserWarning, match="is damaged"):
        assert int(split[14][0].unique()) == 77
    assert pixels(cache).read_bytes() == content


def cut(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 1)


def forge(cache: Path, **columns: Any) -> None:
    with np.load(index(cache)) as file:
        arrays = dict(file)
    np.savez(index(cache), **(arrays | columns))


class Dangerous:
    """Says so when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pixels cut off": (lambda cache: cut(pixels(cache)), "has lost train-.*pixels, or the end of it"),
    "pixels gone": (lambda cache: pixels(cache).unlink(), "has lost train-.*pixels, or the end of it"),
    "index cut off": (lambda cache: cut(index(cache)), "has a damaged index"),
    "index empty": (lambda cache: index(cache).write_bytes(b""), "has a damaged index"),
    "bit of the index": (lambda cache: flip(index(cache), 1000), "has a damaged index"),
    "row beyond the end": (lambda cache: forge(cache, rows=np.arange(1, 21)), "has a damaged index"),
    "unknown alteration": (lambda cache: forge(cache, altered=np.full(20, 128, np.uint8)), "has a damaged index"),
    "columns of another length": (lambda cache: forge(cache, digests=np.zeros(19, np.int64)), "has a damaged index"),
    "code": (lambda cache: forge(cache, rows=np.array([Dangerous()], dtype=object)), "has a damaged index"),
    "no numbers": (lambda cache: forge(cache, about=np.frombuffer(b"[]", np.uint8)), "has a damaged index"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_made_anew(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], reason: str
) -> None:
    monkeypatch.chdir(root)
    expected = build(root)
    build(root, cache)
    damage(cache)
    with pytest.warns(UserWarning, match=f"{reason}: 20 of the training images .* are decoded"):
        assert_same(build(root, cache), expected)
    assert not Path("executed").exists()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="data.cache")
        build(root, cache)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the work is three images, and nothing is saved in between."""
    monkeypatch.setattr(image_cache, "_PART_BYTES", 3 * 108)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_work_that_was_interrupted_goes_on(
    root: Path,
    cache: Path,
    in_parts: None,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    real = ImageCache._add
    done = []

    def interrupted(self: ImageCache, part: Any, *more: Any) -> None:
        if len(done) == 4:
            raise error
        done.append(part)
        real(self, part, *more)

    with monkeypatch.context() as patched:
        patched.setattr(ImageCache, "_add", interrupted)
        with pytest.raises(error):
            build(root, cache)
    decoded.clear()
    assert_same(build(root, cache), build(root))
    assert len([place for place in decoded[: 1 + 8 + 20] if place.startswith("train")]) == 1 + 8


def test_what_was_written_behind_the_last_save_is_written_again(
    root: Path, cache: Path, in_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a SIGKILL: pixels of two more parts and a bit, which the index does not know."""
    monkeypatch.setattr(image_cache, "_SAVE_SECONDS", -1.0)
    real = ImageCache._save

    def killed(self: ImageCache, file: Any) -> None:
        if self._index.count > 9:
            file.write(bytes(100))
            file.flush()
            raise KeyboardInterrupt
        real(self, file)

    with monkeypatch.context() as patched:
        patched.setattr(ImageCache, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            build(root, cache)
    assert pixels(cache).stat().st_size == 12 * 108 + 200
    assert_same(build(root, cache), build(root))
    assert pixels(cache).stat().st_size == 20 * 108


class Said(Reporter):
    """Reporter that keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_of_two_that_fill_it_at_once_one_works_and_the_other_waits(
    root: Path, cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, reporters = threading.Event(), threading.Event(), [Said(), Said()]
    real, found = ImageCache._add, {}

    def held(self: ImageCache, *args: Any) -> None:
        began.set()
        assert go_on.wait(60)
        real(self, *args)

    def run(number: int) -> None:
        found[number] = build_data(config(root, cache), seed=0, reporter=reporters[number])

    monkeypatch.setattr(ImageCache, "_add", held)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    threads[0].start()
    assert began.wait(60)
    threads[1].start()
    while not reporters[1].said:
        threads[1].join(0.05)
        assert threads[1].is_alive()
    assert f"process {os.getpid()} on" in reporters[1].said[0]
    assert reporters[1].said[0].startswith("waiting: ")
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(decoded) == 2 + 20 + 20  # the first image in both, and the others once
    for number in range(2):
        assert_same(found[number], build(root))
    assert not list(cache.glob("*.lock"))


def test_with_a_limit_only_the_used_samples_are_decoded(root: Path, cache: Path, decoded: list[str]) -> None:
    few: dict[str, Any] = {"limit": 8, "test_limit": 4, "validation_fraction": 0.3}
    for stream in (False, True):
        data, expected = build(root, cache, stream=stream, **few), build(root, stream=stream, **few)
        used = torch.cat([expected.train_index, expected.validation_index])
        [mine], [theirs] = (source.train.batches([used]) for source in (data, expected))
        assert torch.equal(mine.x, theirs.x)
        assert mine.index.tolist() == theirs.index.tolist()
    assert pixels(cache).stat().st_size == 8 * 108
    assert pixels(cache, "test").stat().st_size == 4 * 108
    assert torch.equal(read_all(data.train), read_all(expected.train))  # the others come from their files
    decoded.clear()
    assert_same(build(root, cache), build(root))
    assert len([place for place in decoded[: 1 + 12 + 16] if place.startswith("train")]) == 1 + 12
    assert pixels(cache).stat().st_size == 20 * 108


@pytest.mark.parametrize("stream", [False, True])
def test_samples_that_cannot_be_read_are_skipped_as_without_a_cache(
    root: Path, cache: Path, decoded: list[str], stream: bool
) -> None:
    (root / "train/dog/003.png").write_bytes(b"no image")
    (root / "test/cat/000.png").unlink()
    (root / "test/cat/000.png").symlink_to("nowhere.png")
    how: dict[str, Any] = {"skip_damaged": 1, "stream": stream}
    for _ in range(2):
        decoded.clear()
        data, expected = build(root, cache, **how), build(root, **how)
        assert_same(data, expected)
        assert set(data.train.sample_log.unreadable) == {13}
    with pytest.raises(UserError) as ours:
        build(root, cache)
    with pytest.raises(UserError) as theirs:
        build(root)
    assert str(ours.value) == str(theirs.value)
    # Repaired, it is read, and the rest is not.
    Image.new("RGB", (6, 6), (9, 9, 9)).save(root / "train/dog/003.png")
    (root / "test/cat/000.png").unlink()
    Image.new("RGB", (6, 6), (8, 8, 8)).save(root / "test/cat/000.png")
    decoded.clear()
    data = build(root, cache)
    assert sorted(decoded[1:]) == ["test/cat/000.png", "train/dog/003.png"]
    assert_same(data, build(root))


def test_more_unreadable_samples_than_are_allowed_end_it_before_all_are_decoded(
    root: Path, cache: Path, in_parts: None, decoded: list[str]
) -> None:
    for number in (1, 2, 3):
        (root / f"train/cat/00{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"2 samples cannot be read, and data\.skip_damaged is 1"):
        build(root, cache, skip_damaged=1)
    assert len(decoded) < 10


@pytest.mark.parametrize("workers", [0, 2])
def test_random_crops_are_cut_from_the_files_and_the_rest_is_cached(
    root: Path, cache: Path, decoded: list[str], workers: int
) -> None:
    how: dict[str, Any] = {"size": 4, "resized_crop": 0.2, "workers": workers}
    said = Said()
    data = build_data(config(root, cache, **how), seed=0, reporter=said)
    assert any("data.resized_crop cuts training images" in line for line in said.said)
    assert pixels(cache).stat().st_size == len(data.validation_index) * 48
    assert pixels(cache, "test").stat().st_size == 20 * 48
    assert_same(data, build(root, **how))
    if not workers:
        decoded.clear()
        list(data.train.batches([data.validation_index]))
        read_all(data.test)
        assert not decoded


def test_a_file_that_names_the_folder_lets_it_be_read_alone(root: Path, cache: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"extends: folder-iaat\ndata: {{root: {root}, cache: {cache}, size: 6, crop: 0, flip: false}}\n")
    expected = build(root, size=6)
    with pytest.warns(UserWarning, match=r"lacks 20 of the training images .* type --data\.cache .*cache to keep"):
        assert_same(build_data(load_recipe(recipe).data, seed=0), expected)
    assert not cache.exists()
    build_data(load_recipe(recipe, [f"--data.cache={cache}"]).data, seed=0)
    state = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="data.cache")
        assert_same(build_data(load_recipe(recipe).data, seed=0), expected)
    replaced(root)
    with pytest.warns(UserWarning, match=r"lacks 1 of the training images"):
        assert_same(build_data(load_recipe(recipe).data, seed=0), build(root, size=6))
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == state


def test_a_run_may_go_on_with_it_or_without() -> None:
    plain, kept = (load_recipe("folder-iaat", ["--data.root=x", *more]) for more in ([], ["--data.cache=c"]))
    assert recipe_differences(plain, kept) == []


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_space_is_noticed_before_anything_is_decoded(
    root: Path, cache: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6, 5120))  # enough for one split
    message = (
        r"data\.cache is .*cache, .*its disk has 0\.00488 MiB left.*needs 0\.00656 MiB for 40 images: make room, .*"
        r"leave data\.cache out"
    )
    with pytest.raises(UserError, match=message):
        build(root, cache)
    assert len(decoded) == 1
    assert not cache.exists()


def test_a_write_that_fails_names_key_size_and_fix(
    root: Path, cache: Path, in_parts: None, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ImageCache._add
    done = []

    def full(self: ImageCache, part: Any, *more: Any) -> None:
        if len(done) == 2:
            raise OSError(28, "No space left on device")
        done.append(part)
        real(self, part, *more)

    with monkeypatch.context() as patched:
        patched.setattr(ImageCache, "_add", full)
        with pytest.raises(UserError, match=r"data\.cache is .*No space left on device.*; it needs 0\.00328 MiB"):
            build(root, cache)
    decoded.clear()
    build(root, cache)
    assert len([place for place in decoded if place.startswith("train")]) == 1 + 14


UNUSABLE = {
    "file": "which is no folder: give another folder, or leave",
    "file/inside": r"which cannot be written \(Not a directory\): give another folder, or leave",
    "x" * 300: r"which cannot be read \(File name too long\): give another folder, or leave",
    "images/train": "which lies in .*images/train, among the images: give a folder beside it, such as .*images/cache",
    "images/test/new": "which lies in .*images/test, among the images",
}


@pytest.mark.parametrize(("place", "reason"), UNUSABLE.items(), ids=["file", "in file", "long", "train", "in test"])
def test_a_folder_that_cannot_be_used_is_refused(
    root: Path, tmp_path: Path, place: str, reason: str, decoded: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    root = root.rename(tmp_path / "images")
    with pytest.raises(UserError, match=rf"^data\.cache is \S+, {reason}"):
        build(root, tmp_path / place)
    assert len(decoded) == 1
    if "inside" not in place:
        with pytest.raises(UserError, match=reason):
            read_dataset_info(config(root, tmp_path / place), seed=0)


def test_nothing_is_written_through_a_link(
    root: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(root, cache)
    other, name = tmp_path / "other", pixels(cache)
    other.write_bytes(b"mine")
    index(cache).unlink()
    name.unlink()
    name.symlink_to(other)
    monkeypatch.setattr(ImageCache, "_generations", lambda _: {})  # the link is made just before the file would be
    with pytest.raises(UserError, match=r"data\.cache is .*symbolic links"):
        build(root, cache)
    assert other.read_bytes() == b"mine"


def test_nothing_is_written_into_a_file_that_has_another_name(root: Path, cache: Path, tmp_path: Path) -> None:
    build(root, cache)
    os.link(pixels(cache), tmp_path / "backup")
    flip(pixels(cache), 4 * 108 + 7)
    content = pixels(cache).read_bytes()
    with pytest.warns(UserWarning, match="damaged there"):
        build(root, cache)
    added(root)
    with pytest.raises(UserError, match=r"cannot be written \(train-.*pixels is a hard link to a file"):
        build(root, cache)
    assert (tmp_path / "backup").read_bytes() == content


def test_no_folder_is_an_error_of_the_recipe() -> None:
    with pytest.raises(UserError, match=r"data\.cache is empty"):
        DataConfig(cache=" ")


def test_it_has_no_effect_where_there_are_no_image_files(cache: Path) -> None:
    with pytest.warns(UserWarning, match=r"data\.cache='.*cache' has no effect with data\.name=digits"):
        build_data(DataConfig(cache=str(cache)), seed=0)
    assert not cache.exists()


def test_check_counts_what_is_there(root: Path, cache: Path) -> None:
    assert read_dataset_info(config(root)).cached is None
    few: dict[str, Any] = {"limit": 8, "test_limit": 4, "split_seed": None}

    def counted(*, seed: int = 0, **settings: Any) -> Any:
        return read_dataset_info(config(root, cache, **settings), seed=seed).cached

    assert read_dataset_info(config(root, cache)).cached is None
    assert counted() == (0, 40)
    assert not cache.exists()
    build(root, cache, **few)
    assert counted(**few) == (12, 12)
    assert counted() == (12, 40)
    assert counted(size=4, resized_crop=0.5) == (0, 2 + 20)
    others = counted(**few, seed=5)
    assert others.wanted == 12
    assert others.held < 12  # other samples are drawn
    assert others.wanted - others.held == filled_by(lambda: build_data(config(root, cache, **few), seed=5), cache)


def filled_by(act: Callable[[], object], cache: Path) -> int:
    """How many images were decoded into the cache."""
    before = sum(path.stat().st_size for path in cache.glob("*.pixels"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="data.cache")
        act()
    return (sum(path.stat().st_size for path in cache.glob("*.pixels")) - before) // 108


def test_the_index_of_a_full_cache_is_read_once_a_split(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(root, cache)
    read, real = [], CacheIndex.read
    monkeypatch.setattr(CacheIndex, "read", lambda *args: read.append(args[0].name) or real(*args))
    build(root, cache)
    assert [name.split("-")[0] for name in read] == ["train", "test"]


def squeezed(text: str) -> str:
    """Text without blanks: a table breaks long paths anywhere."""
    return "".join(text.split())


def test_check_says_what_will_be_written(
    root: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "folder-natural", "--data.root", str(root), "--data.size", "512", "--model", "small-cnn"]
    assert main(words) == 0
    assert squeezed("images are in") not in squeezed(capsys.readouterr().out)
    assert main([*words, "--data.cache", str(cache)]) == 0
    assert squeezed(f"0 of 40 images are in {cache}; 30 MiB will be written") in squeezed(capsys.readouterr().out)
    recipe = tmp_path / "mine.yaml"
    data = f"data: {{root: {root}, cache: {cache}, size: 512}}"
    recipe.write_text(f"extends: folder-natural\n{data}\nmodel: {{name: small-cnn}}\n")
    assert main(["check", str(recipe)]) == 0
    rest = f"a file names data.cache, so nothing is written: type --data.cache {cache}"
    assert squeezed(f"0 of 40 images are in {cache}; {rest}") in squeezed(capsys.readouterr().out)


def test_a_split_travels_to_another_process(root: Path, cache: Path) -> None:
    build(root, cache)
    split, _ = with_cache(config(root, cache), *folder_splits(config(root)))
    assert isinstance(split, CachedSplit)
    split.fill(torch.arange(20), QUIET)
    expected = split.load(torch.arange(20))
    copied = pickle.loads(pickle.dumps(split))
    assert torch.equal(torch.stack([copied[position][0] for position in range(20)]), expected)
    assert torch.equal(copied.load(torch.tensor([7, 3, 4, 19, 0])), expected[[7, 3, 4, 19, 0]])


def test_files_of_images_that_are_gone_do_not_grow_for_ever(root: Path, cache: Path) -> None:
    build(root, cache)
    for turn in range(3):
        for path in (root / "train").rglob("*.png"):
            renew(path)
        with pytest.warns(UserWarning, match="data.cache"):
            build(root, cache)
        assert pixels(cache).stat().st_size == 20 * 108, turn


class FakeRanks:
    """The main one of several processes, which has to fill the cache before the others build."""

    several, main = True, True

    def __init__(self, decoded: Sequence[str]) -> None:
        self.decoded, self.seen = decoded, list[tuple[str, int]]()

    def each(self, compute: Callable[[], object]) -> object:
        found = compute()
        self.seen.append(("filled", len(self.decoded)))
        return found

    def main_first(self, act: Callable[[], object]) -> object:
        found = act()
        self.seen.append(("built", len(self.decoded)))
        return found


def test_of_several_processes_the_main_one_fills_it_while_the_others_wait(
    root: Path, cache: Path, decoded: list[str]
) -> None:
    ranks: Any = FakeRanks(decoded)
    build_data(config(root, cache), seed=0, ranks=ranks)
    assert ranks.seen == [("filled", 41), ("built", 42)]


@pytest.fixture(autouse=True)
def no_leftovers(cache: Path) -> Iterator[None]:
    yield
    assert not list(cache.glob(".*")) if cache.exists() else True
