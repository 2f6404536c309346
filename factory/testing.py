"""What makers of engines test with: a conformance suite, and toy models that misbehave on request.

An engine's author subclasses `EngineSuite`, says which models it is about, and inherits the
tests. The toy models draw a patient of a few ellipsoids in milliseconds, for tests of whatever
surrounds engines.
"""

import os
import pickle
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Int16
from scipy import ndimage

from factory.config import Preset
from factory.engines.base import ImageModel, MaskModel, Masks, Request, check_ct, check_masks
from factory.executor import Models
from factory.quality import Verdict
from manifests.anatomy import by_id, structure, structures
from manifests.case import Arrays, Lesion
from manifests.errors import WorkerError
from manifests.geometry import HU_MAX, HU_MIN, Grid
from manifests.identity import canonical_json, rng
from prompts.render import render
from prompts.sampling import complete
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.table import PromptRow

__all__ = [
    "TOY_PRESET",
    "Behaviour",
    "EngineSuite",
    "ToyImages",
    "ToyMasks",
    "make_request",
    "toy_models",
    "toy_prompts",
]

TOY_PRESET = Preset("toy", 24.0, purpose="tests of whatever surrounds engines")
"""27 x 13 x 18 voxels."""

_ORGANS = {  # centre and half axes in mm, both x, y, z in the torso frame
    "body": ((0.0, -20.0, 0.0), (170.0, 120.0, 400.0)),
    "liver": ((-70.0, -60.0, 20.0), (75.0, 60.0, 70.0)),
    "spleen": ((100.0, -10.0, 40.0), (35.0, 35.0, 50.0)),
    "kidney_right": ((-65.0, 30.0, -60.0), (30.0, 30.0, 60.0)),
    "kidney_left": ((65.0, 30.0, -60.0), (30.0, 30.0, 60.0)),
}


def make_request(prompt: Prompt, grid: Grid, case_id: str = "c0") -> Request:
    """A request outside any build; what is unstated is drawn."""
    return Request(case_id=case_id, prompt=prompt, subject=complete(prompt, rng(case_id, "subject")), grid=grid)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the toy models behave; patients of a given age (years) meet a given accident.

    Attributes:
        seconds: time each drawing takes.
        rejected: fraction of drawings that the toy gate refuses.
        crash_age: the process dies.
        hang_age: the drawing never ends.
        raise_age: the drawing raises ValueError.
        scarce_age: the drawing raises WorkerError.
    """

    seconds: float = 0.0
    rejected: float = 0.0
    crash_age: int | None = None
    hang_age: int | None = None
    raise_age: int | None = None
    scarce_age: int | None = None

    def meet(self, age: float | None) -> None:
        """Let a patient of this age meet what is in store."""
        time.sleep(self.seconds)
        if age is None:
            return
        if age == self.crash_age:
            os._exit(1)
        if age == self.hang_age:
            time.sleep(3600)
        if age == self.raise_age:
            raise ValueError("the toy was told to raise")
        if age == self.scarce_age:
            raise WorkerError("toy", got="no memory", need="memory", do="Try again.")


class ToyMasks(MaskModel):
    """A body, four organs, and spherical tumours in the middle of the organ asked for."""

    identity = {"name": "toy", "version": "1"}  # noqa: RUF012  # as the contract has it

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self._behaviour = behaviour or Behaviour()

    def draw(self, request: Request) -> Masks:
        """Draw ellipsoids, scaled a little at random."""
        self._behaviour.meet(request.prompt.patient.age_years)
        scale = request.rng("toy anatomy").uniform(0.9, 1.1)
        anatomy = np.zeros(request.grid.shape_zyx, np.uint8)
        for name, (center, axes) in _ORGANS.items():
            anatomy[_ellipsoid(request.grid, center, [axis * scale for axis in axes])] = structure(name).id
        lesions = np.zeros_like(anatomy)
        records: list[Lesion] = []
        for tumour in request.subject.tumours:
            organ = anatomy == structure(str(tumour.site)).id
            middle = _ORGANS[str(tumour.site)][0]
            sphere = _ellipsoid(request.grid, middle, [max(tumour.size_mm or 0.0, 40.0) / 2] * 3) & organ
            if sphere.any():
                lesions[sphere] = len(records) + 1
                records.append(_lesion(len(records) + 1, tumour, sphere, request.grid))
        return Masks(anatomy, lesions, tuple(records))


class ToyImages(ImageModel):
    """The table's Hounsfield units of each structure, and noise."""

    identity = {"name": "toy", "version": "1"}  # noqa: RUF012

    def render(self, request: Request, masks: Masks) -> Int16[np.ndarray, "z y x"]:
        """Look each voxel up and add noise of 10 HU; lesions are 30 HU darker."""
        phase = request.subject.study.contrast_phase or "native"
        table = np.full(256, -1000.0)
        for entry in structures():
            table[entry.id] = entry.hu.get(phase, 40.0)
        noise = request.rng("toy noise").normal(0, 10, request.grid.shape_zyx)
        hu = table[masks.anatomy] - 30.0 * (masks.lesions > 0) + noise
        ct: Int16[np.ndarray, "z y x"] = np.clip(np.round(hu), HU_MIN, HU_MAX).astype(np.int16)
        return ct


