"""The same prompts through three pairs of engines, side by side: phantom, GuideGen's masks with texture, GuideGen alone.

    python benchmarks/guidegen_pictures.py OUT.jpg [WEIGHTS]

Each engine shows a coronal slice of the masks, and a coronal and an axial slice of the CT (-160 to 240 HU) through the largest
lesion, outlined in red. Nothing is chosen: one drawing of each prompt, before any quality gate.
"""

import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np

from factory.config import preset
from factory.engines.base import Masks, as_drawn
from factory.engines.registry import image_model, mask_model
from factory.testing import make_request
from prompts.render import render
from prompts.sampling import default_distribution

mpl.use("Agg")
import matplotlib.pyplot as plt

PROMPTS, SEED = 8, 11
PAIRS = (("phantom", "texture"), ("guidegen", "texture"), ("guidegen", "guidegen"))
LOW_HU, HIGH_HU = -160, 240


def colours(anatomy: np.ndarray) -> np.ndarray:
    hue = (anatomy[..., None] * 0.618034 + np.array([0, 1 / 3, 2 / 3])) % 1.0
    return np.where(anatomy[..., None] > 0, 0.25 + 0.6 * np.abs(2 * hue - 1), 0.0)


def place(masks: Masks) -> tuple[int, int]:
    """The axial and the coronal slice with most lesion in them, the middle ones without."""
    if not masks.lesions.any():
        return masks.lesions.shape[0] // 2, masks.lesions.shape[1] // 2
    there = masks.lesions > 0
    return int(there.sum(axis=(1, 2)).argmax()), int(there.sum(axis=(0, 2)).argmax())


def show(axes: list, masks: Masks, ct: np.ndarray) -> None:
    z, y = place(masks)
    grey = np.clip((ct.astype(np.float32) - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1)
    planes = ((colours(masks.anatomy[::-1, y]), masks.lesions[::-1, y]), (grey[::-1, y], masks.lesions[::-1, y]))
    for axis, (picture, lesions) in zip(axes, (*planes, (grey[z], masks.lesions[z])), strict=True):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if lesions.any():
            axis.contour(lesions > 0, levels=[0.5], colors="red", linewidths=0.7)
        axis.set_axis_off()


def main(out: Path, weights: str) -> int:
    prompts = default_distribution().sample(PROMPTS, SEED, "balanced")
    figure, grid = plt.subplots(PROMPTS, 9, figsize=(18, 3.1 * PROMPTS), width_ratios=[1, 1, 1.0] * 3, squeeze=False)
    named = {"guidegen": f"guidegen:{weights}" if weights else "guidegen"}
    for number, (prompt, axes) in enumerate(zip(prompts, grid, strict=True)):
        drawn: dict[str, Masks] = {}
        for column, (mask_name, image_name) in enumerate(PAIRS):
            request = make_request(prompt, preset("tiny").grid(), f"picture-{number}")
            if mask_name not in drawn:
                drawn[mask_name] = mask_model(named.get(mask_name, mask_name)).draw(request)
            masks = drawn[mask_name]
            ct = image_model(named.get(image_name, image_name)).render(as_drawn(request, masks), masks)
            show(list(axes[3 * column : 3 * column + 3]), masks, ct)
            title = f"{mask_name} masks, {image_name} image"
            axes[3 * column].set_title(
                title if column else textwrap.fill(render(request.subject), 75), fontsize=7, loc="left"
            )
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=70, pil_kwargs={"quality": 80})
    print(f"{out}, {out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
