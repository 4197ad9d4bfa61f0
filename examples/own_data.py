"""Data sets of Hugging Face, CSV and Parquet, for `iaat train` and for `iaat.fit`.

Install: iaat alone; for hugging_face: pip install datasets
Run:     python examples/own_data.py        # writes digits/: handwritten digits as PNG files, CSV and Parquet tables
         iaat train quickstart --data.name examples.own_data:csv --out runs/csv        # or :parquet, :hugging_face
         python -c 'import iaat, examples.own_data as data; iaat.fit("small-cnn", data.csv("train"), radius="32px")'
"""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from PIL import Image
from sklearn.datasets import load_digits


class Table:
    """Rows of a table as (image, label); its column `image` holds paths of files, or their bytes."""

    def __init__(self, table):
        self.images, self.targets = table["image"], table["label"].to_pylist()

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, position):
        image = self.images[position].as_py()
        return Image.open(image if isinstance(image, str) else io.BytesIO(image)), self.targets[position]


def csv(split):
    return Table(pyarrow.csv.read_csv(f"digits/{split}.csv"))


def parquet(split):
    return Table(pyarrow.parquet.read_table(f"digits/{split}.parquet"))


def hugging_face(split):
    import datasets

    return datasets.load_dataset("imagefolder", data_dir="digits", split=split)  # or the name of one on the hub


if __name__ == "__main__":
    images, labels = load_digits().images * 15.9375, load_digits().target.tolist()
    for split, rows in (("train", range(360, 1797)), ("test", range(360))):
        files = [Path("digits", split, str(labels[row]), f"{row:04}.png") for row in rows]
        for file, row in zip(files, rows, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row].astype("uint8")).save(file)
        listed = {"image": list(map(str, files)), "label": [labels[row] for row in rows]}
        pyarrow.csv.write_csv(pa.table(listed), f"digits/{split}.csv")
        stored = listed | {"image": [file.read_bytes() for file in files]}
        pyarrow.parquet.write_table(pa.table(stored), f"digits/{split}.parquet")
