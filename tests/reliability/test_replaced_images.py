"""Images that were replaced under the same names are noticed when a run goes on."""

import numpy as np
import pytest
import torch
from PIL import Image

from iaat.cli.main import main
from iaat.data.folder_listing import FolderListing
from iaat.data.image_folder import FolderFiles
from iaat.data.image_split import SAMPLED
from iaat.data.notices import Notices

WORDS = ("--data.size", "8", "--train.epochs", "1", "--train.validation_n", "4", "--evaluate.suite", "pgd-2")


def save(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def root(tmp_path):
    """A folder of 16 training images and 8 test images."""
    for number in range(16):
        save(tmp_path / "data" / "train" / "ab"[number % 2] / f"{number}.png", number)
    for number in range(8):
        save(tmp_path / "data" / "test" / "ab"[number % 2] / f"{number}.png", 100 + number)
    return tmp_path / "data"


def train(root, *more):
    words = ("folder-natural", "--data.root", str(root), *WORDS, "--out", str(root.parent / "run"), "--quiet", *more)
    return main(["train", *words])


@pytest.mark.parametrize("stream", ["true", "false"])
def test_one_replaced_training_image_is_noticed_on_resume(root, capsys, stream):
    assert train(root, "--data.stream", stream) == 0
    assert train(root, "--data.stream", stream, "--resume") == 0
    old = (root / "train" / "a" / "6.png").read_bytes()
    save(root / "train" / "a" / "6.png", 77)
    capsys.readouterr()
    assert train(root, "--data.stream", stream, "--resume") == 2
    assert "error: training images were replaced: files of the same names hold other bytes" in capsys.readouterr().err
    (root / "train" / "a" / "6.png").write_bytes(old)
    assert train(root, "--data.stream", stream, "--resume") == 0


def test_a_folder_copied_elsewhere_with_other_times_is_the_same(root):
    assert train(root) == 0
    copy = root.parent / "copy"
    for file in root.rglob("*.png"):
        new = copy / file.relative_to(root)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(file.read_bytes())
    assert train(root, "--resume", "--data.root", str(copy)) == 0


def test_replaced_test_images_are_noted_and_nothing_remembered_of_the_old_ones_is_used(root, capsys):
    assert train(root) == 0
    run = str(root.parent / "run")
    words = ["evaluate", run, "--suite", "pgd-2", "--checkpoint", "best"]
    assert main(words) == 0
    for number in range(8):
        save(root / "test" / "ab"[number % 2] / f"{number}.png", 500 + number)
    capsys.readouterr()
    (journal,) = (root.parent / "run" / "evaluations").glob("best-pgd-2-*/journal.jsonl")
    before = journal.read_bytes()
    assert main(words) == 0
    assert "warning: test images were replaced" in capsys.readouterr().err
    assert journal.read_bytes() != before


def test_of_many_images_a_few_are_read(tmp_path, monkeypatch):
    from iaat.data import image_split

    read = []
    monkeypatch.setattr(FolderFiles, "content", lambda _, position: read.append(position) or b"x")
    monkeypatch.setattr(image_split.ImageSplit, "__init__", lambda self, files: setattr(self, "_files", files))
    monkeypatch.setattr(image_split.ImageSplit, "__len__", lambda self: len(self._files.paths))
    for expected in (SAMPLED, 10):
        read.clear()
        paths = ["x"] * (1000 if expected == SAMPLED else expected)
        listing = FolderListing(paths, torch.zeros(len(paths)), (), Notices())
        image_split.ImageSplit(FolderFiles(tmp_path, "train", listing)).contents()
        assert len(set(read)) == len(read) == expected
