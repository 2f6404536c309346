"""The mask model `phantom`: draw a body of the population, paint it, place the lesions."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from factory.engines.base import MaskModel, Masks, Request
from factory.engines.lesions import lesion_notes, place_lesions
from factory.engines.phantom.abdomen import paint_abdomen
from factory.engines.phantom.ascites import ascites_order, paint_ascites
from factory.engines.phantom.body import Torso, paint_layers
from factory.engines.phantom.bowel import paint_colon, paint_small_bowel
from factory.engines.phantom.branches import paint_branches
from factory.engines.phantom.canvas import Canvas
from factory.engines.phantom.chest import paint_airways, paint_effusions, paint_heart, paint_lungs
from factory.engines.phantom.crura import paint_crura
from factory.engines.phantom.duodenum import paint_duodenum
from factory.engines.phantom.liver import paint_liver_cysts
from factory.engines.phantom.muscles import paint_diaphragm, paint_muscles
from factory.engines.phantom.pelvis import paint_gluteals, paint_pelvic_bones, paint_pelvic_organs
from factory.engines.phantom.population import Build, draw_build
from factory.engines.phantom.settling import settle
from factory.engines.phantom.skeleton import paint_shoulders, paint_spine
from factory.engines.phantom.space import LATTICE, Space
from factory.engines.phantom.spleen import paint_accessory_spleens
from factory.engines.phantom.variants import draw_variants
from factory.engines.phantom.varying import variant_notes, vary
from factory.engines.phantom.vessels import paint_arteries, paint_veins
from manifests.anatomy import structures
from manifests.geometry import Grid

__all__ = ["SCATTERED", "Phantom", "paint"]

SCATTERED = frozenset(
    {"body", "subcutaneous_fat", "visceral_fat", "skeletal_muscle", "intervertebral_discs", "costal_cartilages",
     "kidney_cyst_left", "kidney_cyst_right", "liver_cyst", "ascites"}
)  # fmt: skip
"""Structures that are many pieces by nature; every other one is a single connected piece."""


class Phantom(MaskModel):
    """A procedural torso: no weights, no patients in it; see `docs/phantom.md`."""

    identity: Mapping[str, str] = {"name": "phantom", "version": "9"}

    def draw(self, request: Request) -> Masks:
        """Draw the masks of one case."""
        build = draw_build(request.subject, request.rng("phantom"), request.randomise)
        variants = draw_variants(request.subject, request.rng("variants"), request.randomise)
        build = vary(build, variants)
        anatomy, lesions, records = place_lesions(paint(build, request.grid), request)
        return Masks(
            anatomy,
            lesions,
            records,
            {**variant_notes(variants, build.findings), **lesion_notes(records)},
            absent=variants.removed,
            enlarged=variants.enlarged,
        )


def paint(build: Build, grid: Grid) -> UInt8[np.ndarray, "z y x"]:
    """Paint a body on a grid of the torso frame; a pure function.

    The body is first painted on the lattice, which settles the levels of filled organs and the
    course of the small bowel, so that it is the same on every grid.
    """
    space = Space(build)
    torso = Torso(space)
    plan = Canvas(space, LATTICE, {}, {}, solving=True)
    _paint_all(plan, torso)
    settle(plan)
    _paint_small(plan.through(torso.viscera))
    order = ascites_order(plan, torso)
    paint_ascites(plan.through(torso.viscera), order)
    canvas = Canvas(space, grid, plan.levels_mm, plan.routes)
    _paint_all(canvas, torso)
    names = [entry.name for entry in structures() if entry.name not in SCATTERED]
    canvas.tidy(names, _ground)
    _paint_small(canvas.through(torso.viscera))
    paint_ascites(canvas.through(torso.viscera), order)
    return canvas.labels


def _paint_small(organs: Canvas) -> None:
    """Paint what is many pieces by nature, after all else is tidied."""
    paint_accessory_spleens(organs)
    paint_liver_cysts(organs)


def _paint_all(canvas: Canvas, torso: Torso) -> None:
    """Paint from the ground up: what comes later lies over what it is allowed to cover."""
    paint_layers(canvas, torso)
    paint_pelvic_bones(canvas)
    paint_spine(canvas)
    if not canvas.solving:  # nothing that is planned depends on these
        paint_shoulders(canvas)
        paint_gluteals(canvas)
    paint_muscles(canvas, torso)
    organs = canvas.through(torso.viscera)
    paint_diaphragm(organs, torso)
    paint_heart(organs, torso)
    paint_lungs(organs, torso)
    paint_effusions(organs, torso)
    paint_airways(organs)
    paint_abdomen(organs, torso)
    paint_pelvic_organs(organs)
    paint_duodenum(organs)
    paint_veins(organs)
    paint_crura(organs)
    paint_arteries(organs)
    paint_branches(organs)
    paint_colon(organs, torso)
    paint_small_bowel(organs)


_BONES = ("vertebrae", "rib", "hip", "femur", "humerus", "scapula", "clavicula", "sternum", "sacrum", "glut", "auto")


def _ground(name: str) -> str:
    """What remains where a stray part of a structure is taken away."""
    return "skeletal_muscle" if name.startswith(_BONES) else "visceral_fat"
