"""Contents of a report: one with everything, names that attack the page among it, and one with next to nothing."""

from dataclasses import asdict, replace

import numpy as np

from iaat.evaluate.findings import TRUSTED
from iaat.evaluate.sample_records import SampleRecords
from iaat.report.detail_pictures import drawn_detail
from iaat.report.detail_records import Attempt, Neighbour, Reading, SampleDetail
from iaat.report.image_content import AttackedImages, Gallery, Neighbours, SurfacePart
from iaat.report.opening import focus_row, opening_of
from iaat.report.pooled_results import with_pooled_results
from iaat.report.radius_reasons import radius_reasons
from iaat.report.report_content import Accuracies, Corruptions, Radii, ReportContent, RunPart, Stability
from iaat.report.result_content import EvaluationRow, UnderAttack
from iaat.report.thumbnails import Sprites, as_bytes, perturbation_picture, picture_uri, sprites
from iaat.report.under_attack import class_results
from iaat.report.wall import pack_wall

TAG = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(1)</script>"
FORMULA = "=cmd()"
MARKUP = '<i>"q"</i>&amp;'
LONG = "a class with a name so long that no table, label, legend or list of choices has the room to show all of it"
HEBREW = "חתול & כלב"
CLASSES = ["airplane", TAG, SCRIPT, FORMULA, LONG, HEBREW, "鳥🐦", "frog %{x} $y$", MARKUP, "truck"]
HOSTILE_PATH = f"train/{TAG}/+1.png"
EPOCHS = 20
COUNT = 300
NEAR = 4
"""Images that have a thumbnail and are not in the gallery."""
LEVELS = ("5", "25", "50", "75", "95")
ATTACKS = ("pgd-20", "pgd-50x5", "autoattack")


def rich(count=COUNT, seed=0, runs=3, pictures=True):
    """Three runs with everything there is to show; more `pgd_at` runs if asked for."""
    draw = np.random.default_rng(seed)
    methods = ["iaat", "pgd_at", "pgd_at", "trades", "trades", *["pgd_at"] * runs][:runs]
    parts = [_run(draw, number, method) for number, method in enumerate(methods)]
    with_radii = [number for number, method in enumerate(methods) if number != 1 or method == "iaat"]
    content = ReportContent(
        title=f"CIFAR-10, small networks {TAG}",
        made="2026-11-25, iaat 0.1.0",
        classes=CLASSES,
        runs=parts,
        evaluations=[
            _evaluation(draw, number, checkpoint) for number in range(runs) for checkpoint in ("best", "last")
        ],
        differences=[("method", methods), ("method.radius", ["8px"] * runs), ("data.root", [SCRIPT] * runs)],
        curves=[_accuracies(number) for number in range(runs)],
        corruptions=[_corruptions(draw, number) for number in range(runs)],
        radii=[_radii(draw, number) for number in with_radii],
        stability=[
            Stability(a, b, float(draw.uniform(0.85, 0.98)), 45000) for a in with_radii for b in with_radii if a < b
        ],
        gallery=(packed := _gallery(draw, count, pictures))[0],
        wall=packed[1],
        surfaces=[_surface(draw, place, range(runs)) for place in range(3)],
        notes=["runs/old has no radii.parquet: radii are left out", f"{TAG} was not read"],
        dataset="CIFAR-10",
    )
    content = with_pooled_results(content)
    row = focus_row(content)
    attacked = UnderAttack(row.suite, row.worst_case, [class_results(row.recipe, [_records(draw)], len(CLASSES))])
    images = _attacked(draw) if pictures else None
    content = replace(content, under_attack=replace(attacked, images=images))
    return replace(content, opening=opening_of(content))


IN_L2 = 1 / 16
"""What a length in px is in L2 where a content has a run in L2: 8 px become 0.5."""


