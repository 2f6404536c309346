"""The gate accepts a sound case and names each planted fault by exactly its code."""

import ast
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from scipy.ndimage import gaussian_filter

import factory.quality
from factory.config import preset
from factory.engines.base import Request
from factory.quality import CODES, GATE, Verdict, assess
from factory.quality.components import runs_at, runs_of
from factory.quality.measure import measure
from manifests.anatomy import by_id, structure
from manifests.case import Arrays
from manifests.geometry import Grid
from manifests.identity import content_hash
from prompts.schema import Patient, Prompt, Study, Tumour

GRID = preset("tiny").grid("torso")

BOXES_MM = {
    "body": ((-400, 400), (-150, 120), (-180, 180)),
    "lung_lower_lobe_right": ((60, 180), (-20, 76), (-150, -54)),
    "lung_middle_lobe_right": ((60, 114), (-110, -20), (-150, -54)),
    "lung_upper_lobe_right": ((114, 234), (-110, -20), (-150, -54)),
    "lung_lower_lobe_left": ((60, 180), (-20, 76), (54, 150)),
    "lung_upper_lobe_left": ((90, 234), (-110, -20), (54, 150)),
    "heart": ((60, 150), (-110, -20), (-48, 48)),
    "trachea": ((156, 228), (-14, 10), (-12, 12)),
    "esophagus": ((60, 200), (12, 30), (-18, 0)),
    "aorta": ((-60, 230), (12, 36), (6, 30)),
    "liver": ((-30, 54), (-110, 20), (-150, -6)),
    "spleen": ((-6, 54), (-20, 52), (96, 150)),
    "stomach": ((-6, 54), (-100, -16), (6, 78)),
    "pancreas": ((-60, -8), (-10, 8), (-24, 60)),
    "kidney_right": ((-114, -36), (26, 74), (-96, -42)),
    "kidney_left": ((-114, -36), (26, 74), (42, 96)),
    "gallbladder": ((-84, -36), (-112, -86), (-80, -56)),
    "inferior_vena_cava": ((-60, 54), (24, 48), (-30, -6)),
    "small_bowel": ((-186, -90), (-100, -22), (-60, 60)),
    "colon_ascending": ((-150, -36), (-80, -44), (-132, -96)),
    "colon_transverse": ((-66, -36), (-80, -44), (-96, 96)),
    "colon_descending": ((-192, -36), (-80, -44), (96, 132)),
    "colon_sigmoid": ((-228, -192), (-80, -44), (0, 132)),
    "rectum": ((-228, -192), (-44, 22), (-18, 18)),
    "urinary_bladder": ((-290, -232), (-100, -40), (-36, 36)),
    "hip_left": ((-290, -210), (-40, 40), (80, 130)),
    "hip_right": ((-290, -210), (-40, 40), (-130, -80)),
    "autochthon_left": ((-200, 200), (84, 114), (12, 60)),
    "autochthon_right": ((-200, 200), (84, 114), (-60, -12)),
}
PELVIS_MM = {
    "male": {"prostate": ((-270, -246), (-30, 6), (-18, 18))},
    "female": {"uterus": ((-288, -246), (-30, 18), (-24, 24))},
}


def inside(box: tuple) -> np.ndarray:
    z, y, x = ((axis >= low) & (axis < high) for axis, (low, high) in zip(GRID.axes_mm(), box, strict=True))
    return z[:, None, None] & y[:, None] & x


def ball(center_xyz: tuple[float, float, float], diameter_mm: float) -> np.ndarray:
    z, y, x = GRID.axes_mm()
    cx, cy, cz = center_xyz
    return (z[:, None, None] - cz) ** 2 + (y[:, None] - cy) ** 2 + (x - cx) ** 2 <= (diameter_mm / 2) ** 2


def paint_ct(anatomy: np.ndarray, phase: str) -> np.ndarray:
    table = np.full(256, -1000.0)
    for id in np.unique(anatomy)[1:]:
        table[id] = by_id(int(id)).hu[phase]
    noise = np.random.default_rng(0).normal(0, 12, anatomy.shape)
    return np.clip(np.rint(table[anatomy] + noise), -1024, 3071).astype(np.int16)


