"""Text files are UTF-8 wherever the code runs: every place that opens one says so."""

import ast
from pathlib import Path

import pytest

import iaat

ROOT = Path(iaat.__file__).parent
BENCHMARKS = ROOT.parent.parent / "benchmarks"


def silent(source):
    """Lines of calls that open a text file in the encoding of the machine."""
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        method = isinstance(call.func, ast.Attribute)
        words = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        words += [word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)]
        modes = [word for word in words if isinstance(word, str) and word and set(word) <= set("rwaxbt+:U")]
        text = not any("b" in mode or ":" in mode for mode in modes)
        opens = name == "open" and text and (modes or not call.args)
        reads = method and name in ("read_text", "write_text")
        if (opens or reads) and not any(word.arg == "encoding" for word in call.keywords):
            yield call.lineno


@pytest.mark.parametrize(
    "call", ["path.open()", "open(path, 'a')", "path.open('w')", "path.read_text()", "path.write_text('r')"]
)
def test_a_call_without_encoding_is_found(call):
    assert list(silent(call)) == [1]


@pytest.mark.parametrize("call", ["path.open('rb')", "open(path, 'a', encoding='utf-8')", "os.open(path, flags)"])
def test_other_calls_are_not(call):
    assert list(silent(call)) == []


@pytest.mark.parametrize("folder", [ROOT, BENCHMARKS], ids=["iaat", "benchmarks"])
def test_every_text_file_is_opened_with_its_encoding(folder):
    files = sorted(folder.rglob("*.py"))
    found = [f"{file.relative_to(folder)}:{line}" for file in files for line in silent(file.read_text("utf-8"))]
    assert files
    assert found == []
