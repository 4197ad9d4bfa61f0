import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from iaat.analysis import PRINT, SCREEN
from iaat.analysis.charts import draw_extremes, labelled_thumbnail
from iaat.analysis.charts.images import as_picture
from iaat.errors import UserError


def thumbnails(count, shape=(8, 8), seed=0, **fields):
    rng = np.random.default_rng(seed)
    given = {"label": "cat", "prediction": "dog", "radius": 3.0, **fields}
    return [labelled_thumbnail(rng.integers(0, 256, shape) / 255, **given) for _ in range(count)]


def drawn(smallest, largest, path, style=SCREEN, **options):
    figure = draw_extremes(smallest, largest, style=style, **options)
    style.save(figure, path)
    return figure


def texts(figure):
    return [text.get_text() for text in figure.texts]


def pixels_under(path, axis):
    """The part of the written picture that `axis` covers, as `[H, W, 3]`, 0..255."""
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB"))
    height, width = picture.shape[:2]
    box = axis.get_position()
    top, bottom = round((1 - box.y1) * height), round((1 - box.y0) * height)
    return picture[top:bottom, round(box.x0 * width) : round(box.x1 * width)]


@pytest.mark.parametrize("style", [SCREEN, PRINT])
@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 32, 3), (3, 32, 32), (1, 20, 60), (128, 100)])
def test_small_images_come_out_pixel_for_pixel_enlarged_a_whole_number_of_times(tmp_path, shape, style):
    shown = thumbnails(3, shape)
    figure = drawn(shown, shown[:1], tmp_path / "extremes.png", style, title="t")
    for thumbnail, axis in zip([*shown, shown[0]], figure.axes, strict=True):
        picture = as_picture(thumbnail.image)
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, axis=2)
        factor = style.thumbnail // max(picture.shape[:2])
        expected = np.rint(picture * 255).repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_allclose(pixels_under(tmp_path / "extremes.png", axis), expected, atol=1)


def test_a_large_image_is_scaled_down_into_its_cell_with_its_proportions(tmp_path):
    shown = thumbnails(1, (300, 200, 3))
    (axis,) = drawn(shown, [], tmp_path / "extremes.png").axes
    assert pixels_under(tmp_path / "extremes.png", axis).shape == (128, 85, 3)


def test_label_prediction_and_radius_are_under_each_image():
    zeros, ones = np.zeros((8, 8)), np.ones((8, 8))
    smallest, largest = labelled_thumbnail(zeros, "cat", "dog", 0.5), labelled_thumbnail(ones, "ship", "ship", 16)
    figure = draw_extremes([smallest], [largest], style=SCREEN)
    words = texts(figure)
    assert words[:4] == ["Smallest radii", "cat", "\u2192 dog", "0.50 px"]
    assert words[4:8] == ["Largest radii", "ship", "\u2192 ship", "16.00 px"]
    assert figure.texts[2].get_color() != figure.texts[6].get_color()


def test_an_image_without_prediction_has_its_label_and_radius():
    figure = draw_extremes([labelled_thumbnail(np.zeros((8, 8)), "cat", None, 2)], [], style=SCREEN)
    assert texts(figure)[:3] == ["Smallest radii", "cat", "2.00 px"]
    assert texts(figure)[-1].strip() == "Under each: label, radius."


def test_names_stay_text_and_stay_in_their_column():
    names = ["$x_1$", r"$\frac{1}{2$", "under_score", "na\u00efve \u03b5", "W" * 300, "two\nlines"]
    shown = [labelled_thumbnail(np.zeros((8, 8)), name, name, 2) for name in names]
    figure = draw_extremes(shown, [], style=SCREEN)
    labels = texts(figure)[1:-1:3]
    assert labels[:4] == names[:4]
    assert labels[4].endswith("\u2026")
    assert labels[5] == "two lines"
    assert not any(text.get_parse_math() for text in figure.texts)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text, axis in zip(figure.texts[1:-1:3], figure.axes, strict=True):
        extent = text.get_window_extent(renderer)
        assert extent.x1 < axis.get_window_extent(renderer).x0 + 148 * figure.dpi / 150


def test_a_block_has_rows_of_ten():
    figure = draw_extremes(thumbnails(20), thumbnails(2), style=SCREEN)
    assert len(figure.axes) == 22
    lefts = [round(axis.get_position().x0, 6) for axis in figure.axes[:20]]
    assert lefts[:10] == lefts[10:]
    assert len(set(lefts)) == 10


def test_an_empty_list_leaves_its_block_out():
    words = texts(draw_extremes([], thumbnails(1), style=SCREEN))
    assert "Largest radii" in words
    assert "Smallest radii" not in words
    with pytest.raises(UserError, match="no images"):
        draw_extremes([], [], style=SCREEN)


def test_every_layout_is_the_same_picture():
    color = np.random.default_rng(0).uniform(size=(5, 7, 3))
    np.testing.assert_array_equal(as_picture(color), color)
    np.testing.assert_array_equal(as_picture(np.moveaxis(color, -1, 0)), color)
    gray = color[:, :, 0]
    for layout in (gray, gray[None], gray[:, :, None]):
        np.testing.assert_array_equal(as_picture(layout), gray)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 2)), "shape"),
        (np.zeros(4), "shape"),
        (np.zeros((0, 4)), "shape"),
        (np.full((4, 4), 255.0), r"\[0, 1\]"),
        (np.full((4, 4), -1.0), r"\[0, 1\]"),
        (np.full((4, 4), np.nan), r"\[0, 1\]"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(UserError, match=message):
        as_picture(image)


def test_rounding_just_beyond_the_range_is_clipped():
    np.testing.assert_array_equal(as_picture(np.array([[-1e-6, 1 + 1e-6]])), [[0, 1]])


def test_a_radius_in_l2_has_three_digits_and_no_px():
    thumbnail = labelled_thumbnail(np.zeros((8, 8)), "cat", "dog", 0.5, "l2")
    assert thumbnail.lines[-1][0] == "0.500"