def toy_prompts(ages: Iterable[int]) -> tuple[PromptRow, ...]:
    """Prompts that the toy can draw: one for each age, with a liver tumour."""
    tumour = Tumour(organ="liver", site="liver", count=1, size_mm=60)
    prompts = (Prompt(patient=Patient(age_years=age), tumours=(tumour,)) for age in ages)
    return tuple(PromptRow(prompt=prompt, text=render(prompt), source="toy") for prompt in prompts)


def toy_models(behaviour: Behaviour | None = None) -> Models:
    """The toy models with a gate that refuses a fixed fraction of drawings at random."""
    behaviour = behaviour or Behaviour()
    gate = {"name": "toy", "rejected": behaviour.rejected}
    return Models(ToyMasks(behaviour), ToyImages(), partial(_toy_gate, behaviour.rejected), gate)


def _toy_gate(rejected: float, request: Request, arrays: Arrays) -> Verdict:
    refused = request.rng("toy gate").random() < rejected
    reasons = ("toy gate: drew a blank",) if refused else ()
    ids = [int(value) for value in np.unique(arrays.lesions) if value]
    lesions = tuple(_lesion(id, request.subject.tumours[id - 1], arrays.lesions == id, arrays.grid) for id in ids)
    return Verdict(not refused, reasons, request.prompt.attributes(), lesions, ())


def _ellipsoid(grid: Grid, center: Sequence[float], axes: Sequence[float]) -> Bool[np.ndarray, "z y x"]:
    z, y, x = np.ix_(*grid.axes_mm())
    terms = ((along - at) / axis for along, at, axis in zip((x, y, z), center, axes, strict=True))
    inside: Bool[np.ndarray, "z y x"] = np.asarray(sum(term**2 for term in terms) <= 1.0)
    return inside


def _lesion(id: int, tumour: Tumour, sphere: Bool[np.ndarray, "z y x"], grid: Grid) -> Lesion:
    z, y, x = (float(axis[np.nonzero(sphere)[i]].mean()) for i, axis in enumerate(grid.axes_mm()))
    return Lesion(
        id=id,
        organ=tumour.organ,
        site=str(tumour.site),
        size_mm=tumour.size_mm or 40.0,
        volume_ml=float(sphere.sum()) * grid.voxel_volume_ml,
        center_mm_xyz=(x, y, z),
    )


