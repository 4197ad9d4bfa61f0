"""Which checkpoints are kept, and which one a run goes on from when files are damaged, cut short or gone."""

import shutil

import pytest
import torch

from helpers.training import QUIET, Interrupting, same, tiny
from iaat import UserError
from iaat.config.train_config import TrainConfig
from iaat.runs.checkpoint import load_checkpoint, save_checkpoint
from iaat.runs.checkpoint_manager import CheckpointManager
from iaat.runs.run_folder import RunFolder
from iaat.train import train

CPU = torch.device("cpu")
# 180 samples in batches of 64: 3 steps an epoch.
RECIPE = ("iaat", "--method.steps", "2", "--train.epochs", "4", "--train.save_steps", "1", "--train.keep", "2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    train(tiny(*RECIPE), run, QUIET)
    return run


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Interrupted after the second step of the fourth epoch."""
    run = RunFolder(tmp_path_factory.mktemp("stopped") / "run")
    with pytest.raises(KeyboardInterrupt):
        train(tiny(*RECIPE), run, Interrupting(12))
    return run


@pytest.fixture
def run(stopped, tmp_path):
    shutil.copytree(stopped.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def names(run):
    return sorted(file.name for file in (run.path / "checkpoints").iterdir())


def flip(file, at=0.5):
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 16
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_what_is_kept(run, whole):
    assert names(run) == ["0001.pt", "0002.pt", "0003-000001.pt", "0003-000002.pt"]
    assert names(whole) == ["0002.pt", "0003.pt"]
    for epoch in (2, 3):
        assert load_checkpoint(whole.path / "checkpoints" / f"{epoch:04d}.pt")["epoch"] == epoch


def test_nothing_is_kept_beside_the_last_and_the_best_where_none_is_asked_for(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(tiny("natural", "--train.keep", "0"), run, QUIET)
    assert not (run.path / "checkpoints").exists() or not names(run)


@pytest.mark.parametrize("damage", [flip, cut, lambda file: file.write_bytes(b"")], ids=["flipped", "cut", "empty"])
@pytest.mark.parametrize(
    "damaged",
    [
        ["checkpoints/0003-000002.pt"],
        ["checkpoints/0003-000002.pt", "checkpoints/0003-000001.pt"],
        ["last.pt"],
        ["last.pt", "checkpoints/0003-000002.pt", "checkpoints/0003-000001.pt"],
        ["last.pt", "checkpoints/0003-000002.pt", "checkpoints/0003-000001.pt", "checkpoints/0002.pt"],
    ],
    ids=len,
)
def test_a_damaged_checkpoint_is_named_set_aside_and_the_one_before_is_used(run, whole, damaged, damage):
    for name in damaged:
        damage(run.path / name)
    with pytest.warns(UserWarning, match="set aside") as warnings:
        train(tiny(*RECIPE), run, QUIET, resume=True)
    messages = " ".join(str(warning.message) for warning in warnings)
    seen = [name for name in damaged if name in messages]
    assert seen == damaged
    assert all((run.path / f"{name}.damaged").exists() for name in damaged)
    for which in ("last", "best"):
        assert same(load_checkpoint(whole.checkpoint(which)), load_checkpoint(run.checkpoint(which)))
    assert whole.metrics_file.read_bytes() == run.metrics_file.read_bytes()


def test_where_none_is_whole_the_run_says_so(run):
    for file in (*run.path.glob("*.pt"), *run.path.glob("checkpoints/*.pt")):
        cut(file)
    message = r"no checkpoint that is whole.*--overwrite"
    with pytest.raises(UserError, match=message), pytest.warns(UserWarning, match="set aside"):
        train(tiny(*RECIPE), run, QUIET, resume=True)


def test_a_best_checkpoint_that_is_lost_is_replaced_by_the_last(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    cut(run.checkpoint("best"))
    with pytest.warns(UserWarning, match=r"best\.pt is missing or damaged: epoch 4 takes its place"):
        train(tiny(*RECIPE), run, QUIET, resume=True)
    assert load_checkpoint(run.checkpoint("best"))["epoch"] == 4


def test_a_lost_best_checkpoint_is_replaced_within_an_epoch_too(run):
    run.checkpoint("best").unlink()
    with pytest.warns(UserWarning, match=r"best\.pt is missing or damaged: epoch 3 takes its place"):
        train(tiny(*RECIPE), run, QUIET, resume=True)
    assert load_checkpoint(run.checkpoint("best"))["epoch"] in (3, 4)


def test_logs_that_are_damaged_are_mended_by_what_the_checkpoint_says(run, whole):
    run.metrics_file.write_text('{"epoch": 1\nrubbish\n')
    run.timings_file.write_bytes(b"\xff\xfe\n")
    with pytest.warns(UserWarning, match=r"timings\.jsonl, line 1 is damaged: it is not JSON .*; its time is lost"):
        train(tiny(*RECIPE), run, QUIET, resume=True)
    assert whole.metrics_file.read_bytes() == run.metrics_file.read_bytes()


def test_what_a_crash_left_half_written_is_removed(run):
    for place in (run.path, run.path / "checkpoints", run.path / "radii", run.pictures):
        place.mkdir(exist_ok=True)
        (place / ".last.pt.123.tmp").write_bytes(b"half")
    train(tiny(*RECIPE), run, QUIET, resume=True)
    assert not list(run.path.rglob("*.tmp"))


def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(run, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        CheckpointManager(run, TrainConfig()).newest(CPU)
    assert run.checkpoint("last").exists()


def test_where_files_cannot_be_linked_they_are_copied(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    run = RunFolder(tmp_path / "run")
    train(tiny("natural"), run, QUIET)
    assert load_checkpoint(run.path / "checkpoints" / "0002.pt")["epoch"] == 2


def test_time_between_checkpoints_counts_from_the_last_one(tmp_path):
    now = [0.0]
    keeper = CheckpointManager(RunFolder(tmp_path), TrainConfig(save_minutes=2), clock=lambda: now[0])
    state = {"epoch": 0, "tally": {"steps": 7}}
    due = []
    for seconds in (60, 119, 120, 121, 239, 240):
        now[0] = seconds
        due.append(keeper.due(7))
        if due[-1]:
            keeper.save_within(state)
    assert due == [False, False, True, False, False, True]


def test_the_file_that_was_checked_is_the_one_that_is_loaded(tmp_path, monkeypatch):
    """A run that goes on may replace the file between the two."""
    file = tmp_path / "last.pt"
    save_checkpoint(file, {"epoch": 1})
    original = torch.load

    def replaced(*args, **kwargs):
        save_checkpoint(file, {"epoch": 2})
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, "load", replaced)
    assert load_checkpoint(file)["epoch"] == 1


def test_what_a_kill_after_the_last_checkpoint_left_is_removed_on_resume(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(tiny(), run, QUIET)
    kept = {file.name for file in run.path.glob("checkpoints/*")}
    for name in ("0001.pt", "0002-000001.pt", "0002-000002.pt"):
        shutil.copy(run.checkpoint("last"), run.path / "checkpoints" / name)
    train(tiny(), run, QUIET, resume=True)
    assert {file.name for file in run.path.glob("checkpoints/*")} == kept == {"0002.pt"}
