import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from iaat.analysis import PRINT, SCREEN, style
from iaat.errors import UserError


def luminance(color):
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", [name for name in style.PALETTE if name != "yellow"])
def test_label_text_keeps_the_contrast_that_wcag_asks_of_text_on_white(name):
    assert 1.05 / (luminance(style.darker(style.PALETTE[name])) + 0.05) >= 4.5
    assert luminance(style.darker(style.PALETTE[name])) <= luminance(to_rgb(style.PALETTE[name]))


@pytest.mark.parametrize("sizes", [SCREEN, PRINT])
def test_the_style_replaces_the_users_own_and_gives_it_back(sizes):
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 31.0, "text.parse_math": True}):
        with sizes.context():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
            assert matplotlib.rcParams["font.size"] == sizes.font
            assert matplotlib.rcParams["text.parse_math"] is False
        assert matplotlib.rcParams["axes.facecolor"] == "black"
        assert matplotlib.rcParams["font.size"] == 31
        assert matplotlib.rcParams["text.parse_math"] is True


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("PNG", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_save_writes_the_format_of_the_suffix_and_nothing_else(tmp_path, suffix, magic):
    path = tmp_path / "new" / f"picture.{suffix}"
    SCREEN.save(Figure(figsize=(2, 1)), path)
    assert path.read_bytes().startswith(magic)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("sizes", [SCREEN, PRINT])
def test_save_is_at_the_dpi_of_the_style_whatever_the_figures_own(tmp_path, sizes):
    sizes.save(Figure(figsize=(2, 1), dpi=37), tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size == (2 * sizes.dpi, sizes.dpi)


@pytest.mark.parametrize("sizes", [SCREEN, PRINT])
@pytest.mark.parametrize("pixels", [8, 16, 32, 64])
def test_pixels_of_small_images_fill_a_thumbnail_evenly(sizes, pixels):
    assert sizes.thumbnail % pixels == 0


def test_a_failed_save_keeps_the_old_picture_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def half_written(self, target, **_):
        target.write_bytes(b"half")
        raise RuntimeError("disk")

    monkeypatch.setattr(Figure, "savefig", half_written)
    with pytest.raises(RuntimeError, match="disk"):
        SCREEN.save(Figure(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("name", ["picture.gif", "picture", "picture.png.bak"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(UserError, match=r"\.png or \.svg or \.pdf"):
        SCREEN.save(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_drawing_never_loads_pyplot(tmp_path):
    code = (
        "import sys; from iaat.analysis import SCREEN; from iaat.analysis.charts import TrainingRun, draw_training;"
        "SCREEN.save(draw_training([TrainingRun('a', 0, [1], {'loss': [1.0]})], style=SCREEN), sys.argv[1]);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    source = str(Path(style.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"],
        env={**os.environ, "PYTHONPATH": source, "MPLBACKEND": "TkAgg"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
