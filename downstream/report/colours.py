"""One colour for each family of structures, the same in every picture."""

import colorsys
import hashlib

from manifests.anatomy import Structure

__all__ = ["TUMOUR", "colour_of", "family_of"]

TUMOUR = "tumour"

_COLOURS = {
    TUMOUR: "#ff3b5c",
    "liver": "#d98c4a",
    "spleen": "#a678e2",
    "kidney": "#f2c14e",
    "pancreas": "#ffe08a",
    "adrenal_gland": "#7ee0c0",
    "stomach": "#7fc8f8",
    "duodenum": "#4fa3d9",
    "small_bowel": "#5f8fd6",
    "colon": "#5fd38d",
    "esophagus": "#9fd8cb",
    "gallbladder": "#3fb98f",
    "urinary_bladder": "#62d2e0",
    "lung": "#5b7db1",
    "heart": "#e86a6a",
    "spinal_cord": "#f7e08b",
    "bones": "#cfc9bd",
    "arteries": "#ff6f61",
    "veins": "#6f8dff",
    "airways": "#8fd3e8",
    "prostate": "#c58bb5",
    "uterus": "#e39ac0",
}
_TISSUES = {"bone": "bones", "artery": "arteries", "vein": "veins", "airway": "airways", "heart": "heart"}
"""Tissues whose structures are drawn as one family."""

_UNDRAWN = {"soft", "fat", "muscle", "cartilage"}


def colour_of(family: str) -> str:
    """Colour of a family as #rrggbb, the same in every picture."""
    if family in _COLOURS:
        return _COLOURS[family]
    hue = hashlib.sha256(family.encode()).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.66, 0.6)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def family_of(entry: Structure) -> str | None:
    """Family under which a structure is drawn and listed; None for what would hide the rest."""
    if entry.tissue in _UNDRAWN:
        return None
    return _TISSUES.get(entry.tissue) or (entry.group if entry.group != "undivided" else entry.name)
