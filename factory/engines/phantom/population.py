"""Who is drawn: the parameters of one body, drawn from a population given age, sex and size.

`draw_build` is the only place of the phantom that is random. What follows is a pure function of
a `Build`. Form, pose and organ volumes have modules of their own; relations and their sources
stand beside the numbers and in `docs/phantom.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.habitus import Habitus, Person, draw_habitus
from factory.engines.phantom.posture import Posture, draw_posture
from factory.engines.phantom.variants import Variants
from factory.engines.phantom.volumes import ENLARGEMENT, aorta_mm, draw_volumes, enlarged, members
from manifests.errors import InvalidValueError
from prompts.schema import Prompt

__all__ = ["Build", "Noise", "draw_build"]

_MOVABLE = (
    "liver", "spleen", "stomach", "kidney_left", "kidney_right", "pancreas", "gallbladder", "heart", "urinary_bladder",
    "uterus", "prostate", "colon_ascending", "colon_transverse", "colon_descending", "colon_sigmoid", "rectum",
    "duodenum", "aorta", "esophagus", "trachea", "adrenal_gland_left", "adrenal_gland_right", "lung_fissure", "dome",
    "thyroid_gland", "portal_vein_and_splenic_vein", "inferior_vena_cava", "shoulder",
)  # fmt: skip
# residuals of single organs, on top of what breath and drift move together; chosen
_SPREAD_MM = {"liver": 4.0, "stomach": 8.0, "colon_transverse": 14.0, "colon_sigmoid": 12.0, "kidney_left": 7.0,
              "kidney_right": 7.0, "dome": 5.0, "spleen": 6.0, "lung_fissure": 8.0, "gallbladder": 6.0,
              "pancreas": 5.0, "heart": 5.0, "urinary_bladder": 5.0, "colon_ascending": 8.0, "colon_descending": 6.0,
              "aorta": 2.0, "inferior_vena_cava": 1.5, "trachea": 2.0, "esophagus": 2.0, "shoulder": 8.0}  # fmt: skip
_FACTORS = (
    "fat_split", "belly", "width", "depth", "length", "waist", "bulk", "bust", "pelvis", "kyphosis", "scoliosis",
    "vessels", "aorta", "liver_left", "liver_low", "stomach_turn", "colon_loop", "sigmoid_loop", "heart_turn",
    "dome", "spleen_turn", "gas", "uterus_turn", "rib_slope", "kidney_turn", "bladder_form", "chest_depth",
    "chest_breadth", "shoulders", "hips", "square", "fat_side", "fat_back", "lordosis", "breath", "heart_form",
    "recess", "heart_steep", "atria", "mediastinum", "mediastinum_side", "fissure_tilt",
)  # fmt: skip
_SHAPES = {"frame": (3, 5, 3, 4), "warp": (3, 8, 5, 6), "drift": (3, 7, 5, 5), "swirl": (3, 13, 7, 9)}
_BENT_MM = (7.0, 16.0)
_GRAIN_SHAPE = (40, 22, 28)
_BOWEL_KNOTS = 400


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard normal numbers of one body, on coarse lattices over the whole of it.

    Attributes:
        frame, warp: displacement of everything, by axis, at about 160 and 90 mm.
        drift, swirl: displacement of the organs alone, at about 100 and 55 mm.
        grain: for surfaces of organs.
        jitter: for the small bowel.
    """

    frame: Float32[np.ndarray, "3 fz fy fx"]
    warp: Float32[np.ndarray, "3 wz wy wx"]
    drift: Float32[np.ndarray, "3 dz dy dx"]
    swirl: Float32[np.ndarray, "3 sz sy sx"]
    grain: Float32[np.ndarray, "gz gy gx"]
    jitter: Float64[np.ndarray, "n 4"]


