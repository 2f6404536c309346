"""Who is drawn: the parameters of one body, drawn from a population given age, sex and size.

`draw_build` is the only place of the phantom that is random. What follows is a pure function of
a `Build`. Organ volumes are lognormal around the reference values of `manifests/anatomy.csv`,
scaled with body size; relations and their sources stand beside the numbers and in
`docs/phantom.md`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.variants import Variants
from manifests.anatomy import group, structure
from manifests.errors import InvalidValueError
from prompts.schema import Prompt

__all__ = ["ENLARGEMENT", "Build", "draw_build"]

ENLARGEMENT = 1.75
"""Factor on the volume of an organ that is asked for as enlarged; never below this times the mean."""

_MOVABLE = (
    "liver", "spleen", "stomach", "kidney_left", "kidney_right", "pancreas", "gallbladder", "heart", "urinary_bladder",
    "uterus", "prostate", "colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum",
    "duodenum", "aorta", "esophagus", "trachea", "adrenal_gland_left", "adrenal_gland_right", "lung_fissure", "dome",
    "thyroid_gland", "portal_vein_and_splenic_vein", "inferior_vena_cava", "shoulder",
)  # fmt: skip
_SPREAD_MM = {"liver": 4.0, "stomach": 7.0, "colon_transverse": 12.0, "colon_sigmoid": 10.0, "kidney_left": 5.0,
              "kidney_right": 5.0, "dome": 6.0, "spleen": 5.0, "lung_fissure": 7.0, "gallbladder": 5.0,
              "aorta": 2.0, "inferior_vena_cava": 1.5, "trachea": 1.5, "esophagus": 2.0}  # fmt: skip
_WARP_SHAPE = (3, 8, 5, 6)
_GRAIN_SHAPE = (40, 22, 28)
_BOWEL_KNOTS = 400
_LONGEST = 1.10  # T1 stays in the field of view of a torso scan


@dataclass(frozen=True, slots=True)
class Build:
    """The parameters of one body; lengths in mm unless the name says otherwise.

    Attributes:
        scale_xyz: size of the frame relative to the reference man (175 cm).
        belly, waist: relative growth of the abdomen to the front and to the sides.
        fat_mm: subcutaneous fat in front of the abdomen.
        bulk: muscle thickness relative to the reference.
        bust_ml: volume of one breast.
        pelvis: breadth of the pelvis relative to the frame.
        kyphosis_mm, scoliosis_mm: how far the spine bends out at its worst.
        volumes_ml: target volume of each organ that has one.
        vessel_scale: factor on the radii of arteries and veins.
        aorta_mm: diameter of the descending aorta.
        stretch: further factors on radii, by structure: asked-for enlargement.
        shift_mm: displacement (x, y, z) of movable organs from the mean position.
        lean: standard normal numbers by name, for shape variation inside the organs.
        warp: coarse standard normal displacement, one lattice for each axis.
        grain: standard normal noise for surfaces.
        jitter: standard normal numbers for the small bowel.
        absent: structures that are left out.
        variants: shapes of abdominal organs and anatomical variants; the mean shape unless drawn.
    """

    age_years: float
    sex: str
    scale_xyz: tuple[float, float, float]
    belly: float
    waist: float
    fat_mm: float
    bulk: float
    bust_ml: float
    pelvis: float
    kyphosis_mm: float
    scoliosis_mm: float
    volumes_ml: Mapping[str, float]
    vessel_scale: float
    aorta_mm: float
    stretch: Mapping[str, float]
    shift_mm: Mapping[str, tuple[float, float, float]]
    lean: Mapping[str, float]
    warp: Float32[np.ndarray, "3 wz wy wx"]
    grain: Float32[np.ndarray, "gz gy gx"]
    jitter: Float64[np.ndarray, "n 4"]
    absent: frozenset[str]
    variants: Variants = field(default_factory=Variants)

    @property
    def scale(self) -> float:
        """Mean size of the frame relative to the reference man."""
        return float(np.prod(self.scale_xyz) ** (1 / 3))

    @property
    def female(self) -> bool:
        """Whether the body is female."""
        return self.sex == "female"

    def radius(self, name: str) -> float:
        """Factor on the radius of a structure: its asked-for enlargement."""
        return self.stretch.get(name, 1.0)

    def moved(self, name: str) -> Float64[np.ndarray, " 3"]:
        """Displacement (x, y, z) of an organ in mm; zero where it does not move by itself."""
        return np.array(self.shift_mm.get(name, (0.0, 0.0, 0.0)))


def draw_build(subject: Prompt, rng: np.random.Generator) -> Build:
    """Draw a body of the population to which a subject belongs.

    Args:
        subject: a prompt that states age, sex, height and weight.
        rng: source of everything the subject leaves open; the number of draws is fixed.

    Raises:
        InvalidValueError: if one of the four is unstated, or an enlarged organ has no volume.
    """
    age, female, height, weight = _stated(subject)
    normal = {name: float(np.clip(rng.standard_normal(), -2.2, 2.2)) for name in _FACTORS}
    moves = rng.standard_normal((len(_MOVABLE), 3)).clip(-2, 2)
    enlarged = _enlarged(subject.enlarged_organs)
    bmi = min(weight / (height / 100) ** 2, 52.0)
    z = (height / 175.0) ** 0.68  # sitting height grows slower than stature in the range of adults
    frame = (height / 175.0) ** 0.55 * (0.95 if female else 1.0)
    lean_fat = 1.0 + 0.12 * normal["fat_split"]
    size = bmi - 23.0
    belly = (0.017 if female else 0.021) * size + 0.05 * normal["belly"] + 0.0012 * (age - 55)
    return Build(
        age_years=age,
        sex="female" if female else "male",
        scale_xyz=(
            frame * (1 + 0.025 * normal["width"] + 0.003 * size),
            frame * (1 + 0.025 * normal["depth"] + 0.002 * size),
            min(z * (1 + 0.011 * normal["length"]) * (0.985 if female else 1.0), _LONGEST),
        ),
        belly=float(np.clip(belly, -0.16, 0.62)),
        waist=float(np.clip(0.007 * size + 0.02 * normal["waist"] - (0.03 if female else 0.0), -0.12, 0.22)),
        fat_mm=_fat_mm(bmi, female) * lean_fat,
        bulk=_bulk(age, female, bmi) * (1 + 0.06 * normal["bulk"]),
        bust_ml=np.exp(0.35 * normal["bust"]) * 360 * (bmi / 24) ** 1.3 if female else 0.0,
        pelvis=(1.05 if female else 1.0) + 0.02 * normal["pelvis"],
        kyphosis_mm=3.0 * normal["kyphosis"] + 0.16 * max(age - 55, 0),
        scoliosis_mm=3.0 * normal["scoliosis"],
        volumes_ml=_volumes(("female" if female else "male"), (height, weight, age), rng, enlarged),
        vessel_scale=(0.92 if female else 1.0) * (1 + 0.05 * normal["vessels"]) * frame**0.5,
        aorta_mm=_aorta_mm(age, female, height, weight) * (1 + 0.07 * normal["aorta"]),
        stretch=dict.fromkeys(enlarged, ENLARGEMENT**0.5 * 1.12),
        shift_mm={name: tuple(_SPREAD_MM.get(name, 3.0) * move) for name, move in zip(_MOVABLE, moves, strict=True)},
        lean=normal,
        warp=rng.standard_normal(_WARP_SHAPE).astype(np.float32),
        grain=rng.standard_normal(_GRAIN_SHAPE).astype(np.float32),
        jitter=rng.standard_normal((_BOWEL_KNOTS, 4)),
        absent=frozenset(_members(subject.absent_organs)),
    )


_FACTORS = (
    "fat_split", "belly", "width", "depth", "length", "waist", "bulk", "bust", "pelvis", "kyphosis", "scoliosis",
    "vessels", "aorta", "liver_left", "liver_low", "stomach_turn", "colon_loop", "sigmoid_loop", "heart_turn",
    "dome", "spleen_turn", "gas", "uterus_turn", "rib_slope", "kidney_turn", "bladder_form",
)  # fmt: skip


def _stated(subject: Prompt) -> tuple[float, bool, float, float]:
    patient = subject.patient
    fields = {name: getattr(patient, name) for name in ("age_years", "sex", "height_cm", "weight_kg")}
    if missing := [name for name, value in fields.items() if value is None]:
        raise InvalidValueError(
            "subject of the phantom",
            got=f"no {', '.join(missing)}",
            need="age, sex, height and weight stated",
            do="Complete the prompt first (prompts.sampling.complete).",
        )
    return float(fields["age_years"]), fields["sex"] == "female", float(fields["height_cm"]), float(fields["weight_kg"])


def _members(names: Iterable[str]) -> set[str]:
    return {entry.name for name in names for entry in group(name)}


def _enlarged(names: Iterable[str]) -> set[str]:
    members = _members(names) - {"colon"}  # its segments stand for it
    if unable := sorted(members - {*_VOLUMED, *_TUBULAR}):
        raise InvalidValueError(
            "enlarged organs of the phantom",
            got=", ".join(unable),
            need=f"some of {', '.join((*_VOLUMED, *_TUBULAR))}",
            do="Leave the others out, or use a mask model that can draw them.",
        )
    return members


def _fat_mm(bmi: float, female: bool) -> float:
    """Subcutaneous fat at the umbilicus: near 15 mm (men) and 22 mm (women) at BMI 25, more above."""
    return float(np.clip((0.9 if not female else 1.15) * (bmi - 25) + (15 if not female else 22), 4.0, 48.0))


def _bulk(age: float, female: bool, bmi: float) -> float:
    """Muscle relative to a man of 40: less in women, minus 0.6 % a year after 45, more with weight."""
    return (0.86 if female else 1.0) * (1 - 0.006 * max(age - 45, 0)) * (1 + 0.006 * min(max(bmi - 24, -8), 14))


def _aorta_mm(age: float, female: bool, height: float, weight: float) -> float:
    """Outer diameter of the descending thoracic aorta; plus 1.3 mm a decade (Wolak 2008, Rogers 2013)."""
    bsa = np.sqrt(height * weight / 3600)
    return float(24.5 + 0.13 * (age - 50) + 3.0 * np.clip(bsa - 1.9, -0.6, 0.6) - (1.6 if female else 0.0))


_SIZE_POWER = {"liver": 1.0, "spleen": 0.8, "kidney_left": 0.8, "kidney_right": 0.8, "pancreas": 0.6, "heart": 0.8,
               "urinary_bladder": 0.0, "gallbladder": 0.2, "stomach": 0.6, "prostate": 0.2, "uterus": 0.2}  # fmt: skip
_TREND = {"liver": -0.003, "spleen": -0.005, "kidney_left": -0.005, "kidney_right": -0.005, "pancreas": -0.006,
          "heart": 0.002, "prostate": 0.014, "uterus": -0.008}  # fmt: skip
_SPARE_ML = {"uterus": 76.0, "prostate": 30.0}
_VOLUMED = ("liver", "spleen", "kidney_left", "kidney_right", "pancreas", "heart", "urinary_bladder", "gallbladder",
            "stomach", "prostate", "uterus", "adrenal_gland_left", "adrenal_gland_right", "thyroid_gland",
            "small_bowel", "duodenum", "colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid",
            "rectum")  # fmt: skip
_TUBULAR = ("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "iliac_artery_left", "iliac_artery_right",
            "esophagus", "trachea", "brachiocephalic_trunk", "subclavian_artery_left", "subclavian_artery_right",
            "common_carotid_artery_left", "common_carotid_artery_right")  # fmt: skip


def _volumes(
    sex: str, size: tuple[float, float, float], rng: np.random.Generator, enlarged: set[str]
) -> dict[str, float]:
    """Target volumes: reference mean by sex, body surface (Mosteller), age trend, lognormal residual.

    Kidneys share most of their residual, as the segments of the colon do.
    """
    height, weight, age = size
    surface = np.sqrt(height * weight / 3600) / (1.74 if sex == "female" else 1.98)
    kidneys, bowel = rng.standard_normal(2)
    volumes = {}
    for name in _VOLUMED:
        entry = structure(name)
        own = float(rng.standard_normal())
        if name.startswith("kidney"):
            own = 0.85 * kidneys + 0.53 * own
        if entry.group == "colon":
            own = 0.7 * bowel + 0.7 * own
        mean = entry.volume_ml.get(sex) or _SPARE_ML.get(name, 10.0)
        mean *= float(np.clip(surface, 0.6, 1.5)) ** _SIZE_POWER.get(name, 0.3)
        mean *= float(np.clip(1 + _TREND.get(name, 0.0) * (age - 55), 0.6, 1.5))
        spread = 0.85 * (entry.volume_cv or 0.2)
        drawn = mean * float(np.exp(spread * np.clip(own, -1.9, 1.9) - spread**2 / 2))
        volumes[name] = max(drawn, mean) * ENLARGEMENT if name in enlarged else drawn
    return volumes
