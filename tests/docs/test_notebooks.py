"""The notebooks are stored as they ran, from top to bottom and without an error; `make test-all` runs them again."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_with_its_outputs(file):
    text = file.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds
    assert {"stream", "display_data"} <= set(kinds)
    assert re.findall(r"(?<![\w.])/(?:work|root|home|tmp)/", text) == []


def test_none_is_missing():
    assert len(NOTEBOOKS) == 2
