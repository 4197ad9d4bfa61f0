"""Names of classes, files and recipes that are hostile show as harmless text wherever they show."""

import io
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from iaat.analysis import SCREEN, class_summary, quantiles_by_class, radii_table, write_table
from iaat.analysis.charts import draw_class_radii, draw_extremes, labelled_thumbnail
from iaat.analysis.figure_text import put_title
from iaat.cli.evaluation_output import evaluation_report
from iaat.cli.main import main
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.load_recipe import load_recipe
from iaat.evaluate import Outcome
from iaat.evaluate.results import EvaluationResult, ModelFacts, StageResult, read_results
from iaat.evaluate.write_results import summary, write_evaluation
from iaat.experiments.comparison import Comparison
from iaat.experiments.comparison_results import read_comparison
from iaat.experiments.sweep import Cell
from iaat.runtime.console_table import PlainTable
from iaat.runtime.files import encodable
from iaat.runtime.passes import Passes
from iaat.runtime.progress import Reporter
from iaat.runtime.text import one_line, printable

HOSTILE = [
    *("\x1b[2J", "\x1b]0;title\x07", "a\nb", "a\r\nerror: b", "\x00", "\x7f", "\x9b31m", "\u202eevil\u202c", "\u2066x"),
    *(
        "\udce9",
        "caf\udce9",
        "\ud800",
        "$\\frac{",
        "$x^$",
        "[bold]",
        "[/nope]",
        "[red]x[/red]",
        ":smile:",
        "|",
        "a|b\\|",
    ),
    *("<script>alert(1)</script>", "=cmd()", "@x", "\t=1", "`", "![x](javascript:x)", "%s{}", "\\x1b", " ", "\u2028x"),
    *("\N{CJK UNIFIED IDEOGRAPH-732B}", "\N{GRINNING FACE}", "e" + "\u0301" * 40, "x" * 300, "\u00a0", "-", "."),
]
NAMES = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=4), min_size=1, max_size=3).map("".join)
# What moves the cursor, changes colours, reverses the direction, or is no text at all.
FORBIDDEN = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u2028\u2029", *map(chr, range(0x202A, 0x202F))} | {
    *map(chr, range(0x2066, 0x206A)),
    *map(chr, range(0xD800, 0xE000)),
}


def assert_harmless(text: str, *, allowed: str = "\n") -> None:
    assert not (set(text) & FORBIDDEN) - set(allowed)
    text.encode()


@given(st.text() | NAMES, st.sampled_from(("utf-8", "ascii", "cp1252", "latin-1")))
@settings(max_examples=500, database=None)
@seed(1)
def test_printable_text_is_harmless_and_can_be_encoded(text: str, encoding: str) -> None:
    shown = printable(text, encoding=encoding)
    shown.encode(encoding)
    assert_harmless(shown, allowed="\n\t")
    assert printable(shown, encoding=encoding) == shown
    assert_harmless(one_line(text), allowed="")
    if text.isascii() and text.isprintable():
        assert shown == one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("\u202e", r"\u202e"),
        ("a\u3000b\u00a0c", "a b c"),
        ("a\nb\tc", "a\nb\tc"),
        (
            "\u0645\u200c\u0645 caf\u00e9 \u732b \U0001f468\u200d\U0001f469",
            "\u0645\u200c\u0645 caf\u00e9 \u732b \U0001f468\u200d\U0001f469",
        ),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def outcome(classes: int) -> Outcome:
    stages = [StageResult("clean", 8, 1, Passes(8, 0), 0.5), StageResult("pgd-20", 7, 2, Passes(84, 82), 1.0)]
    numbers = torch.arange(8) % classes
    broken = ["clean", "pgd-20", *["none"] * 6]
    return Outcome(torch.arange(8), numbers, numbers, numbers, broken, torch.full((8,), 0.01), tuple(stages))


def row(name: str, classes: list[str]) -> EvaluationResult:
    costs = {"train_forwards": 1.0, "train_backwards": 1.0, "train_seconds": 1.0}
    facts = ModelFacts(run=name, seed=0, checkpoint="best", epoch=1, **costs)
    return summary(outcome(len(classes)), EvaluateConfig(), classes, facts, verdict="fine", findings=())


