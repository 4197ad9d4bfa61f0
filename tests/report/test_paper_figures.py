import base64
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from helpers.report_content import CLASSES, LONG, TAG, minimal, mixed, only_in_l2, rich
from iaat.analysis import charts
from iaat.analysis.style import PRINT
from iaat.corruptions import CORRUPTIONS, EXTRA
from iaat.errors import UserError
from iaat.report.paper_figures import draw_figures, write_figures
from iaat.report.pooled_results import with_pooled_results
from iaat.report.report_content import RunPart
from iaat.report.result_content import EvaluationRow

NAMES = (
    *("tradeoff", "accuracy-by-radius", "radii-by-epoch", "radii-by-class", "radii-quantiles", "radius-against-norm"),
    *("stability", "extremes", "suspects", "loss-surfaces", "training", "corruptions"),
)
EMPTY = {"differences": [], "curves": [], "corruptions": [], "radii": [], "stability": [], "surfaces": []}


@pytest.fixture(scope="module")
def content():
    return rich(count=60)


@pytest.fixture(scope="module")
def figures(content):
    return draw_figures(content)


def only(content, **parts):
    """The content without all but its runs and the given parts."""
    runs = [replace(run, curves={}, quantiles={}) for run in content.runs]
    return with_pooled_results(replace(content, **{**EMPTY, "evaluations": [], "gallery": None, "runs": runs, **parts}))


def labelled(axis, name):
    return [line for line in axis.lines if line.get_label() == name]


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip()]


def mesh(axis):
    (found,) = [each for each in axis.collections if isinstance(each, QuadMesh)]
    return np.ma.filled(found.get_array(), np.nan)


def run_part(name, method, seed):
    return RunPart(name, name, method, seed, 1, {}, 1.0, 1.0, 1.0, {})


def evaluation(run, clean, robust, checkpoint="best", weights="ema", suite="quick 8px"):
    interval = {"clean": (clean - 0.02, clean + 0.01), "apgd": (robust - 0.03, robust + 0.02)}
    return EvaluationRow(
        run,
        checkpoint,
        weights,
        suite,
        "",
        [],
        100,
        clean,
        {"pgd": robust + 0.05, "apgd": robust},
        interval,
        None,
        1.0,
        f"worst case over {suite}",
    )


def test_rich_content_has_every_chart_and_each_is_of_one_or_two_columns(figures):
    assert tuple(figures) == NAMES
    for name, figure in figures.items():
        assert figure.get_figwidth() <= PRINT.page + 1e-9, name
        assert figure.get_figheight() < 9, name


def test_what_there_is_nothing_of_is_not_drawn(tmp_path, content):
    assert write_figures(minimal(), tmp_path) == []
    assert not list(tmp_path.iterdir())
    assert draw_figures(only(content)) == {}
    for field, name in {"curves": "accuracy-by-radius", "stability": "stability", "surfaces": "loss-surfaces"}.items():
        assert list(draw_figures(only(content, **{field: getattr(content, field)}))) == [name]
    gallery = replace(content.gallery, kind=[""] * len(content.gallery.kind))
    assert list(draw_figures(only(content, gallery=gallery))) == ["extremes"]
    assert draw_figures(only(content, gallery=replace(gallery, sheets=[], no_pictures="sound"))) == {}
    bare = [replace(part, norms=None, by_class=[]) for part in content.radii]
    assert list(draw_figures(only(content, radii=bare))) == ["radii-by-epoch"]


def test_each_format_is_written_with_text_as_text_and_equal_content_gives_equal_bytes(tmp_path, content):
    part = only(content, curves=content.curves)
    first, second = (write_figures(part, tmp_path / name / "deep") for name in "ab")
    assert [path.name for path in first] == [f"accuracy-by-radius.{kind}" for kind in ("png", "pdf", "svg")]
    assert sorted(first) == sorted((tmp_path / "a" / "deep").iterdir())
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one
    png, pdf, svg = (path.read_bytes() for path in first)
    assert b"/CIDFontType2" in pdf or b"/TrueType" in pdf
    assert b"/Type3" not in pdf
    assert b"accuracy (%)</text>" in svg
    for written in (png, pdf, svg):
        assert not re.search(rb"CreationDate|<dc:date>|Creation Time", written)
    with Image.open(first[0]) as image:
        assert image.width == round(PRINT.column * PRINT.dpi)


