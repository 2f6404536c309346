"""Lay the accepted cases of a dataset out as bare triptychs: axial, coronal and sagittal, no outlines, one JPEG.

`docs/images/triptychs.jpg` is `factory build --n 12 --preset full --seed 7 --out DATASET` seen through this.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from downstream.report.picture import draw
from manifests.dataset import Dataset

mpl.use("Agg")
import matplotlib.pyplot as plt

COLUMNS, WIDE_INCHES, HIGH_INCHES = 3, 6.4, 3.4


def main(folder: Path, out: Path) -> int:
    dataset = Dataset.open(folder)
    records = list(dataset.accepted())
    rows = -(-len(records) // COLUMNS)
    figure = plt.figure(figsize=(COLUMNS * WIDE_INCHES, rows * HIGH_INCHES), facecolor="black")
    boxes = figure.subfigures(rows, COLUMNS, wspace=0, hspace=0, squeeze=False).ravel()
    for box, record in zip(boxes, records, strict=False):
        picture = draw(record, dataset.read(record.case_id))
        box.set_facecolor("black")
        study = record.drawn.contrast_phase
        caption = f"{record.drawn.sex}, {record.drawn.age_years:.0f}, {record.drawn.height_cm:.0f} cm, {study}"
        box.suptitle(caption, color="0.75", fontsize=9, y=0.985)
        widths = [plane.width_mm for plane in picture.planes]
        for axes, plane in zip(box.subplots(1, 3, width_ratios=widths), picture.planes, strict=True):
            axes.imshow(plane.grey, cmap="gray", vmin=0, vmax=255, extent=(0, plane.width_mm, plane.height_mm, 0))
            axes.set_axis_off()
        box.subplots_adjust(0.01, 0.01, 0.99, 0.92, 0.02)
    figure.savefig(out, dpi=90, pil_kwargs={"quality": 82})
    print(f"{len(records)} cases in {out}, {np.round(out.stat().st_size / 1e6, 2)} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