def printed(encoding: str, *shown: object) -> str:
    """What a reporter writes to a stream of an encoding that refuses what it cannot hold."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    reporter = Reporter(console=Console(file=stream, width=200, highlight=False, color_system=None))
    for each in shown:
        reporter.result(each)
        if isinstance(each, str):
            reporter.say(each)
            list(reporter.track(range(2), total=2, what=each))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


@given(NAMES, st.lists(NAMES, min_size=2, max_size=3, unique=True), st.sampled_from(("utf-8", "ascii")))
@settings(max_examples=60, database=None)
@seed(1)
@example("a|b", ["[red]", "\x1b[2J"], "utf-8")
def test_what_is_printed_is_harmless(name: str, classes: list[str], encoding: str) -> None:
    rows = [row(name, classes), replace(row(name, classes), seed=1)]
    table = PlainTable(name, name)
    table.add_column("class")
    for each in class_summary(radii(classes)):
        table.add_row(each["class"])
    assert_harmless(printed(encoding, name, table, *evaluation_report(rows)))


def radii(classes: list[str], paths: list[str] | None = None):
    numbers = np.arange(8) % len(classes)
    return radii_table(np.arange(8), numbers, numbers, np.linspace(0, 0.05, 8), 1, classes, paths)


@given(st.lists(NAMES, min_size=2, max_size=3, unique=True), NAMES)
@settings(max_examples=60, database=None)
@seed(1)
def test_tables_in_files_can_be_read_back(classes: list[str], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = radii(classes, [name] * 8)
        write_table(table, Path(folder, "r.parquet"))
        write_table(table, Path(folder, "r.csv"))
        write_evaluation(Path(folder), outcome(len(classes)), row(name, classes), classes)
        stored = pyarrow.parquet.read_table(Path(folder, "r.parquet"))
        assert stored["path"].to_pylist() == [encodable(name)] * 8
        text = Path(folder, "r.csv").read_text(encoding="utf-8")
        assert_harmless(text, allowed="\n\t")
        rows = pyarrow.csv.read_csv(Path(folder, "r.csv"))
        assert rows.num_rows == 8
        assert not str(rows["path"][0]).startswith(("=", "+", "-", "@"))
        read_results(Path(folder, "results.json"))


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:Matplotlib currently does not support")
@given(NAMES, st.lists(NAMES, min_size=2, max_size=2, unique=True))
@settings(max_examples=8, database=None)
@seed(1)
@example("a|b\\|c<script>\n# x", ["a", "b"])
def test_the_markdown_table_has_its_cells_and_no_markup(name: str, classes: list[str]) -> None:
    cell = Cell(replace(load_recipe("quickstart", []), name=name), (0,), name, on_curve=True)
    with tempfile.TemporaryDirectory() as folder:
        Comparison([cell], [row(name, classes)], ["not finished"]).write(Path(folder))
        text = Path(folder, "comparison.md").read_text(encoding="utf-8")
        read_comparison(Path(folder, "comparison.json"))
    assert_harmless(text)
    lines = [line for line in text.split("\n") if line.startswith("|")]
    assert len(lines) == 3
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "<" not in lines[2]


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:Matplotlib currently does not support")
@given(st.lists(NAMES, min_size=3, max_size=3, unique=True))
@settings(max_examples=8, database=None)
@seed(1)
@example(["$\\frac{", "\x1b[2J\x00\udce9", "\u202e\n|<b>"])
def test_pictures_take_any_name(names: list[str]) -> None:
    image = np.zeros((3, 4, 4))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("png", "svg"):
            radii = {names[1]: quantiles_by_class(np.linspace(0, 0.1, 6), np.arange(6) % 3, names)}
            SCREEN.save(draw_class_radii(radii, names, style=SCREEN, title=names[0]), Path(folder, f"a.{suffix}"))
            some = [labelled_thumbnail(image, names[0], names[1], 1), labelled_thumbnail(image, names[2], None, 2)]
            SCREEN.save(draw_extremes(some, some, style=SCREEN, title=names[2]), Path(folder, f"b.{suffix}"))
    with SCREEN.context():
        figure = Figure()
        put_title(figure, names[0])
        assert_harmless(figure.get_suptitle(), allowed="")


CLASSES = [b"\x1b[2Jcat", b"$x^$", b"[red]", b"<b>|", b"caf\xe9", b"a\nb", "\u202eevil".encode()]


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:Matplotlib currently does not support")
def test_a_run_on_a_folder_of_hostile_names(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = os.fsencode(tmp_path) + b"/images"
    draw = np.random.default_rng(0)
    for split, name in ((split, name) for split in (b"train", b"test") for name in CLASSES):
        folder = os.path.join(root, split, name)  # noqa: PTH118 - of bytes
        os.makedirs(folder)  # noqa: PTH103
        for number in range(4):
            with open(os.path.join(folder, b"\x1b[2J\xff$%d.png" % number), "wb") as file:  # noqa: PTH118, PTH123
                Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    words = ["train", "folder-natural", "--out", str(tmp_path / "run"), "--data.root", os.fsdecode(root)]
    words += ["--data.size", "8", "--data.crop", "1", "--data.validation_fraction", "0.3", "--model.name", "small-cnn"]
    words += [
        "--train.epochs",
        "1",
        "--train.batch_size",
        "8",
        "--train.validation_steps",
        "1",
        "--train.device",
        "cpu",
    ]
    words += ["--evaluate.n", "7", "--evaluate.steps", "1"]
    code = main(words)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert_harmless(captured.out)
    assert_harmless(captured.err)
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert_harmless(capsys.readouterr().out)


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
def test_messages_are_harmless(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = os.fsdecode(b"\x1b[2J\xff")
    for words in (
        ["train", hostile],
        ["train", "folder-natural", "--data.root", hostile],
        [hostile],
        ["train", "quickstart", f"--{hostile}", "x"],
        ["evaluate", hostile],
        ["check", f"{hostile}.yaml"],
    ):
        assert main(words) != 0
        captured = capsys.readouterr()
        assert_harmless(captured.out + captured.err)
