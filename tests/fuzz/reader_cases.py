"""One case of the fuzzer of readers: a damaged or forged file of a model or run is read, or a `UserError` is raised."""

import io
import json
import random
import resource
import signal
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from fuzz.guard import guarded
from helpers.external_models import cnn, save_exported, save_script
from iaat.config.load_recipe import load_recipe
from iaat.data import build_data
from iaat.errors import UserError
from iaat.evaluate.evaluate_run import evaluate_checkpoint
from iaat.evaluate.journal import Journal
from iaat.evaluate.stored_results import stored_results
from iaat.models import ModelConfig, SmallCNN
from iaat.radius.snapshots import checksum
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.load_any_model import load_model
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.runtime.text import printable
from iaat.train import train
from iaat.train.build_state import build_state

SECONDS = 120
"""For one case, on a busy machine."""
MEGABYTES = 1500
"""That a case may add to the memory of the process."""
WORDS = [
    *("--data.limit", "60", "--train.epochs", "2", "--train.validation_steps", "1", "--train.validation_n", "5"),
    *("--model.width", "4", "--train.ema", "0.9", "--evaluate.n", "10", "--evaluate.steps", "1"),
    *("--evaluate.suite", "pgd"),
]
Mutation = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Reader:
    """A file, and what reads it.

    Attributes:
        file: Where it is looked for.
        content: What it holds while it is whole.
        read: Reads it, and uses what it says.
        mutations: What is done to it.
    """

    file: Path
    content: bytes
    read: Callable[[], object]
    mutations: tuple[Mutation, ...]


# Mutations