def mixed(**options):
    """As `rich`, but the first run, that of the images, was trained and evaluated in L2."""
    content = rich(**options)
    runs, radii, curves = ([*each] for each in (content.runs, content.radii, content.curves))
    runs[0], radii[0], curves[0] = _run_in_l2(runs[0]), _radii_in_l2(radii[0]), _accuracies_in_l2(curves[0])
    gallery, wall = content.gallery, content.wall
    details = {place: _detail_in_l2(detail) for place, detail in gallery.details.items()}
    surfaces = [
        replace(part, offsets=_scaled(part.offsets), radius=part.radius * IN_L2, norm="l2") for part in content.surfaces
    ]
    return replace(
        content,
        runs=runs,
        radii=radii,
        curves=curves,
        surfaces=surfaces,
        gallery=replace(gallery, radius=_scaled(gallery.radius), details=details),
        wall=replace(wall, step=wall.step * IN_L2, norm="l2"),
    )


def only_in_l2(**options):
    """The first run of `mixed` alone."""
    content = mixed(runs=1, **options)
    return replace(content, title="CIFAR-10 in L2", evaluations=[], pooled=[], opening=None, under_attack=None)


def _scaled(values):
    return [None if value is None else value * IN_L2 for value in values]


def _run_in_l2(run):
    curves = run.curves | {"radius_mean": _scaled(run.curves["radius_mean"])}
    return replace(
        run, norm="l2", curves=curves, quantiles={level: _scaled(values) for level, values in run.quantiles.items()}
    )


def _radii_in_l2(part):
    norms = {**part.norms, "norm": "l2", "searched": part.norms["searched"] * IN_L2}
    norms |= {name: _scaled(part.norms[name]) for name in ("radius", "smallest")}
    classes = [values and {level: value * IN_L2 for level, value in values.items()} for values in part.by_class]
    return replace(part, edges=_scaled(part.edges), by_class=classes, norms=norms)


def _accuracies_in_l2(part):
    return replace(part, radius=_scaled(part.radius), norm="l2", suite="standard 0.5 l2")


def _detail_in_l2(detail):
    def attempts(name):
        return [{**each, "radius": each["radius"] * IN_L2, "size": each["size"] * IN_L2} for each in detail[name]]

    lengths = {name: detail[name] * IN_L2 for name in ("smallest", "searched")}
    return {**detail, **lengths, "frames": attempts("frames"), "strip": attempts("strip"), "norm": "l2"}


def _records(draw, n=1000):
    """Records of a model that is 86 % correct and 44 % robust."""
    label, other = draw.integers(len(CLASSES), size=n), draw.integers(1, len(CLASSES), n)
    fate = draw.uniform(size=n)
    wrong = (label + other) % len(CLASSES)
    by = np.where(
        fate < 0.14, "clean", np.where(fate < 0.5, "pgd-20", np.where(fate < 0.56, "autoattack/square", "none"))
    )
    return SampleRecords(
        index=np.arange(n),
        label=label,
        clean=np.where(by == "clean", wrong, label),
        adversarial=np.where(by == "none", -1, wrong),
        misclassified_by=by,
        norm=np.where(by == "clean", 0.0, np.where(by == "none", np.nan, fate * 8 / 255)),
    )