def patient(
    tumours: tuple[Tumour, ...] = (), spots: tuple = (), sex: str = "male", phase: str = "portal_venous"
) -> tuple[Request, Arrays]:
    """A torso of boxes with the reference volumes, and a ball for each spot (center_xyz, diameter_mm)."""
    anatomy = np.zeros(GRID.shape_zyx, np.uint8)
    for name, box in {**BOXES_MM, **PELVIS_MM[sex]}.items():
        anatomy[inside(box)] = structure(name).id
    lesions = np.zeros_like(anatomy)
    for number, spot in enumerate(spots, 1):
        lesions[ball(*spot)] = number
    subject = Prompt(
        patient=Patient(sex=sex, height_cm=172, weight_kg=75),
        study=Study(region="torso", contrast_phase=phase),
        tumours=tumours,
    )
    arrays = Arrays(GRID, paint_ct(anatomy, phase), anatomy, lesions)
    return Request("c0", subject, subject, GRID), arrays


LIVER, LIVER_2, SPLEEN = (-78.0, -48.0, 12.0), (-110.0, -80.0, 12.0), (123.0, 16.0, 24.0)
KIDNEY_R, KIDNEY_L = (-69.0, 50.0, -75.0), (69.0, 50.0, -75.0)
ASCENDING, DESCENDING = (-114.0, -62.0, -100.0), (114.0, -62.0, -100.0)


def tumour(site: str, size_mm: float = 30, count: int = 1) -> Tumour:
    return Tumour(organ=str(structure(site).organ), site=site, side=structure(site).side, size_mm=size_mm, count=count)


def codes(verdict: Verdict) -> set[str]:
    found = {text.split(":")[0] for text in verdict.reasons}
    assert found <= set(CODES)
    assert verdict.accepted == (not found)
    return found


@pytest.mark.parametrize("sex", ["male", "female"])
@pytest.mark.parametrize("phase", ["native", "arterial", "portal_venous", "delayed"])
def test_accepts_a_sound_case_and_measures_what_was_asked(sex, phase):
    asked = (tumour("liver", 36, 2), tumour("kidney_left"), tumour("colon_ascending", 24))
    spots = ((LIVER, 36), (LIVER_2, 18), (KIDNEY_L, 30), (ASCENDING, 24))
    request, arrays = patient(asked, spots, sex, phase)
    verdict = assess(request, arrays)
    assert verdict.reasons == ()
    assert (verdict.measured.sex, verdict.measured.contrast_phase, verdict.measured.region) == (sex, phase, "torso")
    found = {entry.site: entry for entry in verdict.measured.tumours}
    assert {site: entry.count for site, entry in found.items()} == {"liver": 2, "kidney_left": 1, "colon_ascending": 1}
    assert found["kidney_left"].side == "left"
    assert found["liver"].size_mm == pytest.approx(36, abs=9)
    liver = next(row for row in verdict.structures if row.name == "liver")
    assert liver.volume_ml == pytest.approx((arrays.anatomy == structure("liver").id).sum() * 0.216)
    assert liver.hu_mean == pytest.approx(structure("liver").hu[phase], abs=0.5)


def edit(arrays: Arrays, change: Callable[[np.ndarray, np.ndarray, np.ndarray], None]) -> Arrays:
    ct, anatomy, lesions = arrays.ct.copy(), arrays.anatomy.copy(), arrays.lesions.copy()
    change(ct, anatomy, lesions)
    return Arrays(arrays.grid, ct, anatomy, lesions)


def test_margins_of_intensity_grow_with_the_dial_and_still_refuse() -> None:
    """A liver of 190 HU is beyond the population, one of 400 HU beyond any dial."""
    request, arrays = patient()
    liver = arrays.anatomy == structure("liver").id

    def verdict(hu: int, dial: float) -> set[str]:
        painted = edit(arrays, lambda ct, anatomy, lesions: ct.__setitem__(liver, hu))
        return codes(assess(replace(request, randomise=dial), painted))

    assert "hu" in verdict(190, 0.0)
    assert verdict(190, 1.0) == set()
    assert "hu" in verdict(400, 1.0)


