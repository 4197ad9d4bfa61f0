"""Reading many small image files: with and without data.cache, against torchvision's ImageFolder and a packed array.

    python benchmarks/image_files.py [--root DIR] [--images 60000] [--workers 2] [--repeats 5] [--quick]

`--root` is a folder with train/CLASS/ and test/CLASS/, such as CIFAR-10's; its images are written once more as PNG, so
that all candidates read the same files in a temporary folder (`--folder` for another). Without it random images are
drawn, which compress to nothing less than their bytes. What is measured, in images per second:

- a start: all images from their files, or from the cache, to one tensor in memory, as `build_data` does it, with the
  scan of the folder, the look-up of every file and the draw of the splits; and filling the cache;
- an epoch of the training images in a random order, streamed, in batches of floats;
- bare readers: one process, one file after the other, to an array of bytes; and the same images in one .npy file.

All files are in the memory of the system by then: a disk that has to be read is another matter. Writes
`image-files-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from _measure import CONSOLE, Goal, Report, Spread, Timing, compare, hardware_line, parser, start, write_results
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.io import ImageReadMode, decode_image

from iaat.data import DataConfig, DataSplits, build_data, epoch_order, folder_splits
from iaat.data.cached_split import CachedSplit, with_cache
from iaat.runtime import rng
from iaat.runtime.progress import Reporter

SHAPE, CLASSES, TEST_PART = (32, 32, 3), 10, 6
"""Of CIFAR-10, one image of six of which is for test."""
AT_LEAST = 10
"""How many times as fast a start from the cache is meant to be as one from files."""


@dataclass(frozen=True)
class Reading:
    """One way to read the images.

    Attributes:
        name: What the table shows.
        images: How many a run reads.
        run: Reads them.
        reference: The name of the reading that it is compared with.
    """

    name: str
    images: int
    run: Callable[[], object]
    reference: str


def main() -> None:
    """Measure all readings in turns."""
    options = _options()
    device = start(options)
    with _folder(options.folder) as place:
        root = place / "images"
        files = _write_images(root, options.root, options.images)
        readings = [*_starts(root, place, files), *_epochs(root, place, files, options), *_bare(root, place)]
        timings = compare({each.name: each.run for each in readings}, rounds=options.repeats, device=device)
        size = sum(path.stat().st_size for path in root.rglob("*.png")) / files
    _publish(readings, timings, size, options)


def _options() -> argparse.Namespace:
    made = parser(__doc__, repeats=5)
    made.add_argument("--root", type=Path, help="folder of images; random ones by default")
    made.add_argument("--folder", type=Path, help="where the files are written (default: a temporary folder)")
    made.add_argument("--images", type=int, default=60_000, help="at most so many (default %(default)s)")
    made.add_argument("--workers", type=int, default=2, help="worker processes of the epochs (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="(default %(default)s)")
    made.add_argument("--quick", action="store_true", help="2 rounds, 600 images")
    options = made.parse_args()
    if options.quick:
        options.repeats, options.images = min(options.repeats, 2), min(options.images, 600)
    return options


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    with TemporaryDirectory(dir=folder) as name:
        yield Path(name)


def _write_images(root: Path, given: Path | None, most: int) -> int:
    """Write images of the root, or random ones, as PNG under `root`; returns how many."""
    pictures = _random_pictures(most) if given is None else _pictures_of(given, most)
    written = 0
    for place, picture in pictures:
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
        written += 1
    return written


def _pictures_of(given: Path, most: int) -> Iterator[tuple[str, Image.Image]]:
    for split, part in zip(folder_splits(DataConfig(name="folder", root=str(given))), (TEST_PART - 1, 1), strict=True):
        chosen = rng.fixed_sample(len(split), most * part // TEST_PART)
        assert split.paths is not None
        for position in chosen.tolist():
            pixels = split[position][0].permute(1, 2, 0).numpy()
            yield str(Path(split.paths[position]).with_suffix(".png")), Image.fromarray(pixels)


def _random_pictures(count: int) -> Iterator[tuple[str, Image.Image]]:
    source = np.random.default_rng(0)
    for number in range(count):
        split = "test" if number % TEST_PART == 0 else "train"
        picture = Image.fromarray(source.integers(0, 256, SHAPE, dtype=np.uint8))
        yield f"{split}/{number // TEST_PART % CLASSES}/{number:06}.png", picture


def _starts(root: Path, place: Path, files: int) -> Sequence[Reading]:
    plain, kept = _config(root), _config(root, place / "cache")
    name = "start from files"
    _fill(kept)
    return [
        Reading(name, files, lambda: build_data(plain, seed=0), name),
        Reading("fill the cache", files, lambda: _fill_anew(root, place / "filled"), name),
        Reading("start from the cache", files, lambda: build_data(kept, seed=0), name),
    ]


def _config(root: Path, cache: Path | None = None, **settings: bool | int) -> DataConfig:
    where = None if cache is None else str(cache)
    return DataConfig(name="folder", root=str(root), cache=where, **settings)  # type: ignore[arg-type]


def _fill(config: DataConfig) -> None:
    for split in with_cache(config, *folder_splits(config)):
        assert isinstance(split, CachedSplit)
        split.fill(torch.arange(len(split)), Reporter(quiet=True))


def _fill_anew(root: Path, cache: Path) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    _fill(_config(root, cache))


def _epochs(root: Path, place: Path, files: int, options: argparse.Namespace) -> Sequence[Reading]:
    found = datasets.ImageFolder(str(root / "train"), transforms.ToTensor())
    loader = DataLoader(found, options.batch_size, shuffle=True, num_workers=options.workers)
    reference = f"epoch of torchvision's ImageFolder, {options.workers} workers"

    def epoch_of_torchvision() -> None:
        for _ in loader:
            pass

    readings = [Reading(reference, len(found), epoch_of_torchvision, reference)]
    epochs = count()
    for what, cache in (("files", None), ("the cache", place / "cache")):
        for workers in dict.fromkeys((options.workers, 0)):
            data = build_data(_config(root, cache, stream=True, workers=workers), seed=0)
            run = _epoch(data, options.batch_size, epochs)
            readings.append(Reading(f"epoch from {what}, {workers} workers", len(data.train), run, reference))
    return readings


def _epoch(data: DataSplits, batch_size: int, epochs: Iterator[int]) -> Callable[[], None]:
    def run() -> None:
        epoch = next(epochs)
        for _ in data.train.batches(epoch_order(torch.arange(len(data.train)), batch_size, seed=0, epoch=epoch)):
            pass

    return run


def _bare(root: Path, place: Path) -> Sequence[Reading]:
    """Readers that do nothing but decode the files one by one, and the same bytes in one file."""
    paths = sorted(map(str, root.rglob("*.png")))
    packed = place / "images.npy"
    np.save(packed, np.stack([_by_pillow(path) for path in paths]))
    reference = "Pillow alone"
    readers: dict[str, Callable[[str], object]] = {reference: _by_pillow, "torchvision.io alone": _by_torchvision}
    if find_spec("cv2") is not None:
        readers["OpenCV alone"] = import_module("cv2").imread
    readings = [Reading(name, len(paths), _reads(read, paths), reference) for name, read in readers.items()]
    array = Reading("one .npy file, np.load", len(paths), lambda: np.load(packed), "start from files")
    return [*readings, array]


def _reads(read: Callable[[str], object], paths: Sequence[str]) -> Callable[[], None]:
    def run() -> None:
        for path in paths:
            read(path)

    return run


def _by_pillow(path: str) -> np.ndarray:
    with open(path, "rb") as file, Image.open(io.BytesIO(file.read())) as image:  # noqa: PTH123 (as fast as can be)
        return np.array(image)


def _by_torchvision(path: str) -> torch.Tensor:
    with open(path, "rb") as file:  # noqa: PTH123
        return decode_image(torch.frombuffer(bytearray(file.read()), dtype=torch.uint8), ImageReadMode.RGB)


def _publish(readings: Sequence[Reading], timings: Sequence[Timing], size: float, options: argparse.Namespace) -> None:
    """Print the table and write the file."""
    per_image = {
        reading.name: Timing(reading.name, tuple(seconds / reading.images for seconds in timing.seconds))
        for reading, timing in zip(readings, timings, strict=True)
    }
    origin = "random images" if options.root is None else options.root.name
    report = Report(
        f"{options.images:,} PNG files of {size:,.0f} bytes ({origin}); {hardware_line()}",
        ("reading", "images/s", "µs/image", "times as fast", "as"),
        left=("reading", "as"),
    )
    rows = [_row(reading, per_image, report) for reading in readings]
    ratio = per_image["start from files"].ratio(per_image["start from the cache"])
    goals = [Goal("start from the cache: rate over files", ratio, at_least=AT_LEAST)]
    report.lines += [str(goal) for goal in goals]
    report.show()
    config = {"images": options.images, "origin": origin, "bytes_a_file": size, "workers": options.workers}
    config |= {"batch_size": options.batch_size, "repeats": options.repeats, "quick": options.quick}
    path = write_results(
        "image-files",
        config,
        rows,
        goals=goals,
        packages=["pillow", "torchvision", "opencv-python"],
        folder=options.out,
    )
    CONSOLE.print(f"written: {path.name}", highlight=False)


def _row(reading: Reading, per_image: Mapping[str, Timing], report: Report) -> dict[str, object]:
    """Add a row to the table; returns that of the file."""
    mine = per_image[reading.name]
    rate, times = Spread.of([1 / each for each in mine.seconds]), per_image[reading.reference].ratio(mine)
    itself = reading.reference == reading.name
    shown = "1" if itself else f"{times.median:.2f} [{times.low:.2f}, {times.high:.2f}]"
    compared = "" if itself else reading.reference
    report.rows.append((reading.name, f"{rate.median:,.0f}", f"{1e6 * mine.spread.median:.1f}", shown, compared))
    return {
        "name": reading.name,
        "images_a_run": reading.images,
        "images_per_second": asdict(rate),
        "times_as_fast": asdict(times),
        "as": reading.reference,
        "seconds": [each * reading.images for each in mine.seconds],
    }


if __name__ == "__main__":
    main()
