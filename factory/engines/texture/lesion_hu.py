"""Enhancement of lesions: mean HU of viable tumour by organ and contrast phase, and its spread.

Sources stand in docs/lesions.md; what has none is chosen.
"""

from types import MappingProxyType

import numpy as np

from factory.engines.texture.scene import Scene
from manifests.anatomy import PHASES, by_id, structure
from manifests.case import Lesion

__all__ = ["Vigour", "viable_hu"]

Curve = tuple[float, float, float, float]

_ABSOLUTE: MappingProxyType[str, Curve] = MappingProxyType(
    {
        "lung": (35.0, 62.0, 73.0, 70.0),
        "colon": (42.0, 80.0, 91.0, 80.0),
        "stomach": (40.0, 85.0, 92.0, 80.0),
        "esophagus": (40.0, 75.0, 80.0, 70.0),
        "small_bowel": (40.0, 90.0, 92.0, 78.0),
        "duodenum": (40.0, 85.0, 90.0, 76.0),
        "urinary_bladder": (36.0, 80.0, 78.0, 70.0),
        "gallbladder": (40.0, 75.0, 82.0, 75.0),
        "adrenal_gland": (32.0, 75.0, 85.0, 62.0),
    }
)
"""Mean HU of a tumour that differs in kind from its surroundings, by phase."""
_KIDNEY: tuple[Curve, Curve] = ((34.0, 160.0, 140.0, 96.0), (33.0, 58.0, 68.0, 58.0))
"""Hypervascular (mostly clear cell) and hypovascular (mostly papillary) tumours of the kidney."""
_HYPERVASCULAR_KIDNEY = 0.7

_RELATIVE: MappingProxyType[str, Curve] = MappingProxyType(
    {
        "liver": (-16.0, -14.0, -45.0, -26.0),
        "pancreas": (-5.0, -52.0, -34.0, -15.0),
        "spleen": (-12.0, -50.0, -45.0, -28.0),
        "prostate": (2.0, 18.0, 8.0, 4.0),
        "uterus": (-2.0, -15.0, -32.0, -25.0),
        "thyroid_gland": (-40.0, -70.0, -60.0, -45.0),
    }
)
"""Mean HU of a tumour relative to its host organ, by phase."""
_HYPERVASCULAR_LIVER: Curve = (-8.0, 28.0, -12.0, -22.0)
_HYPERVASCULAR_LIVER_SHARE = 0.35
_ISOATTENUATING_PANCREAS: Curve = (-2.0, -9.0, -4.0, -1.0)
_ISOATTENUATING_PANCREAS_SHARE = 0.11
_OTHER: Curve = (-8.0, -20.0, -25.0, -18.0)

_SHARED_SD_HU, _OWN_SD_HU, _ENHANCEMENT_SD = 5.0, 5.0, 0.12


class Vigour:
    """How the tumours of one patient enhance: vascular or not, and by how much more than the table says."""

    def __init__(self, rng: np.random.Generator, randomise: float) -> None:
        self._wide = 1.0 + 2.0 * randomise
        self._chance = float(rng.random())
        self._shift_hu = self._wide * _SHARED_SD_HU * float(rng.standard_normal())
        self._gain = float(np.exp(self._wide * _ENHANCEMENT_SD * rng.standard_normal()))

    def curve(self, lesion: Lesion, records: tuple[Lesion, ...]) -> tuple[Curve, bool]:
        """HU by phase, and whether it is relative to the host organ."""
        if lesion.organ == "kidney":
            return _KIDNEY[self._chance >= _HYPERVASCULAR_KIDNEY], False
        if lesion.organ in _ABSOLUTE:
            return _ABSOLUTE[lesion.organ], False
        if lesion.organ == "liver" and self._vascular_liver(lesion, records):
            return _HYPERVASCULAR_LIVER, True
        if lesion.organ == "pancreas" and self._chance < _ISOATTENUATING_PANCREAS_SHARE:
            return _ISOATTENUATING_PANCREAS, True
        return _RELATIVE.get(lesion.organ, _OTHER), True

    def _vascular_liver(self, lesion: Lesion, records: tuple[Lesion, ...]) -> bool:
        """Metastases take after their primary: those of the kidney are vascular, others are not."""
        if lesion.role == "metastasis":
            return any(record.organ == "kidney" and record.role != "metastasis" for record in records)
        return self._chance < _HYPERVASCULAR_LIVER_SHARE

    def vary(self, hu: float, native_hu: float, rng: np.random.Generator) -> float:
        """One lesion's HU: enhancement scaled and shifted with the patient, and a little of its own."""
        return native_hu + self._gain * (hu - native_hu) + self._shift_hu + self._wide * _OWN_SD_HU * rng.normal()


def viable_hu(scene: Scene, lesion: Lesion, vigour: Vigour, rng: np.random.Generator) -> float:
    """Mean HU of the viable tumour of a lesion in the scene's phase."""
    column = PHASES.index(scene.subject.phase)
    curve, relative = vigour.curve(lesion, scene.masks.lesion_records)
    if not relative:
        return vigour.vary(curve[column], curve[0], rng)
    host = _host(scene, lesion)
    base = float(scene.base[host])
    return base + vigour.vary(curve[column], curve[0], rng)


def _host(scene: Scene, lesion: Lesion) -> int:
    """Id of the structure that holds a lesion: its site, where the patient has it; else the majority under it."""
    if lesion.site and scene.has(structure(lesion.site)):
        return structure(lesion.site).id
    hosts = scene.anatomy[scene.masks.lesions == lesion.id]
    return by_id(int(np.bincount(hosts, minlength=256)[1:].argmax()) + 1).id