def _attacked(draw, count=60):
    """Attacked test images, six of each class."""
    sheets = sprites(_images(draw, count))
    label = np.repeat(np.arange(len(CLASSES)), count // len(CLASSES))
    other = (label + 1 + np.arange(count) % 2) % len(CLASSES)
    needed = np.arange(count) % 6 > 0
    return AttackedImages(
        run=0,
        checkpoint="best",
        chosen="of each class at most 6, the smallest perturbations first",
        left_out=[3] * len(CLASSES),
        **asdict(sheets),
        index=draw.permutation(10000)[:count].tolist(),
        label=label.tolist(),
        clean=np.where(needed, label, other).tolist(),
        adversarial=other.tolist(),
        attack=np.where(needed, "PGD-20", "clean").tolist(),
        norm=np.where(needed, "3.1 px", "").tolist(),
    )


def minimal():
    """One run that nothing else is known of."""
    run = RunPart("digits-natural seed 0", "digits-natural", "natural", 0, 0, {}, 1.0, 1.0, 5.0, {})
    return ReportContent("One run", "2026-11-25, iaat 0.1.0", ["0", "1"], [run], [])


def _run(draw, number, method):
    time = np.linspace(0, 1, EPOCHS)
    noise = lambda scale: draw.normal(0, scale, EPOCHS)  # noqa: E731
    robust = (0.25 + 0.24 * time**0.5 + noise(0.006)).tolist()
    median = 9 * time**0.7
    curves = {
        "loss": (2.3 - 1.1 * time**0.5 + 0.1 * number + noise(0.01)).tolist(),
        "train_accuracy": (0.3 + 0.3 * time**0.5 + noise(0.004)).tolist(),
        "validation_clean": (0.45 + 0.38 * time**0.5 - 0.03 * number + noise(0.006)).tolist(),
        "validation_robust": [*robust[:-1], None] if number == 2 else robust,
        "lr": (0.1 * (1 + np.cos(np.pi * time)) / 2).tolist(),
    }
    quantiles = {}
    if number != 1:
        curves["radius_mean"] = (median * 1.05).tolist()
        quantiles = {
            level: (median * factor).tolist() for level, factor in zip(LEVELS, (0.1, 0.55, 1, 1.4, 2.1), strict=True)
        }
    name = f"cifar10-small-{method} seed {number}" if number != 1 else f"cifar10 {TAG} seed 1"
    hardware = {"device": "NVIDIA H100", "torch": "2.14.1", "precision": "bf16"}
    return RunPart(
        name, f"run-{number}", method, number, EPOCHS, hardware, 7.5, 7.5, 1830.0 * (number + 1), curves, quantiles
    )


def _evaluation(draw, number, checkpoint):
    clean = 0.86 - 0.025 * number + 0.01 * (checkpoint == "last")
    worst = 0.44 + 0.015 * number - 0.02 * (checkpoint == "last") + float(draw.uniform(-0.004, 0.004))
    attacks = dict(zip(ATTACKS, (worst + 0.035, worst + 0.03, worst), strict=True))
    accuracies = {"clean": clean, **attacks}
    findings = []
    if number == 1:
        findings.append(
            {
                "name": "black-box-wins",
                "evidence": "Square finds adversarial images for 12.4 % of the samples that PGD leaves standing.",
                "advice": "Report the black-box figure, and adapt the gradient attack to the model.",
                "serious": True,
            }
        )
    if number == 2 and checkpoint == "best":
        findings.append(
            {
                "name": "no-black-box",
                "evidence": "The black-box attack was not run.",
                "advice": "Compare with a black-box attack of your own, if you can.",
                "serious": False,
            }
        )
    return EvaluationRow(
        run=number,
        checkpoint=checkpoint,
        weights="ema",
        suite="standard 8px linf",
        verdict="do not trust PGD here: black-box-wins" if number == 1 else TRUSTED,
        findings=findings,
        n=1000,
        clean=clean,
        attacks=attacks,
        interval95={name: (value - 0.03, value + 0.03) for name, value in accuracies.items()},
        gap=0.035,
        seconds=410.0,
    )


def _accuracies(number):
    radius = [0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0]
    accuracy = [max(0.0, 0.86 - 0.025 * number - 0.05 * r * (1 - 0.02 * number) + 0.0005 * r * r) for r in radius]
    return Accuracies(number, "best", radius, accuracy, float(np.mean(accuracy)), "ema", "standard 8px linf", 1000)


def _corruptions(draw, number):
    return Corruptions(number, "best", _corrupted(draw), "ema", "standard 8px linf", 1000, "published, CIFAR-10-C")


def _corrupted(draw):
    names = ["gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "fog", "contrast", "jpeg_compression"]
    return {
        name: [float(value) for value in draw.uniform(0.6, 0.85) - draw.uniform(0.02, 0.09) * np.arange(5)]
        for name in names
    }


def _radii(draw, number):
    edges = np.linspace(0, 24, 41)
    counts = [
        np.histogram(np.clip(draw.gamma(2.5, 0.02 + 1.6 * (epoch / EPOCHS) ** 0.7, 45000), 0, 24), edges)[0].tolist()
        for epoch in range(1, EPOCHS + 1)
    ]
    by_class = [
        {level: float(place * factor) for level, factor in zip(LEVELS, (0.1, 0.55, 1, 1.4, 2.1), strict=True)}
        for place in draw.uniform(2, 10, len(CLASSES))
    ]
    radius = draw.gamma(2.5, 1.6, 200)
    norm = [None if r > 12 else round(float(r * 0.9 + abs(draw.normal(0, 1.5))), 2) for r in radius]
    norms = {
        "index": list(range(200)),
        "radius": radius.round(2).tolist(),
        "smallest": norm,
        "searched": 32.0,
        "norm": "linf",
        "correlation": 0.83,
        "n": 200,
    }
    return Radii(number, list(range(1, EPOCHS + 1)), edges.tolist(), counts, [*by_class[:-1], None], norms)


def _images(draw, count):
    """Blobs of colour `[N, 3, 32, 32]` in [0, 1]."""
    y, x = np.mgrid[0:32, 0:32] / 31
    centre, width = draw.uniform(0.2, 0.8, (count, 2, 1, 1)), draw.uniform(0.05, 0.3, (count, 1, 1))
    blob = np.exp(-((x - centre[:, 0]) ** 2 + (y - centre[:, 1]) ** 2) / (2 * width**2))[:, None]
    tone, ground = draw.uniform(0, 1, (count, 3, 1, 1)), draw.uniform(0, 1, (count, 3, 1, 1))
    return np.clip(blob * tone + (1 - blob) * ground, 0, 1).astype(np.float32)


def _gallery(draw, count, pictures):
    images = _images(draw, count + NEAR)
    sheets = sprites(images) if pictures else Sprites()
    label = draw.integers(len(CLASSES), size=count)
    other = (label + draw.integers(1, len(CLASSES), count)) % len(CLASSES)
    radius = np.sort(draw.gamma(2.0, 3.0, count)).round(2)
    suspicion = np.clip(1 - radius / 12 + draw.normal(0, 0.1, count), 0, 1).round(4)
    kind = np.where(suspicion > 0.93, "label", np.where(suspicion > 0.87, "ambiguous", ""))
    prediction = np.where((kind == "label") | (draw.uniform(size=count) < 0.1), other, label)
    growth = np.linspace(0.05, 1, EPOCHS) ** 0.8
    history = (radius[:, None] * growth * draw.uniform(0.9, 1.1, (count, EPOCHS))).round(2)
    history[:, -1] = radius
    path = [f"train/{number % 10}/{number:05d}.png" for number in range(count)]
    path[0] = HOSTILE_PATH
    looked_at = [*range(6), count // 2, count - 1]
    index = draw.permutation(45000)[:count].tolist()
    # Of each image in detail four neighbours of the gallery, and four that are on the wall alone.
    near = [*index[10:14], *range(45000, 45000 + NEAR)]
    details = {k: _detail(draw, images, k, int(label[k]), int(other[k]), near) for k in looked_at}
    gallery = Gallery(
        run=0,
        total=45000,
        pictured=count + NEAR if pictures else 0,
        chosen="a quarter each: the smallest radii, the largest, the most suspect, and any",
        **asdict(sheets),
        index=index,
        label=label.tolist(),
        prediction=prediction.tolist(),
        radius=radius.tolist(),
        path=path,
        rank=(np.argsort(np.argsort(-suspicion, kind="stable")) + 1).tolist(),
        notes=["30 of 450 images are suspected of a label error.", f"12 have a small radius {TAG}, and are withheld."],
        kind=kind.tolist(),
        suggested=np.where(prediction != label, prediction, -1).tolist(),
        details={str(k): _drawn(detail, pictures) for k, detail in details.items()},
        compute="iaat report run-0 -o report.html --details-of {index}",
        compute_more="--details N",
        no_pictures=None if pictures else "inputs of shape [7] are not drawn: pictures are [1 or 3, height, width]",
    )
    gallery = replace(gallery, neighbours=_neighbours(draw, gallery, pictures))
    return gallery, _wall(draw, gallery, history)


def _drawn(detail, pictures):
    """A detail as the page has it; without pictures as of inputs that are no images."""
    if not pictures:
        bare = lambda each: replace(each, image=None, perturbation=None)  # noqa: E731
        detail = replace(detail, frames=tuple(map(bare, detail.frames)), strip=tuple(map(bare, detail.strip)))
    return drawn_detail(detail)


def _neighbours(draw, gallery, pictures):
    """Three neighbours of each class for the suspected label errors but the last."""
    called = sorted((k for k, kind in enumerate(gallery.kind) if kind == "label"), key=gallery.rank.__getitem__)[:-1]
    images = _images(draw, 12)
    sheets = sprites(images) if pictures else Sprites()
    rows = [[int(each) for each in draw.choice(12, 3, replace=False)] for _ in range(2 * len(called))]
    index = list(range(50_000, 50_012))
    return Neighbours(called, rows[: len(called)], rows[len(called) :], index, **asdict(sheets))


def _wall(draw, gallery, history):
    """The images of the gallery and half as many others."""
    more = len(gallery.index) // 2
    others = draw.gamma(2.0, 3.0, more)[:, None] * np.linspace(0.05, 1, EPOCHS)
    label = np.concatenate([gallery.label, draw.integers(len(CLASSES), size=more)])
    radii = (np.concatenate([history, others]).T / 255).astype(np.float32)
    epochs = list(range(1, EPOCHS + 1))
    probabilities = draw.dirichlet(np.ones(len(CLASSES)), len(label))
    return pack_wall(
        0,
        epochs,
        radii,
        np.concatenate([gallery.index, 45000 + np.arange(more)]),
        label,
        np.concatenate([gallery.prediction, label[len(gallery.index) :]]),
        np.array([kind or "clear" for kind in gallery.kind] + ["clear"] * more),
        reasons=radius_reasons(radii, epochs, label, probabilities, method="iaat"),
    )


def _reading(draw, first, second):
    rest = [number for number in range(len(CLASSES)) if number not in (first, second)][:3]
    sure = float(draw.uniform(0.5, 0.9))
    return sure, {
        "prediction": first,
        "classes": [first, second, *rest],
        "probabilities": [sure, 0.7 * (1 - sure), 0.2 * (1 - sure), 0.06 * (1 - sure), 0.04 * (1 - sure)],
    }


def _detail(draw, images, k, label, confused, near):
    """A detail of an image that attacks of 4 px and more succeed on; `near` are samples for its neighbours."""
    direction = draw.normal(size=(3, 32, 32)).astype(np.float32)

    def reading(adversarial):
        first, second = (confused, label) if adversarial else (label, confused)
        sure, found = _reading(draw, first, second)
        pair = (0.7 * (1 - sure), sure) if adversarial else (sure, 0.7 * (1 - sure))
        return Reading(**found, label=pair[0], confused=pair[1])

    def attempt(radius, target):
        x_adv = np.clip(images[k] + np.clip(4 * direction, -1, 1) * radius / 255, 0, 1).astype(np.float32)
        perturbation, factor = perturbation_picture(x_adv - images[k])
        adversarial = radius > 8 if target is not None else radius >= 4
        return Attempt(target, radius, radius, adversarial, reading(adversarial), as_bytes(x_adv), perturbation, factor)

    def neighbours(places):
        return tuple(Neighbour(int(place), label, 1.2 + 0.3 * n, as_bytes(images[0])) for n, place in enumerate(places))

    radii = (0.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0)
    return SampleDetail(
        index=k,
        label=label,
        confused=confused,
        frames=tuple(attempt(radius, None) for radius in radii),
        own_at=2,
        uniform_at=5,
        smallest=3.4,
        searched=32.0,
        strip=tuple(attempt(radius, confused) for radius in (8.0, 16.0, 32.0)),
        space="penultimate",
        near_own=neighbours(near[:4]),
        near_confused=neighbours(near[4:]),
    )


def _surface(draw, place, runs):
    offsets = np.linspace(-16, 16, 25)
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    losses, predictions = {}, {}
    for run in runs:
        loss = np.log1p(np.exp((x + 0.3 * y * draw.normal()) / (3 + 2 * run))) + 0.002 * y**2
        losses[str(run)] = loss.round(4).tolist()
        label = (place + 1) % len(CLASSES)
        predictions[str(run)] = np.where(loss < 1.1 + 0.3 * run, label, np.where(y > 4, 5, 0)).tolist()
    image = picture_uri(_images(draw, 1)[0])
    return SurfacePart(1000 + place, (place + 1) % len(CLASSES), image, offsets.tolist(), losses, predictions, 8.0)