@dataclass(frozen=True, slots=True)
class Build:
    """The parameters of one body; lengths in mm unless the name says otherwise.

    Attributes:
        person: age, sex and size.
        habitus: form of the body.
        posture: pose and breath.
        volumes_ml: target volume of each organ that has one.
        vessel_scale: factor on the radii of arteries and veins.
        aorta_mm: diameter of the descending aorta.
        stretch: further factors on radii, by structure: asked-for enlargement.
        shift_mm: displacement (x, y, z) of movable organs from the mean position.
        lean: standard normal numbers by name, for shape variation inside the organs.
        noise: numbers for smooth random fields.
        wide: factor on the spreads of shape; 1 is the realistic population.
        absent: structures that are left out.
        variants: shapes of abdominal organs and anatomical variants; the mean shape unless drawn.
    """

    person: Person
    habitus: Habitus
    posture: Posture
    volumes_ml: Mapping[str, float]
    vessel_scale: float
    aorta_mm: float
    stretch: Mapping[str, float]
    shift_mm: Mapping[str, tuple[float, float, float]]
    lean: Mapping[str, float]
    noise: Noise
    wide: float
    absent: frozenset[str]
    variants: Variants = field(default_factory=Variants)

    @property
    def age_years(self) -> float:
        """Age of the person."""
        return self.person.age_years

    @property
    def female(self) -> bool:
        """Whether the body is female."""
        return self.person.female

    @property
    def sex(self) -> str:
        """Sex of the person, as in prompts."""
        return self.person.sex

    @property
    def bulk(self) -> float:
        """Muscle thickness relative to the reference."""
        return self.habitus.bulk

    @property
    def scale(self) -> float:
        """Mean size of the frame relative to the reference man."""
        return float(np.prod(self.habitus.scale_xyz) ** (1 / 3))

    @property
    def jitter(self) -> Float64[np.ndarray, "n 4"]:
        """Standard normal numbers for the small bowel."""
        return self.noise.jitter

    @property
    def findings(self) -> frozenset[str]:
        """Names of what is rare in this body's form and pose: effusions, ascites, bends, arms beside the trunk."""
        posture = self.posture
        fluids = ("pleural_effusion_left", "pleural_effusion_right", "ascites")
        found = {name for name in fluids if self.volumes_ml.get(name, 0.0) > 0}
        signs = {
            "arms_down": any(posture.arms_down),
            "scoliosis": abs(posture.scoliosis_mm[0]) > _BENT_MM[0],
            "hyperkyphosis": posture.kyphosis_mm > _BENT_MM[1],
        }
        return frozenset(found | {name for name, there in signs.items() if there})

    def radius(self, name: str) -> float:
        """Factor on the radius of a structure: its asked-for enlargement."""
        return self.stretch.get(name, 1.0)

    def moved(self, name: str) -> Float64[np.ndarray, " 3"]:
        """Displacement (x, y, z) of an organ in mm; zero where it does not move by itself."""
        return np.array(self.shift_mm.get(name, (0.0, 0.0, 0.0)))


def draw_build(subject: Prompt, rng: np.random.Generator, randomise: float = 0.0) -> Build:
    """Draw a body of the population to which a subject belongs.

    Args:
        subject: a prompt that states age, sex, height and weight.
        rng: source of everything the subject leaves open; the number of draws is fixed.
        randomise: from 0, the realistic population, to 1, with spreads of shape and place up to doubled.

    Raises:
        InvalidValueError: if one of the four is unstated, or an enlarged organ has no volume.
    """
    person, wide = _stated(subject), 1.0 + randomise
    normal = {name: float(np.clip(rng.standard_normal(), -2.2, 2.2)) for name in _FACTORS}
    moves = wide * rng.standard_normal((len(_MOVABLE), 3)).clip(-2, 2)
    larger = enlarged(subject.enlarged_organs)
    habitus, posture = draw_habitus(person, normal), draw_posture(person, normal, rng)
    vessels = (0.92 if person.female else 1.0) * (1 + 0.07 * normal["vessels"]) * habitus.scale_xyz[0] ** 0.5
    return Build(
        person=person,
        habitus=habitus,
        posture=posture,
        volumes_ml=draw_volumes(person, rng, larger, 1.0 + 0.5 * randomise),
        vessel_scale=vessels,
        aorta_mm=aorta_mm(person) * (1 + 0.08 * normal["aorta"]),
        stretch=dict.fromkeys(larger, ENLARGEMENT**0.5 * 1.12),
        shift_mm={name: tuple(_SPREAD_MM.get(name, 3.0) * move) for name, move in zip(_MOVABLE, moves, strict=True)},
        lean={name: (1.0 + 0.6 * randomise) * value for name, value in normal.items()},
        noise=_noise(rng),
        wide=wide,
        absent=frozenset(members(subject.absent_organs)),
    )


def _noise(rng: np.random.Generator) -> Noise:
    fields = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in _SHAPES.items()}
    grain = rng.standard_normal(_GRAIN_SHAPE).astype(np.float32)
    return Noise(**fields, grain=grain, jitter=rng.standard_normal((_BOWEL_KNOTS, 4)))


def _stated(subject: Prompt) -> Person:
    patient = subject.patient
    fields = {name: getattr(patient, name) for name in ("age_years", "sex", "height_cm", "weight_kg")}
    if missing := [name for name, value in fields.items() if value is None]:
        raise InvalidValueError(
            "subject of the phantom",
            got=f"no {', '.join(missing)}",
            need="age, sex, height and weight stated",
            do="Complete the prompt first (prompts.sampling.complete).",
        )
    sizes = (float(fields[name]) for name in ("height_cm", "weight_kg"))
    return Person(float(fields["age_years"]), fields["sex"] == "female", *sizes)
