"""TotalSegmentator (Wasserthal et al. 2023, doi:10.1148/ryai.230024) as a segmenter: its 3 mm model of 117 structures.

The weights are nnU-Net's and lie where TotalSegmentator's own package puts them. They are opened once here; the
package itself reads them again for each case. Nothing is downloaded: the package does that when its user asks.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8

from downstream.segmenter import Segmenter, SegmenterCard
from downstream.segmenter_nnunet import NnunetSegmenter
from manifests.errors import LocationError, MissingDependencyError
from manifests.geometry import Grid
from manifests.schemes import scheme

__all__ = ["TotalSegmentator"]

MODEL = "Dataset297_*/*__3d_fullres"
DOWNLOAD = "totalseg_download_weights -t total_fast"


class TotalSegmentator(Segmenter):
    """Task "total" at 3 mm. Its arrays grow to Right and Anterior: the package turns scans to nibabel's canonical RAS."""

    def __init__(self, device: str = "cpu") -> None:
        if find_spec("totalsegmentator") is None:
            raise MissingDependencyError(
                "TotalSegmentator",
                got="no such package",
                need="it for --segmenter totalsegmentator",
                do=f"pip install TotalSegmentator, then: {DOWNLOAD}",
            )
        self._model = NnunetSegmenter(_weights(), device, orientation="RAS")
        labels = {name: value for name, value in scheme("totalsegmentator").labels.items() if value}
        self.card = SegmenterCard("TotalSegmentator, 3 mm", labels)

    def segment(self, ct: Int16[np.ndarray, "z y x"], grid: Grid) -> UInt8[np.ndarray, "z y x"]:
        """Label a CT; see `Segmenter`."""
        return self._model.segment(ct, grid)


def _weights() -> Path:
    home = os.environ.get("TOTALSEG_HOME_DIR")
    root = Path(home) if home else Path.home() / ".totalsegmentator"
    places = [Path(path) for path in [os.environ.get("TOTALSEG_WEIGHTS_PATH")] if path]
    for place in (*places, root / "nnunet" / "results"):
        if found := sorted(place.glob(MODEL)):
            return found[0]
    raise LocationError(
        "TotalSegmentator", got=f"no {MODEL} in {root}", need="the weights of its 3 mm model", do=f"Run: {DOWNLOAD}"
    )
