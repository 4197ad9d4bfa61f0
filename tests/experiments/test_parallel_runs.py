"""`iaat compare --jobs`: several runs at once, each in a process of its own."""

import json
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from helpers.killing import start, timeless
from helpers.training import TINY, Listening
from iaat.cli.main import main
from iaat.experiments import parallel_runs
from iaat.experiments.parallel_runs import Job, environment, run_jobs
from iaat.runs.checkpoint import load_checkpoint
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import STOPPED, Stopped

COMPARED = ("compare", "quickstart-natural", "quickstart", *TINY, "--evaluate.n", "20", "--quiet")


def program(text):
    return [sys.executable, "-c", text]


def test_a_comparison_by_jobs_is_that_of_one_process(tmp_path, capsys):
    for name, more in (("one", ()), ("two", ("--jobs", "2"))):
        assert main([*COMPARED, "--seed", "0", "--out", str(tmp_path / name), *more]) == 0
    texts = {name: (tmp_path / name / "comparison.json").read_text() for name in ("one", "two")}
    one, two = (timeless(json.loads(text.replace(str(tmp_path / name), "OUT"))) for name, text in texts.items())
    assert one == two
    assert not list((tmp_path / "two").glob("*/train.lock"))


def test_a_failed_job_is_named_and_ends_none_of_the_others(tmp_path):
    late = tmp_path / "late"
    jobs = [
        Job("bad", program("import sys; print('working'); sys.exit('error: no data')")),
        Job("good", program(f"import time; time.sleep(0.5); open({str(late)!r}, 'w')")),
        Job("next", program("print('warning: twice'); print('warning: twice')")),
        Job("killed", program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")),
    ]
    reporter = Listening()
    with pytest.warns(UserWarning, match="^twice$") as warned:
        failed = run_jobs(jobs, 2, reporter)
    assert failed.keys() == {"bad", "killed"}
    assert failed["bad"] == "no data"
    assert "where memory runs out" in failed["killed"]
    assert late.exists()
    assert len(warned) == 1
    assert "bad: working" in reporter.said
    assert any(line.startswith("bad: failed: no data. 3 of 4 runs are left") for line in reporter.said)


def test_what_is_said_of_all_jobs_alike_is_shown_once(capsys):
    text = "print('# clean: on 30 samples'); print('note autoattack-classes: 3 classes'); print('epoch  loss')"
    run_jobs([Job(name, program(text)) for name in ("one", "two")], 2, Reporter())
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("# clean: on 30 samples") == lines.count("note autoattack-classes: 3 classes") == 1
    assert {"one: epoch  loss", "two: epoch  loss"} <= set(lines)


def test_a_comparison_shows_what_is_finished_where_a_run_has_failed(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("extends: quickstart-natural\ntrain: {lr: 1.0e+9}\n")
    words = ["compare", "quickstart-natural", str(tmp_path / "bad.yaml"), *TINY, "--evaluate.n", "20", "--seed", "0"]
    assert main([*words, "--out", str(tmp_path), "--jobs", "2"]) == 2
    shown = capsys.readouterr()
    assert "quickstart-natural" in shown.out
    assert "not finished: bad-seed0 (failed: " in shown.out
    assert "bad-seed0 failed; the same command goes on" in shown.err
    assert (tmp_path / "comparison.json").exists()
    assert main([*words, "--out", str(tmp_path), "--no-train"]) == 0
    assert "not finished: bad-seed0 (no epoch finished)" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert "error: bad-seed0: " in capsys.readouterr().err


def test_no_more_run_at_once_than_asked_for(tmp_path):
    text = (
        "import os, pathlib, time; place = pathlib.Path({place!r}); mine = place / str(os.getpid()); mine.touch(); "
        "time.sleep(0.3); print(len(list(place.iterdir()))); mine.unlink()"
    )
    reporter = Listening()
    run_jobs([Job(str(k), program(text.format(place=str(tmp_path)))) for k in range(4)], 2, reporter)
    counts = [int(line.partition(": ")[2]) for line in reporter.said if line[3:].isdigit()]
    assert len(counts) == 4
    assert max(counts) <= 2


def test_a_job_that_was_stopped_stops_the_others(tmp_path):
    stopped, ran = tmp_path / "stopped", tmp_path / "ran"
    long = (
        f"import pathlib, time\nwhile not pathlib.Path({str(stopped)!r}).exists(): time.sleep(0.05)\n"
        f"time.sleep(20); pathlib.Path({str(ran)!r}).touch()"
    )
    jobs = [
        Job("stopped", program(f"import pathlib; pathlib.Path({str(stopped)!r}).touch(); raise SystemExit({STOPPED})")),
        Job("long", program(long)),
    ]
    with pytest.raises(Stopped):
        run_jobs(jobs, 2, Reporter(quiet=True))
    assert not ran.exists()


def test_jobs_share_out_threads_and_gpus():
    assert environment(3, "2", {"PATH": "x"}, gpus=1) == {"PATH": "x", "OMP_NUM_THREADS": "2"}
    assert environment(3, "2", {}, gpus=2)["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment(1, "2", {"CUDA_VISIBLE_DEVICES": "4,6"}, gpus=2)["CUDA_VISIBLE_DEVICES"] == "6"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--jobs", "2", "--device", "cuda:1"), "--jobs 2: train.device cuda:1 of quickstart-natural is one GPU"),
        (("--jobs", "0"), "--jobs 0: a number of runs at once"),
        (("--jobs", "2", "--no-train"), "--jobs is for what is"),
    ],
)
def test_wrong_numbers_are_refused(words, message, capsys):
    assert main([*COMPARED, *words]) == 2
    assert message in capsys.readouterr().err


def long_comparison(out):
    words = [
        sys.executable,
        "-m",
        "iaat",
        *COMPARED,
        "--train.epochs",
        "5000",
        "--train.save_steps",
        "1",
        "--jobs",
        "2",
    ]
    process = start([*words, "--seeds", "2", "--out", str(out)])
    runs = [out / f"{name}-seed0" for name in ("quickstart-natural", "quickstart")]
    while not all((run / "last.pt").exists() for run in runs):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process, runs


def test_a_stop_reaches_all_jobs_and_keeps_what_they_have(tmp_path):
    process, runs = long_comparison(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == STOPPED, errors
    assert "training is kept up to the last checkpoint" in errors
    assert "--jobs 2" in errors
    for run in runs:
        assert not (run / "train.lock").exists()
        assert load_checkpoint(run / "last.pt")["epoch"] >= 0


JOB = """
import pathlib, time
from iaat.runtime.process_end import end_with_parent
from iaat.runtime.signals import Stop
stop = Stop()
with stop.listening():
    end_with_parent()
    pathlib.Path({begun!r}).touch()
    try:
        time.sleep(600)
    finally:
        pathlib.Path({ended!r}).touch()
"""
PARENT = """
from iaat.experiments.parallel_runs import Job, run_jobs
from iaat.runtime.progress import Reporter
run_jobs([Job("one", {command!r})], 2, Reporter(quiet=True))
"""


def test_jobs_end_with_a_process_that_is_killed(tmp_path):
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    parent = start(program(PARENT.format(command=program(JOB.format(begun=str(begun), ended=str(ended))))))
    while not begun.exists():
        assert parent.poll() is None, parent.communicate()
        time.sleep(0.05)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 120
    while not ended.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ended.exists()


def test_a_system_without_sigkill_has_exit_codes(monkeypatch):
    monkeypatch.delattr(signal, "SIGKILL")
    ended = SimpleNamespace(process=SimpleNamespace(returncode=3), errors=[])
    assert parallel_runs._reason(ended) == "exit code 3"
