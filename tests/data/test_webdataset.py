"""Tar shards give the batches of the same images in a folder; what is wrong in them is named by shard and sample."""

import io
import os
import pickle
import random
import shutil
import subprocess
import tarfile
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from iaat.data import DataConfig, InMemorySource, StreamingSource, build_data, read_dataset_info, tar_index, webdataset
from iaat.data.image import MOST_FILE_BYTES
from iaat.data.tar_index import list_shards
from iaat.data.tar_scan import ShardListing
from iaat.data.webdataset import ShardFiles, webdataset_splits
from iaat.errors import UserError

Content = bytes | tarfile.TarInfo
INDEX = ".iaat-index-train.npz"


def write_tar(path: Path, members: Sequence[tuple[str, Content]], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as tar:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def png(colour: int = 0, size: tuple[int, int] = (6, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(file, "png")
    return file.getvalue()


def sample(key: str, label: int | bytes, colour: int = 0) -> list[tuple[str, Content]]:
    return [(f"{key}.cls", label if isinstance(label, bytes) else b"%d" % label), (f"{key}.png", png(colour))]


def root_with(tmp_path: Path, *members: tuple[str, Content], name: str = "train/000.tar") -> Path:
    """A root with a shard `name` of these members, in order else."""
    root = tmp_path / "shards"
    for split in ("train", "test"):
        write_tar(root / split / "999.tar", [*sample("zero", 0), *sample("one", 1)])
    write_tar(root / name, members)
    return root


def splits(root: Path, **settings: Any) -> Any:
    return webdataset_splits(DataConfig(name="webdataset", root=str(root), **settings))


def pack(folder: Path, root: Path, *, shards: int = 3, prefix: str = "{split}/", **how: Any) -> Path:
    """Pack an image folder into shards in the order of its indices."""
    for split in ("train", "test"):
        files = sorted((folder / split).rglob("*.png"))
        classes = sorted({file.parent.name for file in files})
        for shard, part in enumerate(np.array_split(np.array(files, dtype=object), shards)):
            members: list[tuple[str, Content]] = []
            for file in part:
                key = f"{file.parent.name}-{file.stem}"
                members += [
                    (f"{key}.png", file.read_bytes()),
                    (f"{key}.cls", b"%d\n" % classes.index(file.parent.name)),
                ]
                members += [(f"{key}.json", b"{}"), (f"{key}.seg.png", b"a mask")]
            write_tar(root / f"{prefix.format(split=split)}{shard:03}.tar", members, **how)
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    return make_folder(per_class=7)


def read_all(source: Any, **how: Any) -> Tensor:
    return torch.cat([batch.x for batch in source.batches(torch.arange(len(source)).split(5), **how)])


def test_shards_give_the_batches_of_the_folder(folder: Path, tmp_path: Path) -> None:
    root = pack(folder, tmp_path / "shards")
    settings: dict[str, Any] = {"crop": 2, "flip": True, "size": 5, "resize": 6}
    of_folder = build_data(DataConfig(name="folder", root=str(folder), **settings), seed=0)
    for stream, workers in ((False, 0), (True, 0), (True, 2)):
        config = DataConfig(name="webdataset", root=str(root), stream=stream, workers=workers, **settings)
        data = build_data(config, seed=0)
        assert isinstance(data.train, StreamingSource if stream else InMemorySource)
        assert data.classes == of_folder.classes == ("cat", "dog")
        for ours, theirs in ((data.train, of_folder.train), (data.test, of_folder.test)):
            assert torch.equal(ours.labels, theirs.labels)
            assert torch.equal(read_all(ours, augment=(3, 1)), read_all(theirs, augment=(3, 1)))
            assert torch.equal(read_all(ours), read_all(theirs))
        assert torch.equal(data.mean, of_folder.mean)
        assert torch.equal(data.validation_index, of_folder.validation_index)
    assert data.train.paths is not None
    assert data.train.paths[:6:5] == ["train/000.tar/cat-000.png", "train/001.tar/cat-005.png"]


def test_random_crops_are_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    root = pack(folder, tmp_path / "shards")
    both = []
    for name, place, workers in (("folder", folder, 0), ("webdataset", root, 0), ("webdataset", root, 2)):
        config = DataConfig(name=name, root=str(place), size=4, resized_crop=0.2, workers=workers)
        both.append(read_all(build_data(config, seed=0).train, augment=(0, 1)))
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[0], both[2])


def test_it_is_streamed_where_memory_ends(folder: Path, tmp_path: Path) -> None:
    root = str(pack(folder, tmp_path / "shards"))
    needed = 28 * 6 * 6 * 3 / 2**30
    for memory, kind in ((needed, InMemorySource), (needed * 0.99, StreamingSource)):
        assert isinstance(build_data(DataConfig(name="webdataset", root=root, memory_gb=memory), seed=0).train, kind)


def test_facts_and_settings(folder: Path, tmp_path: Path) -> None:
    config = DataConfig(name="webdataset", root=str(pack(folder, tmp_path / "shards")), size=5, channels=1)
    facts = read_dataset_info(config)
    assert (facts.shape, facts.classes, facts.train_size, facts.test_size) == ((1, 5, 5), 2, 14, 14)
    assert facts.sample_bytes == 25
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* has no effect")
        build_data(config, seed=0)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_image_is_what_tarfile_extracts(tmp_path: Path, form: int) -> None:
    names = ["a/b.c/key", "x" * 60 + "/" + "y" * 60, "../../etc/passwd", "/absolute", "C:\\key", "dash-1", "dash"]
    if form != tarfile.USTAR_FORMAT:
        names += ["é" * 70, "z" * 300, "new\nline"]
    members = [each for number, name in enumerate(names) for each in sample(name, number % 2, number)]
    root = tmp_path / "shards"
    for path in ("train/b.tar", "train/a.tar", "test/a.tar"):
        write_tar(root / path, members, format=form, pax_headers={"comment": "global"})
    for _ in range(2):  # from the shards, then from the index
        listing = list_shards(root, "train")
        assert listing.names == [f"{name}.png" for name in names] * 2
        assert listing.shards == ["train/a.tar", "train/b.tar"]
        files = ShardFiles(root, "train", listing)
        with tarfile.open(root / "train/a.tar") as tar:
            for position, name in enumerate(listing.names[: len(names)]):
                extracted = tar.extractfile(name)
                assert extracted is not None
                assert files.content(position) == files.content(position + len(names)) == extracted.read()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        ".iaat-index-train.npz",
        *("a.tar", "a.tar", "b.tar"),
    ]


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program")
def test_shards_of_the_tar_program(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        files = tmp_path / "flat" / split
        files.mkdir(parents=True)
        for image in (folder / split).rglob("*.png"):
            key = f"{image.parent.name}{image.stem}"
            (files / f"{key}.png").write_bytes(image.read_bytes())
            (files / f"{key}.cls").write_text(str(["cat", "dog"].index(image.parent.name)))
        shard = tmp_path / "shards" / f"{split}-0.tar"
        shard.parent.mkdir(exist_ok=True)
        subprocess.run(["tar", "--sort=name", "-cf", shard, "-C", files, "."], check=True)
    train, test = splits(tmp_path / "shards")
    assert train.classes == ("0", "1")
    assert train.paths[:2] == ["train-0.tar/cat000.png", "train-0.tar/cat001.png"]
    for split, mark in ((train, 1), (test, 2)):
        assert split.load(torch.arange(14))[:, 0, 0, 0].tolist() == [mark] * 7 + [10 + mark] * 7


@pytest.mark.parametrize("prefix", ["{split}/", "{split}-"])
def test_both_layouts_are_found_and_other_files_left_out(folder: Path, tmp_path: Path, prefix: str) -> None:
    root = pack(folder, tmp_path / "shards", prefix=prefix)
    (root / f"{prefix.format(split='train')}notes.txt").write_text("no shard")
    (root / f"{prefix.format(split='train')}0.tar.idx").write_text("no shard")
    (root / "training.tar").write_text("no shard")
    (root / ".train-hidden.tar").write_text("no shard")
    train, test = splits(root)
    assert len(train) == len(test) == 14


def test_the_split_of_validation_is_the_test_split(folder: Path, tmp_path: Path) -> None:
    root = pack(folder, tmp_path / "shards")
    (root / "test").rename(root / "val")
    assert splits(root)[1].paths[0] == "val/000.tar/cat-000.png"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"data\.root: .*shards has no tar files of the train split: the layout is train/\*\.tar and test/\*\.tar"),
        (["train/0.tar.gz"], r"train/0\.tar\.gz: a compressed tar cannot be read at any place: unpack it to a plain"),
        (["train-0.tgz"], r"train-0\.tgz: a compressed tar"),
        (["train/0.tar"], r"has no tar files of the test split"),
    ],
)
def test_missing_and_compressed_shards_are_named(tmp_path: Path, names: list[str], message: str) -> None:
    root = tmp_path / "shards"
    root.mkdir()
    for name in names:
        write_tar(root / name, [*sample("a", 0), *sample("b", 1)])
    with pytest.raises(UserError, match=message):
        splits(root)