ONE = (tumour("liver"),)
TUMOUR_FAULTS = {
    "shifted to another organ": (ONE, ((SPLEEN, 30),), "tumour-organ"),
    "shifted to another segment": ((tumour("colon_ascending"),), ((DESCENDING, 30),), "tumour-site"),
    "wrong side": ((tumour("kidney_left"),), ((KIDNEY_R, 30),), "tumour-side"),
    "missing": (ONE, (), "tumour-count"),
    "one of two missing": ((tumour("liver", 30, 2),), ((LIVER, 30),), "tumour-count"),
    "doubled": (ONE, ((LIVER, 30), (LIVER_2, 24)), "tumour-count"),
    "never asked": ((), ((LIVER, 30),), "tumour-unasked"),
    "asked elsewhere too": (ONE, ((LIVER, 30), (SPLEEN, 24)), "tumour-unasked"),
    "too large": (ONE, ((LIVER, 54),), "tumour-size"),
    "too small": ((tumour("liver", 42),), ((LIVER, 18),), "tumour-size"),
}


@pytest.mark.parametrize("name", TUMOUR_FAULTS)
def test_names_each_tumour_fault(name):
    asked, spots, code = TUMOUR_FAULTS[name]
    assert codes(assess(*patient(asked, spots))) == {code}


def test_counts_merged_tumours_as_one():
    request, arrays = patient((tumour("liver", 30, 2),), ((LIVER, 30), (LIVER_2, 24)))
    bridge = np.linspace(LIVER, LIVER_2, 30)

    def merge(ct, anatomy, lesions):
        for point in bridge:
            lesions[ball(tuple(point), 13)] = 1
        lesions[lesions > 0] = 1

    assert codes(assess(request, arrays)) == set()
    assert codes(assess(request, edit(arrays, merge))) == {"tumour-count"}


def erase(name: str) -> Callable:
    return lambda ct, anatomy, lesions: anatomy.__setitem__(anatomy == structure(name).id, structure("body").id)


def cut(*boxes: tuple) -> Callable:
    def change(ct, anatomy, lesions):
        for box in boxes:
            anatomy[inside(box)] = structure("body").id

    return change


def relabel(box: tuple, id: int) -> Callable:
    return lambda ct, anatomy, lesions: anatomy.__setitem__(inside(box), id)


def recolour(id: int, phase: str = "portal_venous") -> Callable:
    """Move one structure's HU by 150."""
    return lambda ct, anatomy, lesions: ct.__setitem__(anatomy == id, ct[anatomy == id] + 150)


FAULTS = {
    "deleted spleen": (erase("spleen"), "organ-missing"),
    "deleted lobe": (erase("lung_middle_lobe_right"), "organ-missing"),
    "broken segment": (cut(((-70, -30), (-90, -30), (-12, 12))), "connectivity"),
    "broken between segments": (cut(((-70, -30), (-90, -30), (-96, -84))), "connectivity"),
    "broken aorta": (cut(((80, 92), (0, 48), (0, 48))), "connectivity"),
    "shrunken liver": (
        cut(
            ((-30, -6), (-110, 20), (-150, -6)),
            ((30, 54), (-110, 20), (-150, -6)),
            ((-6, 30), (-110, -76), (-150, -6)),
        ),
        "volume",
    ),
    "both sexes": (relabel(((-288, -276), (60, 72), (-6, 6)), structure("uterus").id), "sex"),
    "no prostate": (erase("prostate"), "sex"),
    "unknown id": (relabel(((-288, -276), (60, 72), (-6, 6)), 250), "vocabulary"),
    "everything 200 HU up": (lambda ct, anatomy, lesions: np.add(ct, 200, out=ct), "hu"),
    "one organ 150 HU up": (recolour(structure("pancreas").id), "hu"),
    "one slice constant": (lambda ct, anatomy, lesions: ct.__setitem__(90, -1000), "ct-constant"),
    "water around the body": (lambda ct, anatomy, lesions: ct.__setitem__(anatomy == 0, 0), "hu-outside"),
    "a voxel beyond 12 bits": (lambda ct, anatomy, lesions: ct.__setitem__((50, 20, 20), 9000), "ct-range"),
    "half a lesion renamed": (lambda ct, anatomy, lesions: lesions[55:].__imul__(2), "lesion-ids"),
    "a lesion in the air": (lambda ct, anatomy, lesions: lesions.__setitem__((50, 0, 0), 2), "lesion-outside"),
    "a lesion in no organ": (lambda ct, anatomy, lesions: lesions.__setitem__((105, 26, 36), 2), "lesion-outside"),
}


