"""Feeding a training loop: batches augmented on the device against a torchvision DataLoader.

    python benchmarks/data.py [--root DIR] [--workers 2] [--batch-size 128] [--repeats 7] [--quick]

Both hold the images in memory as bytes and give shuffled batches of floats in [0, 1], each image padded by 4 pixels,
cropped at random and flipped at random. torchvision's side is what its documentation teaches: a data set of PIL
images, `RandomCrop`, `RandomHorizontalFlip` and `ToTensor` image by image, a `DataLoader` with worker processes. Ours
is `InMemorySource`; an epoch of it includes drawing the order. With a GPU both deliver there.

`--root` is CIFAR-10 as torchvision keeps it or as folders of images; without it random images of that size are drawn,
which cost the same, because nothing is decoded while timing. Writes `data-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count

import torch
from _measure import CONSOLE, Goal, Report, Spread, Timing, compare, hardware_line, parser, start, write_results
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from iaat.data import Augmentation, DataConfig, InMemorySource, epoch_order
from iaat.data.read_splits import read_splits
from iaat.runtime import rng

CROP, CLASSES = 4, 10
IMAGES, SHAPE = 50_000, (3, 32, 32)
"""Of CIFAR-10's training set."""
AT_LEAST = 20
"""How many times torchvision's rate ours is meant to be."""
TORCHVISION_PADDING = {"reflect": "reflect", "zeros": "constant"}
"""What torchvision calls our paddings."""


@dataclass(frozen=True)
class Feed:
    """One way to feed a loop.

    Attributes:
        name: What the table shows.
        padding: As `Augmentation` has it.
        images: How many a run delivers.
        run: Delivers them.
        reference: Whether the others of its padding are compared with it.
    """

    name: str
    padding: str
    images: int
    run: Callable[[], object]
    reference: bool = False


class Pictures(Dataset[tuple[Tensor, int]]):
    """A data set as torchvision's own: an array of bytes, an item of which becomes a PIL image and is transformed."""

    def __init__(self, images: Tensor, labels: Tensor, padding: str) -> None:
        self._arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = labels.tolist()
        crop = transforms.RandomCrop(images.shape[2:], padding=CROP, padding_mode=TORCHVISION_PADDING[padding])
        self._transform = transforms.Compose([crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._arrays[position])), self._labels[position]


def main() -> None:
    """Measure all feeds in turns."""
    options = _options()
    device = start(options)
    images, labels, origin = _images(options.root)
    feeds = [
        feed
        for padding in TORCHVISION_PADDING
        for feed in (
            _torchvision(images, labels, padding, options, device),
            *_ours(images, labels, padding, options, device),
        )
    ]
    timings = compare({feed.name: feed.run for feed in feeds}, rounds=options.repeats, device=device)
    _publish(feeds, _per_image(feeds, timings), origin, options)


def _options() -> argparse.Namespace:
    made = parser(__doc__, repeats=7)
    made.add_argument("--root", help="folder of CIFAR-10; random images of its size by default")
    made.add_argument("--workers", type=int, default=2, help="worker processes of the DataLoader (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="(default %(default)s)")
    made.add_argument("--quick", action="store_true", help="3 rounds, fewer images")
    options = made.parse_args()
    if options.quick:
        options.repeats = min(options.repeats, 3)
    return options


def _images(root: str | None) -> tuple[Tensor, Tensor, str]:
    """Images `[N, 3, 32, 32]` uint8, labels `[N]`, and where they are from."""
    if root is None:
        source = rng.generator(0, "images")
        images = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=source)
        return images, torch.randint(CLASSES, (IMAGES,), generator=source), "random images, no --root given"
    split, _ = read_splits(DataConfig(name="cifar10", root=root, download=False))
    return split.load(torch.arange(len(split))), split.labels, "CIFAR-10"


def _torchvision(
    images: Tensor, labels: Tensor, padding: str, options: argparse.Namespace, device: torch.device
) -> Feed:
    """The workers stay, so a run does not start processes; it ends with all its images, so none waits for the next."""
    data = Pictures(images, labels, padding)
    # Enough batches that filling the queue at the start of a run is a few per cent of it.
    delivered = min(len(data), (20 if options.quick else 100) * options.batch_size)
    loader = DataLoader(
        data,
        batch_size=options.batch_size,
        sampler=RandomSampler(data, num_samples=delivered),
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        pin_memory=device.type == "cuda",
    )

    def run() -> None:
        for x, y in loader:
            x.to(device, non_blocking=True)
            y.to(device, non_blocking=True)

    return Feed(f"torchvision, {options.workers} workers, {padding}", padding, delivered, run, reference=True)


def _ours(
    images: Tensor, labels: Tensor, padding: str, options: argparse.Namespace, device: torch.device
) -> Sequence[Feed]:
    how = Augmentation(crop=CROP, padding="reflect" if padding == "reflect" else "zeros", flip=True)
    names = [str(label) for label in range(CLASSES)]
    source = InMemorySource(images, labels, names, augmentation=how, device=device)
    delivered = len(source) // 4 if options.quick else len(source)
    epochs = count()

    def run(memory_format: torch.memory_format) -> None:
        epoch = next(epochs)
        order = epoch_order(torch.arange(delivered), options.batch_size, seed=0, epoch=epoch)
        for batch in source.batches(order, augment=(0, epoch)):
            batch.x.contiguous(memory_format=memory_format)

    return [
        Feed(f"ours, {padding}", padding, delivered, lambda: run(torch.contiguous_format)),
        # As the training loop has it for models in that memory order.
        Feed(f"ours, {padding}, channels_last", padding, delivered, lambda: run(torch.channels_last)),
    ]


def _per_image(feeds: Sequence[Feed], timings: Sequence[Timing]) -> dict[str, Timing]:
    """Seconds an image, by name of the feed."""
    return {
        feed.name: Timing(feed.name, tuple(seconds / feed.images for seconds in timing.seconds))
        for feed, timing in zip(feeds, timings, strict=True)
    }


def _publish(feeds: Sequence[Feed], timings: dict[str, Timing], origin: str, options: argparse.Namespace) -> None:
    """Print the table and write the file."""
    rows, goals = [], []
    reference = {feed.padding: timings[feed.name] for feed in feeds if feed.reference}
    report = Report(
        f"feeding {options.batch_size} images a batch, 3 x 32 x 32 ({origin}); {hardware_line()}",
        ("feed", "images/s", "µs/image", "x torchvision"),
        left=("feed",),
    )
    for feed in feeds:
        mine = timings[feed.name]
        rate = Spread.of([1 / seconds for seconds in mine.seconds])
        times = reference[feed.padding].ratio(mine)
        if not feed.reference:
            goals.append(Goal(f"{feed.name}: rate over torchvision's", times, at_least=AT_LEAST))
        shown = "1" if feed.reference else f"{times.median:.1f} [{times.low:.1f}, {times.high:.1f}]"
        report.rows.append((feed.name, f"{rate.median:,.0f}", f"{1e6 * mine.spread.median:.1f}", shown))
        rows.append({"name": feed.name, "images_a_run": feed.images})
        rows[-1] |= {"images_per_second": asdict(rate), "over_torchvision": asdict(times)}
    report.lines += [str(goal) for goal in goals]
    report.show()
    config = {"images": origin, "batch_size": options.batch_size, "workers": options.workers, "crop": CROP}
    config |= {"repeats": options.repeats, "quick": options.quick}
    path = write_results("data", config, rows, goals=goals, packages=["pillow"], folder=options.out)
    CONSOLE.print(f"written: {path.name}", highlight=False)


if __name__ == "__main__":
    main()
