"""docs/howto/export.md works as written: from image folders to a class that ONNX Runtime predicts."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import iaat
from iaat.cli.main import main
from iaat.data.image import to_tensor

HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "export.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", HOWTO, flags=re.DOTALL)
FAST = [
    *("--data.memory_gb=1", "--model.name=small-cnn", "--model.width=4", "--train.epochs=1", "--train.batch_size=16"),
    *("--method.steps=1", "--train.validation_steps=1", "--evaluate.suite=pgd", "--evaluate.steps=1", "--quiet"),
]


def commands(beginning):
    """Words of the commands that begin so."""
    return [shlex.split(line) for line in re.findall(rf"^iaat ({beginning} .*)$", HOWTO, flags=re.MULTILINE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Working directory with the run of the document's first command: images of two colours, not all of them square."""
    folder = tmp_path_factory.mktemp("howto")
    generator = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 8)):
        for name, colour in (("blue", (30, 30, 200)), ("red", (200, 30, 30))):
            place = folder / "images" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                noise = generator.integers(-30, 31, (80, 100, 3))
                Image.fromarray(np.uint8(np.clip(np.array(colour) + noise, 0, 255))).save(place / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (train,) = commands("train")
        assert main([*train, *FAST]) == 0
    return folder


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")), reason="needs the extra export"
)
def test_an_image_goes_through_onnx_without_iaat_and_torch(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    export = next(words for words in commands("export") if "onnx" in words)
    assert main(export) == 0
    assert "on 16 test images" in capsys.readouterr().out
    (folder / "photo.png").write_bytes((folder / "images/test/red/3.png").read_bytes())
    more = """
logits_of_three = session.run(["logits"], {"images": np.repeat(x, 3, axis=0)})[0]
import sys
assert not {"iaat", "torch"} & {name.partition(".")[0] for name in sys.modules}
assert json.loads(session.get_modelmeta().custom_metadata_map["iaat"])["resize"] == 64
np.savez("out.npz", x=x, logits=logits_of_three)
"""
    done = subprocess.run([sys.executable, "-c", SCRIPTS[0] + more], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, network = np.load(folder / "out.npz"), iaat.load("runs/mine")
    x = torch.from_numpy(found["x"])
    logits = network(x)[0]
    np.testing.assert_allclose(found["logits"], np.tile(logits.detach(), (3, 1)), atol=1e-4)
    name, probability = done.stdout.split()
    assert name == network.classes[int(logits.argmax())]
    assert float(probability) == pytest.approx(float(logits.softmax(0).max()), abs=1e-4)
    # As the reader of the run has the image: its shorter side resized, its centre cut out.
    own = to_tensor(Image.open("photo.png").resize((80, 64), Image.Resampling.BILINEAR).crop((8, 0, 72, 64)))
    assert (x[0] - own / 255).abs().mean() < 0.02


def test_the_other_lines_of_python_run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["export", "runs/mine", "--format", "pt2", "-o", "mine.pt2"]) == 0
    names = {}
    for script in SCRIPTS[1:]:
        exec(compile(script, "export.md", "exec"), names)
    assert '"blue", "red"' in names["record"]["iaat.json"]
    assert names["model"].classes == ("blue", "red")


def test_the_hubs_folder_has_its_card(folder, monkeypatch):
    monkeypatch.chdir(folder)
    export = next(words for words in commands("export") if "hf" in words)
    assert main(export) == 0
    card = (folder / "mine-hf/README.md").read_text(encoding="utf-8")
    assert "trained by `iaat`" in card
    assert "images, 60 training samples" in card
    assert str(folder) not in "".join(file.read_text(errors="replace") for file in (folder / "mine-hf").iterdir())