class EngineSuite:
    """Conformance of a mask model and an image model; subclass, override, inherit the tests."""

    grid: Grid = Preset("suite", 6.0).grid()
    prompts: tuple[Prompt, ...] = (
        Prompt(patient=Patient(age_years=61, sex="male"), study=Study(contrast_phase="portal_venous")),
        Prompt(patient=Patient(sex="female"), tumours=(Tumour(organ="liver", count=1, size_mm=40),)),
    )

    def make_masks(self) -> MaskModel:
        """A new instance of the mask model under test."""
        raise NotImplementedError

    def make_images(self) -> ImageModel:
        """A new instance of the image model under test."""
        raise NotImplementedError

    def requests(self) -> list[Request]:
        """One request for each prompt."""
        return [make_request(prompt, self.grid, f"c{number}") for number, prompt in enumerate(self.prompts)]

    def made(self) -> list[tuple[Request, Masks, Arrays]]:
        """The case of each request; made once for all tests that only look at it."""
        kind = type(self)
        if kind not in _MADE:
            np.random.seed(1)  # noqa: NPY002  # the global generator is what must not matter
            masks, images = self.make_masks(), self.make_images()
            _MADE[kind] = [(request, *_render(masks, images, request)) for request in self.requests()]
        return _MADE[kind]

    def test_identity_names_model_and_version(self) -> None:
        """Identities are JSON text with a name and a version."""
        for make in (self.make_masks, self.make_images):
            identity = dict(make().identity)
            assert {"name", "version"} <= set(identity)
            assert canonical_json(identity) == canonical_json(dict(make().identity))

    def test_models_travel_between_processes(self) -> None:
        """A copy by pickle draws the same."""
        request, masks, _ = self.made()[0]
        copy = pickle.loads(pickle.dumps(self.make_masks()))  # noqa: S301  # our own bytes
        assert np.array_equal(copy.draw(request).anatomy, masks.anatomy)

    def test_a_case_is_the_same_in_any_order_and_process_state(self) -> None:
        """Two instances that see the requests in opposite orders agree; global generators are untouched."""
        there = self.made()
        np.random.seed(2)  # noqa: NPY002
        before = pickle.dumps(np.random.get_state())  # noqa: NPY002
        masks, images = self.make_masks(), self.make_images()
        back = [_render(masks, images, request) for request, *_ in reversed(there)][::-1]
        for (_, _, one), (_, other) in zip(there, back, strict=True):
            for name in ("ct", "anatomy", "lesions"):
                assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002

    def test_other_cases_differ(self) -> None:
        """The same prompt under another case id gives another patient and other noise."""
        _, _, one = self.made()[0]
        request = make_request(self.prompts[0], self.grid, "another")
        _, other = _render(self.make_masks(), self.make_images(), request)
        assert not np.array_equal(one.anatomy, other.anatomy)
        assert not np.array_equal(one.ct, other.ct)

    def test_masks_keep_their_contract(self) -> None:
        """Shapes, types, known ids, one record for each lesion, lesions apart and inside their site."""
        for request, masks, _ in self.made():
            check_masks(masks, request.grid)
            for value in np.unique(masks.anatomy[masks.anatomy > 0]):
                by_id(int(value))
            _, parts = ndimage.label(masks.lesions > 0, np.ones((3, 3, 3)))
            assert parts == len(masks.lesion_records)
            for lesion in masks.lesion_records:
                under = set(np.unique(masks.anatomy[masks.lesions == lesion.id]).tolist())
                assert structure(lesion.site).id in under

    def test_every_prompted_tumour_is_drawn(self) -> None:
        """As many lesions of each organ as the subject has."""
        for request, masks, _ in self.made():
            for tumour in request.subject.tumours:
                drawn = [lesion for lesion in masks.lesion_records if lesion.organ == tumour.organ]
                assert len(drawn) == tumour.count

    def test_images_keep_their_contract(self) -> None:
        """Range of HU, air around the patient, and a patient that is not of air."""
        for request, _, arrays in self.made():
            check_ct(arrays.ct, request.grid)
            assert np.median(arrays.ct[arrays.anatomy == 0]) < -900
            assert -200 < np.median(arrays.ct[arrays.anatomy > 0]) < 200

    def test_organs_have_their_density(self) -> None:
        """The liver's mean lies within three standard deviations of the table's, and 15 HU."""
        liver = structure("liver")
        for request, _, arrays in self.made():
            inside = ndimage.binary_erosion((arrays.anatomy == liver.id) & (arrays.lesions == 0))
            assert request.subject.study.contrast_phase
            wanted = liver.hu[request.subject.study.contrast_phase]
            assert abs(float(arrays.ct[inside].mean()) - wanted) < 3 * liver.hu_sd + 15


_MADE: dict[type[EngineSuite], list[tuple[Request, Masks, Arrays]]] = {}


def _render(masks: MaskModel, images: ImageModel, request: Request) -> tuple[Masks, Arrays]:
    drawn = masks.draw(request)
    return drawn, Arrays(request.grid, images.render(request, drawn), drawn.anatomy, drawn.lesions)
