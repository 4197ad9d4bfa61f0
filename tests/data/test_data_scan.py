"""What is found in an image folder, in which order, and what is said when it is not there."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iaat.data import scan_folder
from iaat.data.scan import check_same_classes, is_image_folder
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


def test_nested_folders_and_links_are_followed_once(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(per_class=1)
    (root / "train/cat/more").mkdir()
    shutil.move(root / "train/cat/000.png", root / "train/cat/more/a.png")
    (root / "train/owl").symlink_to(root / "train/dog", target_is_directory=True)
    (root / "train/dog/loop").symlink_to(root / "train/dog", target_is_directory=True)
    (root / "train/dog/linked.png").symlink_to(root / "train/cat/more/a.png")
    listing = scan_folder(root, "train")
    assert listing.classes == ("cat", "dog", "owl")
    assert [path for path in listing.paths if "owl" not in path] == [
        "train/cat/more/a.png",
        "train/dog/000.png",
        "train/dog/linked.png",
    ]


def test_empty_class_is_named(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=1)
    (root / "train/emu").mkdir()
    (root / "train/emu/notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"data\.root: class folder .*train/emu has no images \(\.bmp.*add images or"):
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
        check_same_classes(train, test, root)
    (root / "test/dogs").rename(root / "test/dog")
    shutil.copytree(root / "test/dog", root / "test/emu")
    with pytest.raises(UserError, match=r"the train folder has no class 'emu', which the other has: give both"):
        check_same_classes(train, scan_folder(root, "test"), root)
    check_same_classes(train, train, root)


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