@pytest.mark.parametrize(("name", "judged"), [("kidneys", False), ("ribs", False), ("lung_left", True)])
def test_labels_of_both_sides_may_lie_in_pieces(name: str, judged: bool) -> None:
    request, arrays = patient(ONE, ((LIVER, 30),))

    def pieces(ct: np.ndarray, anatomy: np.ndarray, lesions: np.ndarray) -> None:
        for x in (-30, 18):
            anatomy[inside(((-288, -264), (60, 84), (x, x + 24)))] = structure(name).id

    assert ("connectivity" in codes(assess(request, edit(arrays, pieces)))) == judged


@pytest.mark.parametrize("name", FAULTS)
def test_names_each_fault(name):
    change, code = FAULTS[name]
    request, arrays = patient(ONE, ((LIVER, 30),))
    assert codes(assess(request, edit(arrays, change))) == {code}


def test_a_lobe_is_small_where_fluid_took_its_place_and_nowhere_else():
    """Three quarters of the middle lobe are gone: unlikely, unless an effusion of that size lies on the same side."""
    request, arrays = patient()
    lost = ((60, 114), (-110, -20), (-150, -78))
    for filling, found in (("body", {"volume"}), ("pleural_effusion_right", set())):
        squeezed = edit(arrays, relabel(lost, structure(filling).id))
        squeezed = replace(squeezed, ct=paint_ct(squeezed.anatomy, "portal_venous"))
        assert codes(assess(request, squeezed)) == found, filling


def test_names_a_flipped_volume():
    request, arrays = patient((tumour("kidney_left"),), ((KIDNEY_L, 30),))
    flipped = Arrays(GRID, *(np.ascontiguousarray(a[:, :, ::-1]) for a in (arrays.ct, arrays.anatomy, arrays.lesions)))
    assert codes(assess(request, flipped)) == {"left-right"}


def ask(request: Request, **changes: object) -> Request:
    return replace(request, subject=request.subject.model_copy(update=changes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"patient": Patient(sex="female")}, "sex"),
        ({"absent_organs": ("spleen",)}, "organ-present"),
        ({"enlarged_organs": ("liver",)}, "organ-size"),
        ({"study": Study(region="torso", contrast_phase="native")}, "contrast-phase"),
        ({"study": Study(region="torso", contrast_phase="arterial")}, "contrast-phase"),
    ],
)
def test_names_each_unmet_wish(changes, code):
    request, arrays = patient(ONE, ((LIVER, 30),))
    found = codes(assess(ask(request, **changes), arrays))
    assert found == ({"sex"} if code == "sex" else {code})


def test_accepts_absent_and_enlarged_organs_that_were_asked():
    request, arrays = patient(ONE, ((LIVER, 30),))
    larger = relabel(((-54, 54), (-20, 70), (96, 150)), structure("spleen").id)
    arrays = edit(edit(arrays, erase("gallbladder")), larger)
    arrays = replace(arrays, ct=paint_ct(arrays.anatomy, "portal_venous"))
    verdict = assess(ask(request, absent_organs=("gallbladder",), enlarged_organs=("spleen",)), arrays)
    assert verdict.reasons == ()
    assert verdict.measured.absent_organs == ("gallbladder",)
    assert verdict.measured.enlarged_organs == ("spleen",)


