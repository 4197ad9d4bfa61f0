"""docs/howto/export.md works as written: from image folders to a class that ONNX Runtime predicts."""

import re
import shlex
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import iaat
from iaat.cli.main import main

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
    photos = photos_of_all_shapes()
    more = """
    logits_of_three = session.run(["logits"], {"images": np.repeat(x, 3, axis=0)})[0]
    np.savez(f"{photo}.npz", x=x, logits=logits_of_three)
import sys
assert not {"iaat", "torch"} & {name.partition(".")[0] for name in sys.modules}
"""
    script = SCRIPTS[0].replace('"photo.png"', "photo")
    script = f"for photo in {photos}:\n{textwrap.indent(script, '    ')}{more}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    network = iaat.load("runs/mine")
    for photo, line in zip(photos, done.stdout.splitlines(), strict=True):
        (own,) = iaat.predict(network, photo)
        found = np.load(f"{photo}.npz")
        x = torch.from_numpy(found["x"])
        np.testing.assert_allclose(found["logits"], np.tile(network(x).detach(), (3, 1)), atol=1e-4)
        # The image is the same to the bit, so that its probability is that of the run.
        assert network(x).softmax(1)[0].tolist() == list(own.probabilities.values())
        name, probability = line.split()
        assert name == own.label
        assert float(probability) == pytest.approx(own.probability, abs=1e-4)


def photos_of_all_shapes():
    """Names of images that are wide, high, smaller than the input, of its size, and turned by their metadata."""
    generator = np.random.default_rng(1)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number, (width, height) in enumerate([(100, 80), (61, 213), (41, 30), (64, 64), (99, 70)]):
        pixels = np.uint8(generator.integers(0, 256, (height, width, 3)))
        Image.fromarray(pixels).save(f"photo-{number}.png", exif=turned if number == 4 else None)
    return [f"photo-{number}.png" for number in range(5)]


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
