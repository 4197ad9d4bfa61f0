"""Decode mutated image files, guided by coverage: `python tests/fuzz/image_fuzzer.py -runs=N -seed=1 CORPUS_DIR`.

Options and corpus folder are libFuzzer's; samples of every format are added to the folder where it is empty. Whatever
the file holds, decoding gives pixels or a `UserError` that names the file; it takes at most `SECONDS` and `MEGABYTES`,
starts no process and writes nothing.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["iaat.data.image", "iaat.data.image_geometry", "iaat.data.image_modes", "PIL"]
):
    from PIL import (
        BmpImagePlugin,  # noqa: F401
        GifImagePlugin,  # noqa: F401
        JpegImagePlugin,  # noqa: F401
        PngImagePlugin,  # noqa: F401
        PpmImagePlugin,  # noqa: F401
        TiffImagePlugin,  # noqa: F401
        WebPImagePlugin,  # noqa: F401
    )

    from iaat.data.image import decode

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.guard import guarded
from fuzz.image_samples import image_files
from iaat.errors import UserError

SECONDS = 20
MEGABYTES = 2048
"""Of the whole process; PyTorch takes 500 of them."""
LONGEST = 4096


def read_all_ways(path: Path) -> None:
    """Decode a file as the recipes may ask for it; what is no image is refused."""
    for channels, size in ((3, None), (1, None), (3, 4)):
        try:
            pixels = decode(path, channels=channels, size=size)
        except UserError as error:
            if not str(error).startswith(f"{path}: "):
                raise AssertionError(f"does not name the file: {error}") from error
            continue
        assert pixels.shape[0] == channels
        assert pixels.numel() > 0
        assert size is None or pixels.shape[1:] == (size, size)


def main() -> None:
    """Run libFuzzer with the words of the command line."""
    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata
    corpus = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        if not any(corpus.iterdir()):
            for name, content in image_files().items():
                (corpus / name).write_bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        file = scratch / "case.img"

        def test_one_input(content: bytes) -> None:
            file.write_bytes(content)
            with guarded(scratch):
                read_all_ways(file)

        bounds = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}"]
        atheris.Setup([sys.argv[0], *bounds, *sys.argv[1:]], test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