def test_names_a_wrong_grid_and_a_short_field_of_view():
    request, arrays = patient()
    moved = replace(arrays, grid=replace(GRID, origin_mm_xyz=(0.0, 0.0, GRID.origin_mm_xyz[2])))
    assert codes(assess(request, moved)) == {"grid"}
    short = Arrays(replace(GRID, shape_zyx=(60, 52, 72)), arrays.ct[:60], arrays.anatomy[:60], arrays.lesions[:60])
    found = codes(assess(replace(request, grid=short.grid), short))
    assert {"region", "organ-missing"} <= found


def test_ignores_the_volume_of_a_structure_cut_by_the_grid():
    request, arrays = patient()
    grid = replace(GRID, shape_zyx=(38, 52, 72))
    part = Arrays(grid, arrays.ct[:38], arrays.anatomy[:38], arrays.lesions[:38])
    assert part.anatomy[-1].max()
    assert codes(assess(request, arrays)) == set()
    reference = structure("kidney_left").volume_ml["male"]
    assert measure(part).volume_ml(structure("kidney_left").id) < 0.45 * reference
    request = ask(replace(request, grid=grid), study=Study(region=None, contrast_phase="portal_venous"))
    assert codes(assess(request, part)) == set()


volumes = arrays_of.arrays(
    np.uint8,
    arrays_of.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
    elements=st.sampled_from([0, 5, 9]),
)


def flood(labels: np.ndarray) -> dict[tuple[int, int, int], int]:
    """Component of each non-zero voxel by walking to the 26 neighbours."""
    component: dict[tuple[int, int, int], int] = {}
    steps = [step for step in np.ndindex(3, 3, 3) if step != (1, 1, 1)]
    for number, start in enumerate(map(tuple, np.argwhere(labels).tolist())):
        todo = [start] if start not in component else []
        while todo:
            voxel = todo.pop()
            if voxel in component:
                continue
            component[voxel] = number
            near = (tuple(v + s - 1 for v, s in zip(voxel, step, strict=True)) for step in steps)
            todo += [n for n in near if min(n) >= 0 and all(np.less(n, labels.shape)) and labels[n] == labels[voxel]]
    return component


@settings(deadline=None, max_examples=60)
@given(volumes)
def test_components_equal_a_flood_fill(labels):
    runs = runs_of(labels)
    truth = flood(labels)
    pairs = set()
    for z, y, start, stop, number in zip(runs.z, runs.y, runs.start, runs.stop, runs.component, strict=True):
        pairs |= {(int(number), truth[int(z), int(y), x]) for x in range(int(start), int(stop))}
    assert sum(runs.length) == len(truth)
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(set(truth.values()))
    marked = np.flatnonzero(labels)
    sparse = runs_at(labels.shape, marked, labels.reshape(-1)[marked])
    for name in ("label", "row", "start", "stop", "component"):
        np.testing.assert_array_equal(getattr(sparse, name), getattr(runs, name))
    union = runs.merged(frozenset({5, 9}))
    assert len(set(union.component.tolist())) == len(set(flood((labels > 0).astype(np.uint8)).values()))


@settings(deadline=None, max_examples=40)
@given(volumes, st.integers(0, 2**32 - 1))
def test_intensities_equal_those_counted_voxel_by_voxel(labels, seed):
    rng = np.random.default_rng(seed)
    ct = rng.integers(-1024, 3072, labels.shape).astype(np.int16)
    marks = np.where(rng.random(labels.shape) < 0.2, labels > 0, False).astype(np.uint8)
    measures = measure(Arrays(Grid(labels.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), ct, labels, marks))
    padded = np.pad(labels.astype(int), 1, mode="edge")
    inner = np.ones(labels.shape, bool)
    for axis, shift in itertools.product(range(3), (-1, 1)):
        inner &= np.roll(padded, shift, axis)[1:-1, 1:-1, 1:-1] == labels
    for id in np.unique(labels):
        own = labels == id
        tissue = (marks == 0) & (ct < GATE["metal_hu"])
        healthy = own & tissue if (own & tissue).any() else own
        np.testing.assert_allclose(measures.hu_mean[id], ct[healthy].mean(dtype=float))
        np.testing.assert_allclose(measures.hu_sd[id], ct[healthy].std(dtype=float), atol=1e-4)
        core = own & inner & tissue
        assert measures.core_voxels[id] == core.sum()
        np.testing.assert_allclose(measures.core_hu[id], ct[core].mean(dtype=float) if core.any() else 0.0)


