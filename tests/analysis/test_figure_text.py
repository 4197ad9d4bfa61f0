import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from iaat.analysis import SCREEN
from iaat.analysis.figure_text import ELLIPSIS, fit_name, fit_text, put_title, text_width
from iaat.runtime.text import cut

# What DejaVu Sans has: a missing glyph would only repeat one warning.
TEXTS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=["Cc", "Cf", "Zs"]) | st.just(" ")
)


def test_width_is_what_the_renderer_draws():
    figure = Figure(dpi=600)
    with SCREEN.context():
        text = figure.text(0, 0, "automobile $x_1$ WWW", size=9)
        drawn = text.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / 600
        assert text_width("automobile $x_1$ WWW", 9) == pytest.approx(drawn, rel=0.03)


@settings(max_examples=60)
@given(TEXTS, st.floats(0.3, 2.0))
def test_fit_keeps_as_much_of_the_beginning_as_there_is_room_for(text, width):
    with SCREEN.context():
        fitted = fit_text(text, width, 9)
        if text_width(cut(text), 9) <= width:
            assert fitted == cut(text)
            return
        kept = fitted.removesuffix(ELLIPSIS)
        assert fitted.endswith(ELLIPSIS)
        assert cut(text).startswith(kept)
        assert text_width(fitted, 9) <= width
        more = cut(text)[: len(kept) + 1]
        assert more.isspace() or more[-1] == " " or text_width(more + ELLIPSIS, 9) > width


@settings(max_examples=60)
@given(TEXTS, st.floats(0.3, 2.0))
def test_a_name_is_cut_in_its_middle(text, width):
    with SCREEN.context():
        fitted = fit_name(text, width, 9)
        assert text_width(fitted, 9) <= width
        if fitted != cut(text):
            start, end = fitted.split(ELLIPSIS)
            assert cut(text).startswith(start)
            assert cut(text).endswith(end)


def test_a_title_is_cut_to_the_figure():
    with SCREEN.context():
        figure = Figure(figsize=(3, 1))
        put_title(figure, "W" * 100)
        assert figure.get_suptitle().endswith(ELLIPSIS)
        assert text_width(figure.get_suptitle(), 12, "bold") < 3
        untitled = Figure()
        put_title(untitled, None)
        assert untitled.get_suptitle() == ""
