"""Layouts of real data that `factory ingest` reads: the public releases as they are unpacked, and folders of one's own.

Each is one function from a folder to a `Source`; what differs between releases is a table at the top of its file.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from manifests.layouts.amos import amos_source
from manifests.layouts.btcv import btcv_source
from manifests.layouts.images_labels import IMAGES, MASKS, images_labels_source
from manifests.layouts.kits import kits_source
from manifests.layouts.msd import msd_source
from manifests.layouts.nnunet import nnunet_source
from manifests.layouts.source import Names, Source, SourceCase
from manifests.layouts.totalsegmentator import totalsegmentator_source

__all__ = [
    "IMAGES",
    "LAYOUTS",
    "MASKS",
    "Names",
    "Source",
    "SourceCase",
    "images_labels_source",
]

LAYOUTS: Mapping[str, Callable[[Path, Names | None], Source]] = MappingProxyType(
    {
        "btcv": btcv_source,
        "amos": amos_source,
        "msd": msd_source,
        "kits": kits_source,
        "totalsegmentator": totalsegmentator_source,
        "nnunet": nnunet_source,
    }
)
"""Layouts that need nothing but the folder; "images-labels" takes patterns, too."""
