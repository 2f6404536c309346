"""GuideGen (arXiv 2403.07247): text to masks by categorical diffusion, masks and text to CT by latent diffusion.

Needs weights: a folder written by `factory train pack`, named after the colon in
`--masks guidegen:FOLDER`, or by `--weights FOLDER`.
"""

from factory.engines.guidegen.images import GuideGenImages
from factory.engines.guidegen.masks import GuideGenMasks
from factory.engines.guidegen.slices import GuideGenSlices

__all__ = ["GuideGenImages", "GuideGenMasks", "GuideGenSlices"]