def bytes_changed(draw: random.Random, content: bytes) -> bytes:
    """Bits flipped, bytes cut out, put in, overwritten or repeated, and the end perhaps cut off."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, length = draw.randrange(len(changed) + 1), draw.choice((1, 2, 4, 8, 40, 400))
        match draw.choice(("flip", "number", "cut", "insert", "repeat", "end")):
            case "flip" if at < len(changed):
                changed[at] ^= 1 << draw.randrange(8)
            case "number":
                changed[at : at + 8] = draw.choice(
                    (bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7, struct.pack("<q", -1))
                )
            case "cut":
                del changed[at : at + length]
            case "insert":
                changed[at:at] = draw.randbytes(length)
            case "repeat":
                changed[at:at] = changed[at : at + length]
            case "end":
                del changed[at:]
    return bytes(changed)


def record_changed(draw: random.Random, content: bytes) -> bytes:
    """An archive of PyTorch's with one record changed, under a valid checksum: most often the pickle."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice([*records, *[name for name in records if name.endswith(("data.pkl", "model.json"))] * 9])
    match draw.randrange(12):
        case 0:
            del records[name]
        case 1:
            records[name.upper()] = records[name]
        case _:
            records[name] = bytes_changed(draw, records[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as new:
        for each, record in records.items():
            new.writestr(each, record)
    return out.getvalue()


def odd_values() -> list[Any]:
    """What no part of a checkpoint is, or is in another place."""
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    tensors = [torch.zeros(0), torch.zeros(()), torch.zeros(3), torch.full((3,), float("nan")), torch.ones(2, 2).int()]
    odd = [torch.zeros(2).to_sparse(), torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.complex64)]
    odd += [torch.zeros(2).to(torch.float8_e4m3fn), torch.zeros(1).expand(10**9), torch.zeros(2, dtype=torch.uint8)]
    numbers = [-1, 0, 1, 2**31, 2**63 - 1, 10**30, 10**400, 0.5, float("nan"), float("-inf"), True]
    return [None, "", "text", "x" * 100_000, "\ud800\x1b[1m\n", [], {}, {"a": 1}, deep, *numbers, *tensors, *odd]


def tree_changed(draw: random.Random, value: Any) -> Any:
    """A value of nested dicts and lists in which one place holds something else, or has gone."""
    value = deepcopy(value)
    inside, key, here = None, None, value
    while isinstance(here, dict | list) and len(here) and (inside is None or draw.random() < 0.75):
        inside, key = here, draw.choice(list(here)) if isinstance(here, dict) else draw.randrange(len(here))
        here = inside[key]
    if inside is None:
        return draw.choice(odd_values())
    match draw.randrange(6):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[draw.choice(("other", "", 7, "format", "x" * 5000))] = inside.pop(key)
        case 2 if isinstance(inside, list):
            inside.append(draw.choice(odd_values()))
        case 3 if isinstance(here, torch.Tensor) and here.dtype == torch.float32 and _is_dense(here):
            inside[key] = draw.choice(
                (here.half(), here.double(), here[:0] if here.ndim else here, here * float("nan"), here.to_sparse())
            )
        case _:
            inside[key] = draw.choice(odd_values())
    return value


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_meta and tensor.numel() < 1_000_000


def state_changed(draw: random.Random, content: bytes) -> bytes:
    """A file of `torch.save` that is whole, and holds something else."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        state = tree_changed(draw, state)
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def line_changed(draw: random.Random, content: bytes) -> bytes:
    """JSON, perhaps of several lines, with a value of one line changed."""
    lines = content.splitlines(keepends=True) if content.count(b"\n{") else [content]
    at = draw.randrange(len(lines))
    value = tree_changed(draw, json.loads(lines[at]))
    lines[at] = json.dumps(value, default=lambda _: draw.choice((None, [], 10**350))).encode() + b"\n"
    if draw.random() < 0.1:
        lines[at] = draw.choice((b"[" * 100_000, b'{"epoch": ' * 50_000, b"1" * 5000, b"\xff\xfe", b"NaN")) + b"\n"
    return b"".join(lines)


def arrays_changed(draw: random.Random, content: bytes) -> bytes:
    """A snapshot of radii of other arrays, under a valid checksum."""
    size = draw.choice((0, 1, 4, 50))
    radius: Any = np.linspace(0, 1, size, dtype=draw.choice((np.float32, np.float64, np.float16, np.int64, np.uint8)))
    index: Any = np.arange(size, dtype=draw.choice((np.int64, np.int32, np.uint8, np.float32)))
    for array in (radius, index):
        if size and draw.random() < 0.5:
            wrong = draw.choice((-1, size, 2**31, 2**62, float("nan"), float("inf")))
            with np.errstate(all="ignore"):
                array[draw.randrange(size)] = np.array(wrong).astype(array.dtype)
    if draw.random() < 0.2:
        index = index.reshape(1, -1)
    arrays = {"radius": radius, "index": index}
    if draw.random() < 0.1:
        arrays.pop(draw.choice(list(arrays)))
    return save_arrays(arrays, metadata={"crc32": checksum(arrays)})


# Readers


class Readers:
    """A small run and models in a folder, with all that reads their files.

    Args:
        folder: The only one that anything may be written into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = load_recipe("quickstart", WORDS)
        self.run = RunFolder(folder / "run")
        train(self.recipe, self.run, Reporter(quiet=True))
        self.data = build_data(self.recipe.data, seed=0)
        evaluate_checkpoint(self.run, self.recipe, "last", self.data, Reporter(quiet=True))
        steps = len(self.data.order(self.recipe.train.batch_size, seed=0, epoch=0))
        self.state = build_state(self.recipe, self.data, steps, torch.device("cpu"), start_weights=False)
        self.readers = dict(self._all())

    def _all(self) -> Iterator[tuple[str, Reader]]:
        run = self.run
        for name, content, mutations in _models(self.folder):
            file = self.folder / name
            yield name, Reader(file, content, lambda file=file: self._model(file), mutations)
        last = run.checkpoint("last")
        archive = (bytes_changed, record_changed, state_changed, state_changed, state_changed)
        within = (run.path / "checkpoints" / "0001.pt").read_bytes()  # from which there is a step to be taken
        yield "last.pt", Reader(last, within, self._checkpoint, archive)
        radii = run.path / "radii" / "0002.safetensors"
        yield "radii", Reader(radii, radii.read_bytes(), lambda: run.radii_after(2), (bytes_changed, arrays_changed))
        text = (bytes_changed, line_changed, line_changed)
        for file in (run.path / "run.json", run.metrics_file, run.timings_file):
            yield file.name, Reader(file, file.read_bytes(), self._logs, text)
        (journal,) = run.path.glob("evaluations/*/journal.jsonl")
        identity = json.loads(journal.read_bytes().splitlines()[0])["value"]
        yield journal.name, Reader(journal, journal.read_bytes(), lambda: Journal(journal, identity), text)
        results = journal.with_name("results.json")
        config = self.recipe.evaluate
        yield results.name, Reader(results, results.read_bytes(), lambda: stored_results(run, "last", config), text)

    def _model(self, file: Path) -> None:
        load_model(str(file), ModelConfig(name="small-cnn", width=4, normalize="none"), shape=(1, 8, 8), classes=10)

    def _checkpoint(self) -> None:
        """As a model, as to evaluate the run, and as to go on with it by a step."""
        load_model(str(self.run.checkpoint("last")), shape=(1, 8, 8), classes=10)
        restore_model(self.recipe, load_checkpoint(self.run.checkpoint("last")))
        self.state.load_state_dict(load_checkpoint(self.run.checkpoint("last")))
        for weight in self.state.model.parameters():
            weight.grad = torch.zeros_like(weight)
        self.state.step()

    def _logs(self) -> None:
        for epoch in (None, 1):
            self.run.training_cost(epoch)
        self.run.metrics()
        self.run.name()
        self.run.changed_versions()

    def case(self, name: str, draw: random.Random) -> bool:
        """Read one mutation of a file; whether it was refused.

        Raises:
            AssertionError: anything but success or a `UserError` of one readable line; an effect; too much memory.
        """
        reader = self.readers[name]
        content = draw.choice(reader.mutations)(draw, reader.content)
        reader.file.write_bytes(content)
        before = _megabytes()
        refused = False
        try:
            with warnings.catch_warnings(), guarded(self.folder), limited(SECONDS):
                warnings.simplefilter("ignore")
                reader.read()
        except UserError as error:
            refused = True
            message = printable(str(error))
            assert "\n" not in message, message
            assert len(message) < 3000, message[:200]
        finally:
            reader.file.write_bytes(reader.content)
        assert _megabytes() - before < MEGABYTES, f"{_megabytes() - before:.0f} MB taken"
        return refused


def _models(folder: Path) -> Iterator[tuple[str, bytes, tuple[Mutation, ...]]]:
    torch.manual_seed(0)
    network = SmallCNN(1, 10, width=4)
    state = network.state_dict()
    archive = (bytes_changed, record_changed, state_changed)
    torch.save(state, folder / "bare.pt")
    torch.save(
        {"epoch": 3, "ema": {"module." + key: value for key, value in state.items()}, "net": state}, folder / "a.pth"
    )
    torch.save(
        {"model": state, "mean": torch.zeros(1), "std": torch.ones(1)},
        folder / "old.pt",
        _use_new_zipfile_serialization=False,
    )
    for name in ("bare.pt", "a.pth"):
        yield name, (folder / name).read_bytes(), archive
    yield "old.pt", (folder / "old.pt").read_bytes(), (bytes_changed, state_changed)
    yield "w.safetensors", save_tensors(state), (bytes_changed,)
    for name, save in (("program.pt", save_script), ("program.pt2", save_exported)):
        save(cnn().eval(), folder / name, *([torch.rand(2, 1, 8, 8)] if name.endswith("2") else []))
        yield name, (folder / name).read_bytes(), (bytes_changed, record_changed)


def _megabytes() -> float:
    """The most memory that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class HangError(BaseException):
    """A case that does not end; no `except Exception` takes it for its own."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Within, time is limited; in the main thread of a POSIX system."""

    def stop(*_: object) -> None:
        raise HangError(f"no end after {seconds} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
