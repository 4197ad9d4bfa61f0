"""`iaat check RECIPE --data` reads every sample of both splits, counts what is altered and lists what is damaged."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iaat.cli.main import main
from iaat.data import DataConfig, build_data, check_all_samples, read_dataset_info
from iaat.data.check_data import DataCheck
from iaat.errors import UserError


def surveyed(root: Path, **settings: Any) -> DataCheck:
    return check_all_samples(
        DataConfig(name="folder", root=str(root), **settings), lambda batches, _total, _what: batches
    )


def counts(found: DataCheck) -> dict[str, tuple[str, int, int | None]]:
    return {notice.kind: (notice.where.split()[0], notice.count, notice.of) for notice in found.notices}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_is_read_and_all_that_is_wrong_is_listed(make_folder: Callable[..., Path], workers: int) -> None:
    root = make_folder()
    for name in ("train/cat/000.png", "train/dog/003.png", "test/dog/004.png"):
        (root / name).write_bytes(b"no image")
    Image.new("RGB", (9, 9), (200, 0, 0)).save(root / "train/cat/002.png")
    Image.new("RGBA", (6, 6), (255, 0, 0, 100)).save(root / "train/cat/001.png")
    shutil.copy(root / "train/dog/000.png", root / "test/dog/000.png")
    found = surveyed(root, workers=workers)
    assert found.size == 20
    names = ["train/cat/000.png", "train/cat/002.png", "train/dog/003.png", "test/dog/004.png"]
    assert len(found.faulty) == 4
    for name, reason in zip(names, found.faulty, strict=True):
        # A size that differs is found when the image is compared with the first, by its number.
        assert name in reason or (name == "train/cat/002.png" and "item 2 has shape [3, 9, 9]" in reason)
    assert {kind: count for kind, count in counts(found).items() if kind != "damaged"} == {
        "transparent": ("training", 1, 10),
        "trained": ("test", 1, 9),
    }
    assert [(n.where.split()[0], n.count) for n in found.notices if n.kind == "damaged"] == [
        ("training", 3),
        ("test", 1),
    ]


def test_the_command_lists_damaged_samples_and_exits_with_2(
    make_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder()
    words = ["check", "quickstart", "--data.name", "folder", "--data.root", str(root), "--data"]
    assert main(words) == 0
    assert "all 20 samples can be read" in capsys.readouterr().out
    (root / "train/cat/000.png").write_bytes(b"no image")
    (root / "test/dog/001.png").write_bytes(b"")
    assert main(words) == 2
    shown = capsys.readouterr()
    for name in ("train/cat/000.png", "test/dog/001.png"):
        assert f"{root / name}: cannot be read as an image" in shown.out
    assert "error: 2 of 20 samples cannot be used: repair or remove them" in shown.err


def test_the_command_says_what_is_left_out_without_reading(
    make_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder()
    (root / "train/cat/a.jxl").write_bytes(b"?")
    shutil.copytree(root / "test", root / "val")
    assert main(["check", "quickstart", "--data.name", "folder", "--data.root", str(root)]) == 0
    shown = capsys.readouterr().err
    assert "1 image left out, of a type that is not read (.jxl 1), such as train/cat/a.jxl" in shown
    assert "1 folder that nothing uses, such as val: data.validation NAME" in shown


def test_a_limit_beside_a_validation_folder_leaves_a_sample_a_class_and_all_for_validation(
    make_folder: Callable[..., Path],
) -> None:
    root = make_folder(per_class=3)
    shutil.copytree(root / "test", root / "val")
    config = DataConfig(name="folder", root=str(root), validation="val", limit=2)
    data = build_data(config, seed=0)
    assert data.train.labels[data.train_index].tolist() == [0, 1]
    assert len(data.validation_index) == 6
    info = read_dataset_info(config)
    assert info.decoded_bytes(config) == (2 + 6 + 6) * info.sample_bytes
    with pytest.raises(
        UserError, match=r"data\.limit is 1, too few for a sample of each of 2 classes: give at least 2"
    ):
        build_data(replace(config, limit=1), seed=0)


def test_a_validation_folder_is_used_on_its_key(make_folder: Callable[..., Path]) -> None:
    root = make_folder(per_class=3)
    shutil.copytree(root / "test", root / "val")
    for streamed in (False, True):
        data = build_data(DataConfig(name="folder", root=str(root), validation="val", stream=streamed, limit=4), seed=0)
        assert data.validation_index.tolist() == [6, 7, 8, 9, 10, 11]
        assert data.train.paths is not None
        assert all(data.train.paths[i].startswith("val/") for i in data.validation_index.tolist())
        assert len(data.train_index) == 4
        assert int(data.train_index.max()) < 6
        assert data.train.labels[data.validation_index].tolist() == [0, 0, 0, 1, 1, 1]