def test_root_is_needed_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is not set: data\.name=webdataset needs the folder with train"):
        DataConfig(name="webdataset")
    with pytest.raises(UserError, match=r"nowhere is no folder \(seen from"):
        splits(tmp_path / "nowhere")


def special(kind: bytes, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type = kind
    for name, value in fields.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", png())], r"000\.tar/a\.png: the sample 'a' has no class: add a\.cls"),
        ([("a.b.png", png())], r"000\.tar/a\.b\.png: the sample 'a\.b' has no class: add a\.b\.cls"),
        (
            [("a.b.png", png()), ("a.c.png", png()), ("a.cls", b"0")],
            r"000\.tar/a\.b\.png: the sample 'a\.b' has no class: add a\.b\.cls",
        ),
        (
            [*sample("a.1", 0), ("a.2.cls", b"0")],
            r"000\.tar/a\.2\.cls: the sample 'a\.2' has a class, but no image",
        ),
        ([("a.cls", b"0")], r"000\.tar/a\.cls: the sample 'a' has a class, but no image"),
        ([*sample("a", 0), ("a.jpg", png())], r"000\.tar/a\.jpg: is the second image of the sample 'a', beside a\.png"),
        ([*sample("a", 0), ("a.cls", b"1")], r"000\.tar/a\.cls: is the second class of the sample 'a'"),
        (sample("a", b"cat"), r"000\.tar/a\.cls: holds 'cat', not a class number: write a whole number from 0"),
        (sample("a", b"-1"), r"a\.cls: holds '-1'"),
        (sample("a", b"1.0"), r"a\.cls: holds '1\.0'"),
        (sample("a", b""), r"a\.cls: holds ''"),
        (sample("a", "٣".encode()), r"a\.cls: holds '٣'"),
        (sample("a", b"9" * 5000), r"a\.cls: holds '9{33}', not"),
        (sample("a", b"1" + b" " * 5000 + b"2"), r"a\.cls: holds '1 +', not"),
        (sample("a", b"\xff\x00"), r"a\.cls: holds '�\\x00'"),
        (
            sample("a", b"999999999"),
            r"000\.tar/a\.png: has class number 999999999, outside 0\.\.2 \(training samples: 3",
        ),
        ([("a.png", special(tarfile.SYMTYPE, linkname="/etc/passwd"))], r"000\.tar/a\.png: is a link, a device"),
        ([("a.png", special(tarfile.LNKTYPE, linkname="zero.png"))], r"000\.tar/a\.png: is a link, a device"),
        ([("a.cls", special(tarfile.CHRTYPE))], r"000\.tar/a\.cls: is a link, a device"),
        ([("a.cls", special(tarfile.FIFOTYPE))], r"000\.tar/a\.cls: is a link, a device"),
    ],
)
def test_what_is_wrong_in_a_shard_is_named(tmp_path: Path, members: list[tuple[str, Content]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        splits(root_with(tmp_path, *members))


def test_members_that_are_neither_image_nor_class_are_left_out(tmp_path: Path) -> None:
    others: list[tuple[str, Content]] = [
        ("folder.png", special(tarfile.DIRTYPE)),
        *(("link.txt", special(tarfile.SYMTYPE, linkname="a")), ("._a.png", b"of a Mac"), ("notes", b"")),
        *(("A.CLS", b" 1\r\n"), ("A.PNG", png(9))),
    ]
    train, _ = splits(root_with(tmp_path, *others))
    assert train.paths[0] == "train/000.tar/A.PNG"
    assert len(train) == 3
    assert train[0][0][0, 0, 0] == 9
    assert train[0][1] == 1


def test_keys_with_dots_are_read_as_well_as_those_without(tmp_path: Path) -> None:
    keys = [f"img_{scale}_{number}" for scale in ("0.5", "1", "2.5", "3") for number in range(3)]
    members = [member for label, key in enumerate(keys) for member in sample(key, label % 2, colour=label + 1)]
    train, _ = splits(root_with(tmp_path, *members))
    assert train.paths[:12] == [f"train/000.tar/{key}.png" for key in keys]
    assert train.labels[:12].tolist() == [number % 2 for number in range(12)]
    assert [int(train[position][0][0, 0, 0]) for position in range(12)] == list(range(1, 13))
    assert len(train.notices) == 0


def test_an_image_and_a_class_alone_under_a_key_are_a_sample(tmp_path: Path) -> None:
    train, _ = splits(root_with(tmp_path, ("a.input.png", png(7)), ("a.cls", b"1"), *sample("b", 0)))
    assert train.paths[0] == "train/000.tar/a.input.png"
    assert (int(train[0][0][0, 0, 0]), train[0][1]) == (7, 1)


def test_members_that_are_left_out_are_counted_also_from_the_index(tmp_path: Path) -> None:
    members: list[tuple[str, Content]] = [
        *(("a.seg.png", png()), ("a.json", b"{}"), ("b.json", b"{}"), ("c.heic2", b"?"), ("d.jxl", b"?")),
        *(("._a.png", b"of a Mac"), ("__MACOSX/a.png", b"of a Mac"), (".hidden.png", png()), *sample("a", 0)),
    ]
    root = root_with(tmp_path, *members)
    for _ in range(2):
        train, test = splits(root)
        assert {notice.kind: (notice.count, notice.details) for notice in train.notices} == {
            "unread": (1, {".jxl": 1}),
            "system": (2, {}),
            "hidden": (1, {}),
            "member": (4, {".json": 2, ".heic2": 1, ".png": 1}),
        }
        assert len(test.notices) == 0
        assert (root / INDEX).exists()


def test_a_validation_split_of_shards_is_used_on_a_key_and_else_noted(tmp_path: Path) -> None:
    root = root_with(tmp_path, *sample("a", 0), *sample("b", 1))
    write_tar(root / "val/000.tar", [*sample("v", 1, colour=9), *sample("w", 0)])
    train, _ = splits(root)
    assert [(notice.kind, notice.example) for notice in train.notices] == [("split", "val")]
    data = build_data(DataConfig(name="webdataset", root=str(root), validation="val"), seed=0)
    assert data.train_index.tolist() == [0, 1, 2, 3]
    assert data.validation_index.tolist() == [4, 5]
    assert data.train.labels[data.validation_index].tolist() == [1, 0]
    assert data.train.paths is not None
    assert data.train.paths[4] == "val/000.tar/v.png"
    (batch,) = data.train.batches([torch.tensor([4])])
    assert round(float(batch.x[0, 0, 0, 0] * 255)) == 9
    assert all(notice.kind != "split" for notice in data.notices())
    with pytest.raises(UserError, match=r"data\.validation is 'test', which is the test folder already"):
        splits(root, validation="test")
    (root / "test").rename(root / "valid")
    (root / "val").rename(root / "other")
    with pytest.raises(UserError, match=r"validation is 'test' \(found as 'valid'\), which is the test folder already"):
        splits(root, validation="test")


def test_a_damaged_image_is_named_by_its_shard(tmp_path: Path) -> None:
    root = root_with(tmp_path, ("a/b.cls", b"0"), ("a/b.png", b"no image"), name="train/zzz.tar")
    train, _ = splits(root)
    message = r"^[^\n]*train/zzz\.tar/a/b\.png: cannot be read as an image \(it is not BMP"
    with pytest.raises(UserError, match=message):
        train.load(torch.arange(3))
    with pytest.raises(UserError, match=message):
        list(StreamingSource(train, train.labels, train.classes, workers=1).batches([torch.arange(3)]))


def test_images_of_other_sizes_are_named(tmp_path: Path) -> None:
    root = root_with(tmp_path, ("a.cls", b"0"), ("a.png", png(size=(7, 6))), name="test/000.tar")
    _, test = splits(root)
    message = (
        r"test/000\.tar/a\.png has shape \[3, 6, 7\].*, but .*train/000\.tar/|train/999\.tar/zero\.png has \[3, 6, 6\]"
    )
    with pytest.raises(UserError, match=message):
        test.load(torch.arange(3))


def raw_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar header that states any size, also below 0, with a checksum that is right."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


END = bytes(1024)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"no tar at all" * 100, "invalid header"),
        (raw_header("a.png", -1024) + END, "-1024 bytes"),
        (raw_header("a.png", -512) + END, "-512 bytes"),
        (raw_header("a.txt", 1 << 40) + END, "unexpected end of data"),
        (raw_header("a", 1 << 40, tarfile.GNUTYPE_LONGNAME) + END, "a header of 1099511627776 bytes"),
        (raw_header("a", 1 << 40, tarfile.XHDTYPE) + END, "a header of 1099511627776 bytes"),
        (raw_header("a", -4096, tarfile.XHDTYPE) + END, "a header of -4096 bytes"),
        (b"".join(raw_header("a", 0, tarfile.GNUTYPE_LONGNAME) for _ in range(5000)) + END, ""),
        (raw_header("a.txt", 0) + b"garbage" * 200, "cut off or damaged at byte 512"),
        (raw_header("a.txt", 0), "cut off or damaged at byte 512"),
    ],
)
def test_a_broken_tar_is_refused_without_reading_what_it_claims(tmp_path: Path, content: bytes, message: str) -> None:
    """A header may claim a terabyte."""
    root = root_with(tmp_path)
    (root / "train/000.tar").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UserError, match=rf"train/000\.tar: cannot be read as an uncompressed tar file \(.*{message}"):
        splits(root)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_an_image_of_more_bytes_than_are_read_is_refused_before_it_is(tmp_path: Path) -> None:
    root = root_with(tmp_path)
    with (root / "train/000.tar").open("wb") as file:  # sparse: it takes no room on the disk
        file.write(raw_header("a.png", MOST_FILE_BYTES + 1))
        file.truncate(MOST_FILE_BYTES + 4096)
    with pytest.raises(UserError, match=r"000\.tar/a\.png: has 536,870,913 bytes, more than any image that is read"):
        splits(root)