def longest_by_corners(mask: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Largest distance between any two voxel corners of one slice."""
    best = 0.0
    for plane in mask:
        voxels = np.argwhere(plane)
        corners = np.concatenate([voxels + shift for shift in ((0, 0), (0, 1), (1, 0), (1, 1))]) * spacing[1:]
        for corner in corners:
            best = max(best, float(np.sqrt(((corners - corner) ** 2).sum(axis=1)).max()))
    return best


@settings(deadline=None, max_examples=40)
@given(volumes, st.sampled_from([(3.0, 1.0, 1.0), (1.0, 0.7, 2.5)]))
def test_sizes_equal_the_longest_distance_between_corners(labels, spacing):
    grid = Grid(labels.shape, spacing)
    liver = np.full(labels.shape, structure("liver").id, np.uint8)
    found = measure(Arrays(grid, np.zeros(labels.shape, np.int16), liver, (labels > 0).astype(np.uint8))).lesions
    component = flood((labels > 0).astype(np.uint8))
    sizes = []
    for number in set(component.values()):
        mask = np.zeros(labels.shape, bool)
        mask[tuple(np.transpose([voxel for voxel, of in component.items() if of == number]))] = True
        sizes.append((longest_by_corners(mask, spacing), mask.sum() * grid.voxel_volume_ml))
    assert sorted(lesion.size_mm for lesion in found) == pytest.approx(sorted(size for size, _ in sizes), abs=1e-3)
    assert sorted(lesion.volume_ml for lesion in found) == pytest.approx(sorted(ml for _, ml in sizes), abs=1e-4)


def test_the_longest_diameter_may_lie_in_a_slice_with_a_smaller_box():
    lesion = np.zeros((2, 5, 5), np.uint8)
    lesion[0, 2, :] = lesion[0, :, 2] = 1
    lesion[1, range(4), range(4)] = 1
    case = Arrays(Grid(lesion.shape, (1.0, 1.0, 1.0)), np.zeros(lesion.shape, np.int16), lesion * 5, lesion)
    assert [found.size_mm for found in measure(case).lesions] == pytest.approx([32**0.5], abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(
    ct=st.integers(0, 3).map(lambda seed: np.random.default_rng(seed)),
    ids=st.sampled_from([(0, 1), (0, 256), (5, 6), (117, 131), (200, 201)]),
    marks=st.sampled_from([(0, 1), (0, 2), (1, 2), (0, 256)]),
    shape=arrays_of.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
)
def test_judges_garbage_without_raising(ct, ids, marks, shape):
    grid = Grid(shape, (3.0, 3.0, 3.0))
    request, _ = patient(ONE)
    values = ct.integers(-32768, 32767, shape, dtype=np.int16)
    anatomy, lesions = (ct.integers(*limits, shape).astype(np.uint8) for limits in (ids, marks))
    verdict = assess(replace(request, grid=grid), Arrays(grid, values, anatomy, lesions))
    assert codes(verdict)


def test_judges_smooth_random_labels():
    request, arrays = patient(ONE)
    noise = gaussian_filter(np.random.default_rng(3).normal(size=GRID.shape_zyx), 2)
    labels = (np.digitize(noise, np.quantile(noise, np.linspace(0, 1, 120)))).astype(np.uint8)
    assert {"left-right", "hu"} <= codes(assess(request, replace(arrays, anatomy=labels)))


def test_gate_is_json_and_its_sources_know_no_placement():
    assert content_hash(GATE)
    for path in Path(factory.quality.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("factory.engines.") or node.module == "factory.engines.base"
