"""FiftyOne: the training images of a run with labels, predictions and radii as fields, to sort and filter by.

Install: pip install fiftyone (which downloads a MongoDB server)
Run:     iaat train folder-iaat --data.root IMAGES --out RUN    # IMAGES/train/CLASS/*.png, as own_data.py writes
         python examples/fiftyone_radii.py RUN IMAGES
         fiftyone app launch                                    # has the data set, and misclassified images as a view
"""

import sys
from pathlib import Path

import fiftyone as fo
import pyarrow.parquet

run, images = Path(sys.argv[1]), Path(sys.argv[2])
dataset = fo.Dataset(f"radii of {run.name}", overwrite=True, persistent=True)
samples = []
for row in pyarrow.parquet.read_table(run / "radii.parquet").to_pylist():
    sample = fo.Sample(filepath=str(images / row["path"]), radius_px=row["radius_px"])
    sample["label"] = fo.Classification(label=row["label"])
    sample["prediction"] = fo.Classification(label=row["prediction"])
    samples.append(sample)
dataset.add_samples(samples)

label, prediction = fo.ViewField("label.label"), fo.ViewField("prediction.label")
misclassified = dataset.match(label != prediction).sort_by("radius_px")
dataset.save_view("misclassified, smallest radius first", misclassified)
low, high = dataset.bounds("radius_px")
print(f"{len(dataset)} images, radii from {low:.1f}px to {high:.1f}px; {len(misclassified)} misclassified")
print(*(f"{sample.radius_px:6.1f}px  {sample.filepath}" for sample in misclassified[:5]), sep="\n")
