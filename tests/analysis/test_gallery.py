import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from iaat.analysis import Thumbnail, extremes
from iaat.analysis.pictures.gallery import as_picture
from iaat.errors import UserError


def thumbnails(count, shape=(8, 8), seed=0, **fields):
    rng = np.random.default_rng(seed)
    given = {"label": "cat", "prediction": "dog", "radius": 3 / 255, **fields}
    return [Thumbnail(image=rng.integers(0, 256, shape) / 255, **given) for _ in range(count)]


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


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((8, 8), 16), ((28, 28), 4), ((32, 32, 3), 4), ((3, 32, 32), 4), ((1, 20, 60), 2), ((128, 100), 1)],
)
def test_small_images_come_out_pixel_for_pixel_enlarged_a_whole_number_of_times(tmp_path, shape, factor):
    shown = thumbnails(3, shape)
    figure = extremes(shown, shown[:1], tmp_path / "extremes.png", title="t")
    for thumbnail, axis in zip([*shown, shown[0]], figure.axes, strict=True):
        picture = as_picture(thumbnail.image)
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, axis=2)
        expected = np.rint(picture * 255).repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_allclose(pixels_under(tmp_path / "extremes.png", axis), expected, atol=1)


def test_a_large_image_is_scaled_down_into_its_cell_with_its_proportions(tmp_path):
    shown = thumbnails(1, (300, 200, 3))
    (axis,) = extremes(shown, [], tmp_path / "extremes.png").axes
    assert pixels_under(tmp_path / "extremes.png", axis).shape == (128, 85, 3)


def test_under_each_image_stand_label_prediction_and_radius(tmp_path):
    figure = extremes(
        [Thumbnail(np.zeros((8, 8)), "cat", "dog", 0.5 / 255)], [Thumbnail(np.ones((8, 8)), "ship", "ship", 16 / 255)],
        tmp_path / "extremes.png",
    )  # fmt: skip
    words = texts(figure)
    assert words[:4] == ["Smallest radii", "cat", "\u2192 dog", "0.50px"]
    assert words[4:8] == ["Largest radii", "ship", "\u2192 ship", "16.00px"]
    assert figure.texts[2].get_color() != figure.texts[6].get_color()


def test_names_stay_text_and_stay_in_their_column(tmp_path):
    names = ["$x_1$", r"$\frac{1}{2$", "under_score", "na\u00efve \u03b5", "W" * 300, "two\nlines"]
    shown = [Thumbnail(np.zeros((8, 8)), name, name, 0.01) for name in names]
    figure = extremes(shown, [], tmp_path / "extremes.png")
    labels = texts(figure)[1:-1:3]
    assert labels[:4] == names[:4]
    assert labels[4].endswith("\u2026")
    assert labels[5] == "two lines"
    assert not any(text.get_parse_math() for text in figure.texts)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text, axis in zip(figure.texts[1:-1:3], figure.axes, strict=True):
        extent = text.get_window_extent(renderer)
        assert extent.x1 < axis.get_window_extent(renderer).x0 + 148 * figure.dpi / 150


def test_a_block_holds_at_most_twenty_in_rows_of_ten(tmp_path):
    figure = extremes(thumbnails(25), thumbnails(2), tmp_path / "extremes.png")
    assert len(figure.axes) == 22
    lefts = [round(axis.get_position().x0, 6) for axis in figure.axes[:20]]
    assert lefts[:10] == lefts[10:]
    assert len(set(lefts)) == 10


def test_an_empty_list_leaves_its_block_out(tmp_path):
    words = texts(extremes([], thumbnails(1), tmp_path / "extremes.png"))
    assert "Largest radii" in words
    assert "Smallest radii" not in words
    with pytest.raises(UserError, match="no images"):
        extremes([], [], tmp_path / "none.png")


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