def test_a_pipe_is_no_shard(tmp_path: Path) -> None:
    root = root_with(tmp_path)
    (root / "train/000.tar").unlink()
    os.mkfifo(root / "train/000.tar")
    with pytest.raises(UserError, match=r"000\.tar: is no regular file"):
        splits(root)


def test_a_shard_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    root = root_with(tmp_path, *sample("a", 0), *sample("b", 1))
    whole = (root / "train/000.tar").read_bytes()
    used = whole.rstrip(b"\0")
    for length in (0, 100, 512, 513, 1024, 1536, 2048, len(used) - 1, len(used)):
        (root / "train/000.tar").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"000\.tar: cannot be read as an uncompressed tar file"):
            splits(root)


def test_damage_to_a_shard_is_a_refusal_or_another_listing(tmp_path: Path) -> None:
    root = root_with(tmp_path, *sample("a", 0), *sample("b" * 120, 1))
    whole, dice = (root / "train/000.tar").read_bytes()[:6144], random.Random(0)
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            # Most of it in the headers.
            block = 512 * dice.randrange(len(content) // 512)
            content[block + dice.choice([0, 124, 130, 148, 156, 157, 257, 345, 400])] = dice.randrange(256)
        (root / "train/000.tar").write_bytes(content)
        try:
            list_shards(root, "train")
        except UserError:
            refused += 1
    assert refused > 100


def test_classes_are_named_by_a_file(tmp_path: Path) -> None:
    root = root_with(tmp_path, *sample("two", 2))
    assert splits(root)[0].classes == ("0", "1", "2")
    (root / "classes.txt").write_text("zéro\r\none\ntwo words\n\n", encoding="utf-8")
    assert splits(root)[0].classes == ("zéro", "one", "two words")
    (root / "classes.txt").write_text("zéro\none\ntwo\n", encoding="utf-8-sig")  # as Windows saves text
    assert splits(root)[0].classes == ("zéro", "one", "two")
    (root / "classes.txt").write_text("zero\none\n")
    with pytest.raises(UserError, match=r"two\.png: has class number 2, outside 0\.\.1 \(.*classes\.txt\): number"):
        splits(root)
    (root / "classes.txt").write_text("zero\n\none\n")
    with pytest.raises(UserError, match=r"classes\.txt: line 2 is empty"):
        splits(root)
    (root / "classes.txt").write_bytes(b"z\xe9ro\none\ntwo")
    with pytest.raises(UserError, match=r"classes\.txt: cannot be read .* in UTF-8"):
        splits(root)
    (root / "classes.txt").write_text("zero\none\ntwo\nthree\n")
    with pytest.raises(UserError, match=r"training images of .*: no samples of class 'three'"):
        build_data(DataConfig(name="webdataset", root=str(root)), seed=0)


def test_the_index_spares_the_shards_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(tmp_path, *sample("a", 0))
    scans: list[int] = []
    scan = tar_index.scan_shards
    monkeypatch.setattr(tar_index, "scan_shards", lambda *words, **more: scans.append(1) or scan(*words, **more))

    def listed() -> ShardListing:
        return list_shards(root, "train")

    first, again = listed(), listed()
    assert len(scans) == 1
    assert again.names == first.names == ["a.png", "zero.png", "one.png"]
    assert again.paths == first.paths
    for name in ("shard", "offset", "size", "labels"):
        assert np.array_equal(getattr(again, name), getattr(first, name))
    os.utime(root / "train/000.tar", ns=(1, 1))
    listed()
    assert len(scans) == 2
    write_tar(root / "train/000.tar", [*sample("a", 0), *sample("b", 1)])
    assert listed().names == ["a.png", "b.png", "zero.png", "one.png"]
    (root / "train/000.tar").rename(root / "train/zzz.tar")
    assert listed().paths[-1] == "train/zzz.tar/b.png"
    assert len(scans) == 4
    listed()
    assert len(scans) == 4


def test_an_index_that_is_damaged_or_lies_is_made_anew(tmp_path: Path) -> None:
    root = root_with(tmp_path, *sample("a", 0))
    expected = list_shards(root, "train")
    whole, dice = (root / INDEX).read_bytes(), random.Random(0)
    with np.load(root / INDEX) as file:
        arrays = dict(file)
    lies: list[dict[str, Any]] = [
        {"offset": arrays["offset"] + 10**7},
        {"offset": -arrays["offset"]},
        {"size": arrays["size"] + 10**6},
        {"size": -arrays["size"]},
        {"shard": arrays["shard"] + 2},
        {"labels": arrays["labels"] - 1},
        {"labels": arrays["labels"].astype(np.float64)},
        {"labels": arrays["labels"][:2]},
        {"labels": np.zeros(10**6, dtype=np.int64)},
        {"names": np.frombuffer(b'["a", "b"]', dtype=np.uint8)},
        {"names": np.frombuffer(b"[1, 2, 3]", dtype=np.uint8)},
        {"names": np.frombuffer(b"[" * 10**4, dtype=np.uint8)},
        {"names": np.array([_Touch(tmp_path / "ran")], dtype=object)},
    ]
    contents = [whole[: len(whole) // 2], b"", b"no archive"]
    for lie in lies:
        file = io.BytesIO()
        np.savez(file, **{**arrays, **lie})
        contents.append(file.getvalue())
    for _ in range(100):
        content = bytearray(whole)
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        contents.append(bytes(content))
    for content in contents:
        (root / INDEX).write_bytes(content)
        found = list_shards(root, "train")
        assert found.paths == expected.paths
        for name in ("shard", "offset", "size", "labels"):
            assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert not (tmp_path / "ran").exists()


class _Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_root_that_cannot_be_written_is_read_all_the_same(tmp_path: Path) -> None:
    root = root_with(tmp_path, *sample("a", 0))
    (root / INDEX).mkdir()  # no file can take its place, not even one of the superuser
    assert list_shards(root, "train").names == list_shards(root, "train").names
    assert len(list_shards(root, "train").names) == 3
    assert sorted(path.name for path in root.iterdir()) == [INDEX, "test", "train"]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are not to be counted here")
def test_few_shards_are_open_at_a_time_and_none_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "_MOST_OPEN", 3)
    root = tmp_path / "shards"
    for number in range(10):
        write_tar(root / f"train/{number}.tar", sample(f"k{number}", number % 2, number))
    write_tar(root / "test/0.tar", sample("k", 0))
    before = open_files()
    train, _ = splits(root)
    for position in (*range(10), *range(10)):
        assert train[position][0][0, 0, 0] == position
        assert open_files() <= before + 4
    copy = pickle.loads(pickle.dumps(train))
    assert [int(copy[position][0][0, 0, 0]) for position in range(10)] == list(range(10))
    del train, copy
    assert open_files() <= before + 1  # the test split's first image


def test_images_are_read_where_there_is_no_pread(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pack(folder, tmp_path / "shards")
    expected = splits(root)[0].load(torch.arange(14))
    monkeypatch.delattr(os, "pread")
    assert torch.equal(splits(root)[0].load(torch.arange(14)), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_changes_or_goes_while_it_is_streamed_is_named(folder: Path, tmp_path: Path, workers: int) -> None:
    root = pack(folder, tmp_path / "shards")
    train, _ = splits(root)
    source = StreamingSource(train, train.labels, train.classes, workers=workers)
    with (root / "train/002.tar").open("r+b") as file:
        file.truncate(520)
    with pytest.raises(UserError, match=r"002\.tar/dog-003\.png: ends too early, the shard has changed"):
        list(source.batches([torch.arange(14)]))
    (root / "train/002.tar").unlink()
    train, _ = pickle.loads(pickle.dumps((train, None)))
    source = StreamingSource(train, train.labels, train.classes, workers=workers)
    with pytest.raises(UserError, match=r"002\.tar: cannot be read \(No such file or directory\): put it back"):
        list(source.batches([torch.arange(14)]))