def test_solving_the_layout_anew_gives_equal_bytes(tmp_path, content):
    part = only(content, surfaces=content.surfaces[:2])
    (first,), *others = (write_figures(part, tmp_path / name, ["svg"]) for name in "abc")
    assert all(other.read_bytes() == first.read_bytes() for (other,) in others)


def test_only_the_formats_asked_for_are_written_and_files_of_others_stay(tmp_path, content):
    (tmp_path / "mine.txt").write_text("mine")
    part = only(content, stability=content.stability)
    assert write_figures(part, tmp_path, ["svg", "svg"]) == [tmp_path / "stability.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "stability.svg"]


@pytest.mark.parametrize("name", ["gif", "PNG", "", "../x"])
def test_an_unknown_format_is_refused_before_anything_is_made(tmp_path, content, name):
    with pytest.raises(UserError, match=r"figure format .* is not known.* use png, svg, pdf"):
        write_figures(content, tmp_path / "new", ["png", name])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_drawn(tmp_path, content, monkeypatch):
    monkeypatch.setattr("iaat.report.paper_figures.draw_figures", lambda _: pytest.fail("drawn"))
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(UserError, match="cannot write figures to"):
            write_figures(content, folder)


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, content, monkeypatch):
    def half_written(self, target, **_):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half_written)
    (tmp_path / "stability.png").write_bytes(b"old")
    with pytest.raises(UserError, match="No space left"):
        write_figures(only(content, stability=content.stability), tmp_path, ["png"])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("stability.png", b"old")]


