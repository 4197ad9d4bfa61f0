"""What is found in an image folder, in which order, and what is said when it is not there."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from iaat.data import scan_folder
from iaat.data.folder_listing import aligned
from iaat.data.image import decode
from iaat.data.image_root import is_image_folder
from iaat.errors import UserError


def test_listing_is_sorted_with_ids_relative_to_the_root(make_folder: Callable[..., Path]) -> None:
    listing = scan_folder(make_folder(classes=("dog", "Cat", "bee"), per_class=2), "train")
    assert listing.classes == ("Cat", "bee", "dog")
    assert listing.paths == [f"train/{name}/{number:03}.png" for name in ("Cat", "bee", "dog") for number in (0, 1)]
    assert listing.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_names_of_the_test_folder(make_folder: Callable[..., Path], name: str) -> None:
    root = make_folder(test=name, per_class=1)
    assert scan_folder(root, "test").paths == [f"{name}/cat/000.png", f"{name}/dog/000.png"]
    assert is_image_folder(root)


def test_test_comes_before_val(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    shutil.copytree(root / "test", root / "val")
    assert scan_folder(root, "test").paths[0].startswith("test/")


def test_hidden_and_other_files_are_left_out(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    shutil.copy(root / "train/cat/000.png", root / "train/cat/.hidden.png")
    shutil.copy(root / "train/cat/000.png", root / "train/cat/001.PNG")
    shutil.copytree(root / "train/cat", root / "train/.cache")
    shutil.copytree(root / "train/dog", root / "train/cat/.thumbs")
    (root / "train/cat/notes.txt").write_text("no image")
    (root / "train/notes.txt").write_text("no class")
    listing = scan_folder(root, "train")
    assert listing.classes == ("cat", "dog")
    assert listing.paths == ["train/cat/000.png", "train/cat/001.PNG", "train/dog/000.png"]
    assert {notice.kind: (notice.count, notice.example) for notice in listing.notices} == {
        "hidden": (3, "train/.cache"),
        "other": (2, "train/notes.txt"),
    }


def test_what_is_left_out_is_counted_by_kind(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    image = root / "train/cat/000.png"
    for folder in ("train/@eaDir", "train/__MACOSX/cat", "train/cat/@eaDir", "train/dog/.thumbnails"):
        (root / folder).mkdir(parents=True)
        shutil.copy(image, root / folder / "a.png")
    for name in ("Thumbs.db", "._000.png", ".DS_Store", "desktop.ini"):
        (root / "train/cat" / name).write_bytes(b"a system's")
    for name in ("a.raw", "b.raw", "c.SVG", "notes.md", "README"):
        (root / "train/dog" / name).write_bytes(b"?")
    shutil.copy(image, root / "train/lost.png")
    listing = scan_folder(root, "train")
    assert listing.classes == ("cat", "dog")
    assert listing.paths == ["train/cat/000.png", "train/dog/000.png"]
    assert {notice.kind: (notice.count, notice.details) for notice in listing.notices} == {
        "system": (8, {}),
        "unread": (3, {".raw": 2, ".svg": 1}),
        "other": (2, {".md": 1, "no suffix": 1}),
        "loose": (1, {}),
    }
    logged = {notice.kind: notice.line() for notice in listing.notices}
    assert logged["unread"] == (
        f"training images of {root}: 3 images left out, of a type that is not read (.raw 2, .svg 1), such as"
        " train/dog/a.raw: convert them to PNG or JPEG"
    )


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "jfi", "JPG", "avif", "jp2", "tga", "webp", "tiff"])
def test_every_suffix_of_an_available_format_is_listed_and_read(make_folder: Callable[..., Path], suffix: str) -> None:
    root = make_folder(per_class=2)
    path = root / f"train/cat/000.{suffix}"
    kind = {"jfif": "jpeg", "jpe": "jpeg", "jfi": "jpeg", "JPG": "jpeg", "jp2": "jpeg2000"}.get(suffix, suffix)
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    with path.open("wb") as file:
        Image.new("RGB", (6, 6), (90, 90, 90)).save(file, kind)
    listing = scan_folder(root, "train")
    assert f"train/cat/000.{suffix}" in listing.paths
    assert len(listing.notices) == 0
    assert (decode(path).int() - 90).abs().max() <= 3


def test_links_to_other_classes_and_to_folders_above_are_not_followed(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder(per_class=1)
    pool = tmp_path / "pool"
    (pool / "more").mkdir(parents=True)
    shutil.copy(root / "train/dog/000.png", pool / "more/p.png")
    links = {
        "cat/pool": pool,  # followed
        "cat/again": pool / "more",  # read already, by pool
        "cat/up": root / "train",
        "cat/self": root / "train/cat",
        "cat/dog": root / "train/dog",
        "cat/test": root / "test/cat",
        "dog/pool": pool,  # followed: its images then have two labels, which is counted elsewhere
        "puppy": root / "train/dog",
    }
    for name, target in links.items():
        (root / "train" / name).symlink_to(target, target_is_directory=True)
    listing = scan_folder(root, "train")
    assert listing.classes == ("cat", "dog")
    assert listing.paths == [
        *("train/cat/000.png", "train/cat/again/p.png"),
        *("train/dog/000.png", "train/dog/pool/more/p.png"),
    ]
    followed, notice = sorted(listing.notices, key=lambda each: each.kind)
    assert (followed.kind, followed.count, followed.example) == ("followed", 3, "train/cat/again")
    # Of the pool and the folder in it, which cat has both, the one is read that comes first.
    assert (notice.kind, notice.count) == ("link", 6)


def test_a_class_folder_that_is_a_link_to_a_pool_is_read(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(per_class=1)
    shutil.move(root / "train/cat", tmp_path / "cats")
    (root / "train/cat").symlink_to(tmp_path / "cats", target_is_directory=True)
    (root / "train/dog/cats").symlink_to(tmp_path / "cats", target_is_directory=True)  # of another class
    listing = scan_folder(root, "train")
    assert listing.paths == ["train/cat/000.png", "train/dog/000.png"]
    assert [notice.example for notice in listing.notices] == ["train/dog/cats"]


def test_nested_folders_and_links_are_followed_once(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(per_class=1)
    (root / "train/cat/more").mkdir()
    shutil.move(root / "train/cat/000.png", root / "train/cat/more/a.png")
    (root / "train/dog/loop").symlink_to(root / "train/dog", target_is_directory=True)
    (root / "train/dog/linked.png").symlink_to(root / "train/cat/more/a.png")
    listing = scan_folder(root, "train")
    assert listing.paths == ["train/cat/more/a.png", "train/dog/000.png", "train/dog/linked.png"]


def test_empty_class_is_named(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    (root / "train/emu").mkdir()
    (root / "train/emu/notes.txt").write_text("no image")
    with pytest.raises(
        UserError,
        match=r"data\.root: class folder .*train/emu has no images; it holds train/emu/notes\.txt: add",
    ):
        scan_folder(root, "train")


def test_missing_folders_are_named(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root: .*nowhere is no folder \(seen from .*train/<class>/<image>"):
        scan_folder(tmp_path / "nowhere", "train")
    root = make_folder(per_class=1)
    (root / "train").rename(root / "trian")
    with pytest.raises(UserError, match=r"has no folder train; it holds test, trian: .*did you mean 'trian'\?"):
        scan_folder(root, "train")
    (root / "test").rename(root / "holdout")
    with pytest.raises(UserError, match=r"has no folder test or val or valid or validation; it holds holdout, trian"):
        scan_folder(root, "test")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_folder_of_a_split_is_answered_with_the_one_above(
    make_folder: Callable[..., Path], split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(per_class=1)
    (root / split / "cat").rename(root / split / "triangle")  # near enough to train to be proposed
    with pytest.raises(UserError, match=rf"it holds dog, triangle: .*; give data\.root {root}, which holds both$"):
        scan_folder(root / split, "train")
    monkeypatch.chdir(root / split)
    with pytest.raises(UserError, match=rf"; give data\.root {root}, which holds both$"):
        scan_folder(".", "train")
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match=r"; give data\.root \., which holds both$"):
        scan_folder(split, "train")
    shutil.rmtree(root / ("test" if split == "train" else "train"))
    with pytest.raises(UserError, match=r"has no folder train; it holds dog, triangle: the layout is [^;]*$"):
        scan_folder(root / split, "train")


def test_split_without_class_folders_is_refused(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    for name in ("cat", "dog"):
        shutil.rmtree(root / "train" / name)
    with pytest.raises(UserError, match=r"train has no class folders: the layout is train/<class>"):
        scan_folder(root, "train")
    assert not is_image_folder(root)


def test_classes_must_agree(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    (root / "test/dog").rename(root / "test/dogs")
    train, test = scan_folder(root, "train"), scan_folder(root, "test")
    with pytest.raises(UserError, match=r"the test folder has no class 'dog', which .*did you mean 'dogs'\?"):
        aligned(train, test, root)
    (root / "test/dogs").rename(root / "test/dog")
    shutil.copytree(root / "test/dog", root / "test/emu")
    with pytest.raises(UserError, match=r"the train folder has no class 'emu', which the other has: give both"):
        aligned(train, scan_folder(root, "test"), root)
    same = aligned(train, train, root)
    assert same.paths == train.paths
    assert same.labels.tolist() == train.labels.tolist()


def test_class_names_in_two_unicode_forms_are_one(make_folder: Callable[..., Path]) -> None:
    # In code points the decomposed name comes before "f", the composed one after: the order of classes differs.
    names = {form: unicodedata.normalize(form, "\u00e9t\u00e9") for form in ("NFC", "NFD")}
    root = make_folder(classes=("f", names["NFC"]), per_class=2)
    (root / "test" / names["NFC"]).rename(root / "test" / names["NFD"])
    train, test = scan_folder(root, "train"), scan_folder(root, "test")
    assert train.classes == ("f", names["NFC"])
    if test.classes == train.classes:
        pytest.skip("this file system has one form of names only")
    assert test.classes == (names["NFD"], "f")
    test = aligned(train, test, root)
    assert test.classes == train.classes
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert test.paths == [f"test/{name}/00{number}.png" for name in ("f", names["NFD"]) for number in (0, 1)]
    assert [(notice.kind, notice.count) for notice in test.notices] == [("unicode", 1)]
    shutil.copytree(root / "train/f", root / "train" / names["NFD"])
    with pytest.raises(UserError, match=r"two class folders .* that differ in their Unicode form only: merge them"):
        scan_folder(root, "train")


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
def test_names_that_are_no_text_are_listed(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    for split in ("train", "test"):
        folder = root / split / os.fsdecode(b"caf\xe9")
        shutil.copytree(root / split / "cat", folder)
        shutil.copy(folder / "000.png", folder / os.fsdecode(b"\x1b[2J\xff\n.png"))
    listing = scan_folder(root, "train")
    assert listing.classes == ("caf\udce9", "cat", "dog")
    assert listing.paths[:2] == ["train/caf\udce9/\x1b[2J\udcff\n.png", "train/caf\udce9/000.png"]


@pytest.mark.parametrize("where", ["scandir", "stat"])
def test_a_folder_without_permission_is_named(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def refuse(folder: Path, *_words: object, **_more: object) -> Any:
        if Path(folder).name == "dog":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder, *_words, **_more)

    root = make_folder(per_class=1)
    owner = os if where == "scandir" else Path
    real = getattr(owner, where)
    monkeypatch.setattr(owner, where, refuse)
    if where == "stat":
        monkeypatch.setattr(Path, "is_dir", lambda _path: True)
    with pytest.raises(
        UserError, match=r"data\.root: .*train/dog cannot be read \(Permission denied\): put it back, or"
    ):
        scan_folder(root, "train")
