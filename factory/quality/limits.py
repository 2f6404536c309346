"""The thresholds of the quality gate and the codes of its reasons; docs/quality.md explains each.

`GATE` is plain JSON and part of a dataset's spec: change a number, and raise `version`.
"""

from types import MappingProxyType
from typing import Any

__all__ = ["CODES", "GATE", "reason"]

GATE: dict[str, Any] = {
    "version": 3,
    # tumours, against the prompt
    "size_fraction": 0.15,
    "size_voxels": 1.5,
    # metastases: organs that may hold lesions nobody asked for where the prompt states M1, and how many in all
    "spread_organs": ["liver", "lung", "adrenal_gland"],
    "spread_max": 24,
    # kind and form of lesions: measured, never a reason
    "kind": {
        "depth_mm": 3.0,
        "core_voxels": 8,
        "calcium_hu": 250,
        "calcium_share": 0.02,
        "dense_hu": -250,
        "part_solid_share": [0.04, 0.75],
        "fluid_hu": 21.0,
        "dead_hu": 36.0,
        "viable_hu": 50.0,
        "uneven_hu": 26.0,
        "form_voxels": 20,
        "annular": 0.6,
        "exophytic": 0.25,
    },
    # volumes: reference times or divided by exp(sd * volume_cv), a factor kept between the guards
    "volume_sd": 4.5,
    "volume_guard": [2.0, 12.0],
    "volume_min_voxels": 30,
    "adult_height_cm": 165.0,
    "adult_weight_kg": 75.0,
    "pleural_fluid": "pleural_effusion",  # a lung is as large as its lobes and the fluid that they gave way to
    "enlarged_ratio": 1.0,
    "enlarged_headroom": 4.0,
    # implants are no tissue: voxels from here on count for no structure's intensity
    "metal_hu": 2000,
    # intensity: table mean ± (margin of the tissue + sd * hu_sd)
    "hu_sd": 3.0,
    "hu_min_voxels": 50,
    "hu_margin": {
        "airway": 150.0,
        "artery": 120.0,
        "bone": 200.0,
        "cartilage": 80.0,
        "fat": 35.0,
        "fluid": 30.0,
        "heart": 100.0,
        "lung": 120.0,
        "muscle": 30.0,
        "nervous": 40.0,
        "parenchyma": 30.0,
        "vein": 100.0,
    },
    # margins of intensity times 1 + this * the dial `randomise`, which moves every structure by itself
    "hu_widen": 3.0,
    # hollow organs hold anything from gas to oral contrast
    "hu_hollow": [-980.0, 500.0],
    "outside_hu_max": -500.0,
    # contrast phase: enhancement over muscle, in standard deviations
    "phase_structures": [
        "aorta",
        "kidney_left",
        "kidney_right",
        "portal_vein_and_splenic_vein",
        "inferior_vena_cava",
        "liver",
        "spleen",
    ],
    "phase_muscle": ["skeletal_muscle", "autochthon_left", "autochthon_right"],
    "phase_noise_hu": 15.0,
    "phase_clip": 5.0,
    "phase_margin": 6.0,
    # connectivity
    "main_component": 0.95,
    "diffuse": [
        "body",
        "subcutaneous_fat",
        "visceral_fat",
        "skeletal_muscle",
        "costal_cartilages",
        "intervertebral_discs",
        "kidney_cyst_left",
        "kidney_cyst_right",
        "pulmonary_vein",
        "liver_cyst",
        "ascites",
    ],
    "joined_groups": ["colon"],
    # left and right beyond the pairs of the anatomy table: (more to the right, more to the left)
    "right_of": [["liver", "spleen"]],
    "side_min_voxels": 10,
    # what a scan region must show; structures, or groups of which one member suffices
    "required": {
        "chest": [
            "lung_upper_lobe_left",
            "lung_lower_lobe_left",
            "lung_upper_lobe_right",
            "lung_middle_lobe_right",
            "lung_lower_lobe_right",
            "heart",
            "aorta",
            "trachea",
            "esophagus",
        ],
        "abdomen": [
            "liver",
            "spleen",
            "kidney_left",
            "kidney_right",
            "pancreas",
            "stomach",
            "gallbladder",
            "small_bowel",
            "colon",
            "aorta",
            "inferior_vena_cava",
        ],
        "pelvis": ["urinary_bladder", "colon", "hip_left", "hip_right"],
    },
    "region_parts": {
        "chest": ["chest"],
        "abdomen": ["abdomen"],
        "chest_abdomen": ["chest", "abdomen"],
        "abdomen_pelvis": ["abdomen", "pelvis"],
        "torso": ["chest", "abdomen", "pelvis"],
    },
    "max_lesions": 255,
}
"""Thresholds of the gate."""

CODES = MappingProxyType(
    {
        "grid": "arrays do not lie on the requested grid",
        "region": "the grid does not cover the requested scan region",
        "vocabulary": "anatomy holds ids outside the anatomy table",
        "body-missing": "there is no body in the grid",
        "tumour-organ": "a tumour lies in another organ than asked",
        "tumour-side": "a tumour lies on the other side than asked",
        "tumour-site": "a tumour lies at another site of the asked organ",
        "tumour-count": "an asked site holds another number of tumours",
        "tumour-unasked": "there is a tumour where none was asked",
        "tumour-size": "the largest tumour of a site differs from the asked size",
        "lesion-outside": "a lesion lies outside the body or not on an organ",
        "lesion-ids": "instance ids and connected lesions do not correspond one to one",
        "sex": "the organs of the pelvis contradict the asked sex",
        "organ-present": "an organ asked to be absent is there",
        "organ-missing": "an organ that the scan region must show is empty",
        "organ-size": "an organ asked to be enlarged is not",
        "contrast-phase": "enhancement fits another contrast phase than asked",
        "volume": "a structure's volume is outside its reference range",
        "hu": "a structure's mean HU is outside its reference range",
        "hu-outside": "what lies outside the body is not air",
        "ct-range": "CT values outside the stored range",
        "ct-constant": "a slice of the body has one value throughout",
        "connectivity": "a structure falls into pieces",
        "left-right": "left and right are exchanged",
    }
)
"""Every reason code with its meaning."""


def reason(code: str, text: str) -> str:
    """Write a reason: a code of `CODES`, a colon, and words for people."""
    assert code in CODES, code
    return f"{code}: {text}"