def test_names_of_users_are_plain_text_that_stays_inside(tmp_path, content, figures):
    hostile = ["$x_1$ \\frac{1}{2}", "a\nb\tc\x00\x1b[31m", LONG, TAG, "$\\alpha", "100%_^{", *CLASSES[6:]]
    shown = only(content, gallery=content.gallery, radii=content.radii, curves=content.curves)
    names = [replace(run, name=f"{name} seed {run.seed}") for run, name in zip(shown.runs, hostile, strict=False)]
    shown = replace(shown, classes=hostile, runs=names, recipes=[])
    drawn = draw_figures(shown)
    for figure in (*drawn.values(), *figures.values()):
        with PRINT.context():
            box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())  # in inches
        assert min(box.x0, box.y0) > -0.01
        assert box.x1 < figure.get_figwidth() + 0.01
        assert box.y1 < figure.get_figheight() + 0.01
        for text in texts(figure):
            assert not text.get_parse_math()
            assert not text.get_usetex()
            assert text.get_fontsize() >= PRINT.small
    ticks = {text.get_text() for text in drawn["radii-by-class"].axes[0].get_yticklabels()}
    assert {"$x_1$ \\frac{1}{2}", "a b c\\x00\\x1b[31m", "$\\alpha", "100%_^{"} <= ticks
    assert any(tick.endswith("…") and LONG.startswith(tick[:-1]) for tick in ticks)
    for path in write_figures(replace(shown, gallery=None), tmp_path, ["svg"]):
        root = ElementTree.parse(path).getroot()
        assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
        assert any("$" in (text.text or "") for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_the_tradeoff_shows_runs_means_intervals_frontier_and_the_uniform_curve(content):
    names = [("iaat", "iaat", 0), ("iaat", "iaat", 1), ("at", "pgd_at", 0), ("at", "pgd_at", 0), ("nat", "natural", 0)]
    runs = [run_part(f"{name} seed {seed}", method, seed) for name, method, seed in names]
    rows = [evaluation(0, 0.70, 0.42), evaluation(1, 0.72, 0.40), evaluation(2, 0.60, 0.43), evaluation(3, 0.75, 0.32)]
    others = [evaluation(0, 0.1, 0.1, "last"), evaluation(0, 0.1, 0.1, weights="raw"), evaluation(4, 0.95, 0.0)]
    shown = only(
        content,
        runs=runs,
        evaluations=[replace(row, n=100_000) for row in (*others, *rows)],
        differences=[("method.radius", ["", "", "8px", "2px", ""]), ("seed", list("01000"))],
    )
    figure = draw_figures(shown)["tradeoff"]
    (axis,) = figure.axes
    np.testing.assert_allclose(labelled(axis, "iaat")[0].get_xydata(), [[71, 41]])
    np.testing.assert_allclose(labelled(axis, "_run")[0].get_xydata(), [[70, 42], [72, 40]])
    np.testing.assert_allclose(labelled(axis, "_joined")[0].get_xydata(), [[75, 32], [60, 43]])
    np.testing.assert_allclose(labelled(axis, "_frontier")[0].get_xydata(), [[60, 43], [71, 41], [75, 32]])
    bars = np.array([s for each in axis.collections if isinstance(each, LineCollection) for s in each.get_segments()])
    assert any(np.allclose(bar, [[68, 42], [71, 42]]) for bar in bars)
    assert any(np.allclose(bar, [[75, 29], [75, 34]]) for bar in bars)
    assert {note.get_text() for note in axis.findobj(Annotation)} == {"iaat", "2 px", "8 px"}
    assert "off the picture: nat at 95.0, 0.0" in axis.get_title("left")
    assert "robust: worst case over quick 8px" in axis.get_title("left")


def test_each_suite_has_a_tradeoff_of_its_own_and_many_recipes_are_numbered(content):
    runs = [run_part(f"recipe{number} seed 0", "trades", 0) for number in range(20)]
    rows = [evaluation(number, 0.6 + 0.01 * number, 0.4) for number in range(20)]
    figures = draw_figures(only(content, runs=runs, evaluations=[evaluation(0, 0.5, 0.2, suite="full"), *rows]))
    assert list(figures) == ["tradeoff", "tradeoff-2"]
    assert {note.get_text() for note in figures["tradeoff"].findobj(Annotation)} == {str(n) for n in range(1, 21)}
    assert "20 recipe19" in {text.get_text() for text in figures["tradeoff"].legends[0].get_texts()}
    assert "robust: worst case over full" in figures["tradeoff-2"].axes[0].get_title("left")


def test_lines_have_the_values_of_the_content_and_looks_beside_colours(content, figures):
    (axis,) = figures["accuracy-by-radius"].axes
    for line, part in zip(axis.lines, content.curves, strict=True):
        np.testing.assert_allclose(line.get_xydata().T, [part.radius, 100 * np.array(part.accuracy)])
        assert f"({100 * part.expected:.1f} %)" in line.get_label()
    assert len({line.get_marker() for line in axis.lines}) == 3
    assert len({line.get_color() for line in axis.lines}) == 3
    titles = {axis.get_title("left"): axis for axis in figures["training"].axes}
    assert next(iter(titles)) == "training loss"
    robust = titles["validation, robust (%)"].lines[2].get_ydata()
    expected = content.runs[2].curves["validation_robust"]
    assert expected[-1] is None
    assert np.isnan(robust[-1])
    np.testing.assert_allclose(robust[:-1], 100 * np.array(expected[:-1]))
    assert [len(axis.lines) for axis in titles.values()] == [3, 3, 3, 3, 2, 3]


def test_histograms_bands_and_classes_show_the_radii_of_the_content(content, figures):
    part, run = content.radii[0], content.runs[content.radii[0].run]
    axis = figures["radii-by-epoch"].axes[0]
    counts = np.array(part.counts)
    shades = 100 * counts.T / counts.sum(axis=1)
    np.testing.assert_allclose(np.nan_to_num(mesh(axis)), shades)
    np.testing.assert_allclose(labelled(axis, "median")[0].get_ydata(), run.quantiles["50"])
    axis = figures["radii-quantiles"].axes[0]
    np.testing.assert_allclose(labelled(axis, "median")[0].get_ydata(), run.quantiles["50"])
    outer = next(each for each in axis.collections if isinstance(each, FillBetweenPolyCollection))
    assert outer.get_datalim(axis.transData).y1 == pytest.approx(run.quantiles["95"][-1])
    axis = figures["radii-by-class"].axes[0]
    medians = np.array([[p.by_class[n]["50"] for n in range(len(CLASSES) - 1)] for p in content.radii])
    order = np.argsort(medians.mean(axis=0), kind="stable")
    np.testing.assert_allclose(labelled(axis, "median")[0].get_xdata(), medians[0, order])


def test_norms_are_points_and_robust_samples_are_marked_at_the_end_of_the_search(content, figures):
    norms = content.radii[0].norms
    axis = figures["radius-against-norm"].axes[0]
    pairs = [(r, n) for r, n in zip(norms["radius"], norms["smallest"], strict=True) if n is not None]
    robust = [(r, 32.0) for r, n in zip(norms["radius"], norms["smallest"], strict=True) if n is None]
    assert robust
    np.testing.assert_allclose(labelled(axis, "_adversarial")[0].get_xydata(), pairs)
    np.testing.assert_allclose(labelled(axis, "_robust")[0].get_xydata(), robust)
    assert "rank correlation 0.83, n = 200" in axis.get_title("left")


def test_matrices_show_pairs_both_ways_and_means_over_seeds(content, figures):
    (pair,) = content.stability
    expected = [[np.nan, pair.correlation], [pair.correlation, np.nan]]
    np.testing.assert_allclose(mesh(figures["stability"].axes[0]), expected)
    maps = figures["corruptions"].axes[:3]
    for axis, part in zip(maps, content.corruptions, strict=True):
        np.testing.assert_allclose(mesh(axis), 100 * np.array(list(part.accuracy.values())))
    runs = [run_part(f"one seed {seed}", "iaat", seed) for seed in (0, 1)]
    two = [
        replace(content.corruptions[0], run=run, accuracy={"fog": row}, severities=[3, 5])
        for run, row in ((0, [0.5, 0.4]), (1, [0.7]))
    ]
    figure = draw_figures(only(content, runs=runs, corruptions=two))["corruptions"]
    np.testing.assert_allclose(mesh(figure.axes[0]), [[60, 40]])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["3", "5"]
    assert figure.axes[0].get_title("left") == "one\nmean 50.0 %, 2 seeds"
    assert figure.axes[-1].get_ylabel() == "accuracy (%); means of 1 corruptions"


def test_the_mean_over_corruptions_is_over_the_standard_ones_as_everywhere_else(content):
    accuracy = {name: [0.9 if name in EXTRA else 0.5] for name in CORRUPTIONS}
    figure = draw_figures(only(content, corruptions=[replace(content.corruptions[0], accuracy=accuracy)]))[
        "corruptions"
    ]
    assert figure.axes[0].get_title("left").endswith("\nmean 50.0 %")
    assert figure.axes[-1].get_ylabel() == "accuracy (%); means of the standard 15 corruptions"


def test_images_are_cut_from_the_sheets_with_their_own_label_prediction_and_radius(content, figures):
    gallery = content.gallery
    figure = figures["extremes"]
    assert len(figure.axes) == 20
    radii = [float(t.get_text()[:-3]) for t in texts(figure) if re.fullmatch(r"[\d.]+ px", t.get_text())]
    ordered = sorted(gallery.radius)
    assert radii == [*ordered[:10], *ordered[::-1][:10]]
    place = gallery.radius.index(ordered[0])
    column, row = place % gallery.columns, place // gallery.columns
    with Image.open(io.BytesIO(base64.b64decode(gallery.sheets[0].partition(",")[2]))) as sheet:
        box = (column * gallery.width, row * gallery.height, (column + 1) * gallery.width, (row + 1) * gallery.height)
        np.testing.assert_array_equal(
            figure.axes[0].images[0].get_array(), np.asarray(sheet.convert("RGB").crop(box)) / 255
        )
    ranks = [
        int(t.get_text()[5:].replace(",", "")) for t in texts(figures["suspects"]) if t.get_text().startswith("rank ")
    ]
    assert ranks == sorted(rank for rank, kind in zip(gallery.rank, gallery.kind, strict=True) if kind)[:20]


def test_loss_surfaces_share_one_scale_and_have_a_row_an_image(content, figures):
    axes = [axis for axis in figures["loss-surfaces"].axes if any(isinstance(c, QuadMesh) for c in axis.collections)]
    planes = axes[: len(content.surfaces) * 3]
    for number, axis in enumerate(planes):
        part = content.surfaces[number // 3]
        np.testing.assert_allclose(mesh(axis), part.losses[str(number % 3)])
    scales = {axis.collections[0].norm.vmax for axis in planes}
    assert scales == {max(np.max(loss) for part in content.surfaces for loss in part.losses.values())}


def test_what_a_page_has_no_room_for_goes_on_on_the_next(content):
    radii = [replace(content.radii[0], run=run % 3, by_class=[], norms=None) for run in range(7)]
    figures = draw_figures(only(content, radii=radii))
    assert {name: len(figure.axes) for name, figure in figures.items()} == {"radii-by-epoch": 7, "radii-by-epoch-2": 3}


def test_values_that_are_not_known_are_gaps_everywhere(content):
    nan, run = float("nan"), content.runs[0]
    curves = {"loss": [None, nan, float("inf"), 1.0], "lr": [None], "validation_clean": []}
    shown = only(
        content,
        runs=[
            replace(run, epochs=4, curves=curves, quantiles={"50": [None, 1.0, None, None], "5": [None] * 4}),
            *content.runs[1:],
        ],
        corruptions=[replace(content.corruptions[0], accuracy={"fog": [nan, 0.5], "snow": []}, severities=[1, 2])],
        radii=[replace(content.radii[0], norms={"radius": [1.0], "smallest": [None]}, counts=[[0] * 40] * 20)],
    )
    shown = replace(shown, runs=[shown.runs[0], *(replace(r, curves={}, quantiles={}) for r in shown.runs[1:])])
    figures = draw_figures(shown)
    assert [axis.get_title("left") for axis in figures["training"].axes] == ["training loss"]
    np.testing.assert_array_equal(figures["training"].axes[0].lines[0].get_ydata(), [nan, nan, nan, 1])
    np.testing.assert_array_equal(mesh(figures["corruptions"].axes[0]), [[nan, 50], [nan, nan]])
    assert {"radii-by-epoch", "radii-quantiles", "radius-against-norm"} <= set(figures)


@pytest.fixture(scope="module")
def of_two_norms():
    """A run in L2, that of the images, and two runs in L-inf."""
    content = mixed(count=60)
    return content, draw_figures(content)


def words(figure):
    return [text.get_text() for text in texts(figure)]


def test_figures_of_a_run_in_l2_have_no_px():
    for name, figure in draw_figures(only_in_l2(count=60)).items():
        assert not [text for text in words(figure) if re.search(r"\bpx\b", text)], name


def test_labels_in_l2_have_three_digits(of_two_norms):
    content, figures = of_two_norms
    shown = [text for text in words(figures["extremes"]) if re.fullmatch(r"\d\.\d{3}", text)]
    ordered = sorted(content.gallery.radius)
    assert shown == [f"{radius:.3f}" for radius in (*ordered[:10], *ordered[::-1][:10])]
    assert {"random (L2)", "adversarial (L2)"} <= set(words(figures["loss-surfaces"]))
    assert "0.5" in words(figures["loss-surfaces"])
    axis, other = figures["radius-against-norm"].axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("radius (L2)", "smallest adversarial norm (L2)")
    assert (other.get_xlabel(), other.get_ylabel()) == ("radius (px)", "smallest adversarial norm (px)")


@pytest.mark.parametrize("name", ["radii-by-epoch", "radii-by-class", "radii-quantiles", "accuracy-by-radius"])
def test_two_norms_have_a_figure_each(of_two_norms, name):
    units = [
        {unit for text in words(of_two_norms[1][each]) for unit in re.findall(r"radius \((L2|px)\)", text)}
        for each in (name, f"{name}-2")
    ]
    assert units == [{"L2"}, {"px"}]


def test_two_norms_have_a_panel_each_in_the_training(of_two_norms):
    titles = [axis.get_title("left") for axis in of_two_norms[1]["training"].axes]
    assert [title for title in titles if "radius" in title] == ["mean radius (L2)", "mean radius (px)"]


def test_radii_of_another_norm_than_the_search_do_not_set_its_scale():
    run = charts.MeasuredNorms("run", 0, [2.0, 8.0], [0.4, 0.6], 1.0, None, norm="linf", searched_norm="l2")
    (axis,) = charts.draw_radius_against_norm([run], style=PRINT).axes
    assert axis.get_ylim() == (0, pytest.approx(0.6 * 1.05))


def test_a_radius_of_another_norm_than_the_search_is_not_compared_with_it(content):
    runs = [replace(run, norm="l2") for run in content.runs]
    axis = draw_figures(replace(content, runs=runs, gallery=None))["radius-against-norm"].axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("radius (L2)", "smallest adversarial norm (px)")
    assert "radius = norm" not in words(axis.figure)


@pytest.mark.parametrize(
    ("norms", "labels"), [(("l2", "l2"), {"L2 0.5", "L2 0.25"}), (("l2", "linf"), {"recipe0", "recipe1"})]
)
def test_the_curve_of_uniform_radii_has_labels_in_l2_and_none_of_two_norms(content, norms, labels):
    runs = [replace(run_part(f"recipe{n} seed 0", "pgd_at", 0), norm=norm) for n, norm in enumerate(norms)]
    differences = [("method.radius", ["0.5", "0.25"])]
    rows = [evaluation(0, 0.6, 0.4), evaluation(1, 0.7, 0.3)]
    figure = draw_figures(only(content, runs=runs, evaluations=rows, differences=differences))["tradeoff"]
    assert {note.get_text() for note in figure.findobj(Annotation)} == labels
