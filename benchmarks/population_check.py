"""Check the phantom's population against the references of the anatomy table, and plot it.

    python benchmarks/population_check.py --cases 120 --rendered 32

Volumes by sex are those of painted structures, resections and enlarged organs left out, as in references; their mean should lie within
10 % of the reference and their spread within 30 % of the published one. HU are means of rendered
structures, a voxel away from their border, over patients; they should lie within 10 HU of the table. Height and liver, age and vertebra
tell the sign of two trends. Patients come from the distribution that ships with the project, as
adults without tumours. Plots go to `--plots`.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy import ndimage

from factory.config import preset
from factory.engines.base import Request
from factory.engines.phantom import Phantom
from manifests.anatomy import PHASES, structure
from manifests.identity import rng
from prompts.sampling import complete
from prompts.schema import Patient, Prompt, Study

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ORGANS = (
    "liver", "spleen", "kidney_left", "kidney_right", "pancreas", "gallbladder", "stomach", "duodenum", "small_bowel",
    "colon_ascending", "colon_transverse", "colon_descending", "urinary_bladder", "prostate", "uterus", "heart", "aorta",
    "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
    "lung_lower_lobe_right", "vertebrae_L3", "vertebrae_L1", "vertebrae_T12", "vertebrae_T8",
)  # fmt: skip
TISSUES = ("liver", "spleen", "kidney_left", "pancreas", "aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein",
           "heart", "gallbladder", "skeletal_muscle", "subcutaneous_fat", "vertebrae_L1")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One body: who it is, volumes in ml and, where it was rendered, HU by structure."""

    sex: str
    age: float
    height: float
    phase: str
    volumes: dict[str, float]
    hu: dict[str, float]


def draw(index: int, name: str, rendered: bool) -> Row:
    phase = PHASES[index % len(PHASES)]
    asked = Prompt(
        patient=Patient(sex="male" if index // len(PHASES) % 2 else "female"),
        study=Study(region="torso", contrast_phase=phase),
    )
    case_id = f"population-{index}"
    subject = complete(asked, rng(case_id, "subject")).model_copy(
        update={"tumours": (), "absent_organs": (), "enlarged_organs": ()}
    )
    grid = preset(name).grid()
    request = Request(case_id, asked, subject, grid)
    masks = Phantom().draw(request)
    counts = np.bincount(masks.anatomy.ravel(), minlength=256)
    healthy = [organ for organ in ORGANS if organ not in masks.enlarged]
    volumes = {organ: float(counts[structure(organ).id] * grid.voxel_volume_ml) for organ in healthy}
    hu = {}
    if rendered:
        from factory.engines.texture import Texture

        ct = Texture().render(request, masks)
        hu = {tissue: core_hu(ct, masks.anatomy == structure(tissue).id) for tissue in TISSUES}
    patient = subject.patient
    return Row(patient.sex, float(patient.age_years), float(patient.height_cm), phase, volumes, hu)


def core_hu(ct: np.ndarray, mask: np.ndarray) -> float:
    """Mean HU away from the border, where neighbours mix in; of all of it where nothing else is left."""
    core = ndimage.binary_erosion(mask)
    return float(ct[core if core.any() else mask].mean()) if mask.any() else float("nan")


def volume_table(rows: list[Row]) -> list[dict[str, object]]:
    table = []
    for organ in ORGANS:
        entry = structure(organ)
        for sex, reference in entry.volume_ml.items():
            found = np.array([row.volumes[organ] for row in rows if row.sex == sex and row.volumes.get(organ, 0) > 0])
            if len(found) < 3:
                continue
            mean, spread = float(found.mean()), float(found.std() / found.mean())
            table.append(
                {
                    "organ": organ, "sex": sex, "n": len(found), "mean_ml": round(mean, 1), "reference_ml": reference,
                    "ratio": round(mean / reference, 3), "cv": round(spread, 3), "reference_cv": entry.volume_cv,
                    "holds": abs(mean / reference - 1) <= 0.10,
                    "spread_holds": abs(spread / entry.volume_cv - 1) <= 0.30,
                }
            )  # fmt: skip
    return table


def hu_table(rows: list[Row]) -> list[dict[str, object]]:
    table = []
    for phase in PHASES:
        for tissue in TISSUES:
            found = [row.hu[tissue] for row in rows if row.hu and row.phase == phase]
            if found:
                off = float(np.nanmean(found)) - structure(tissue).hu[phase]
                table.append({"tissue": tissue, "phase": phase, "n": len(found), "off_hu": round(off, 1)})
    return table


def slope(rows: list[Row], x: str, y: list[float]) -> float:
    return float(np.polyfit([getattr(row, x) for row in rows], y, 1)[0])


def trends(rows: list[Row]) -> dict[str, float]:
    rendered = [row for row in rows if row.hu]
    whole = [row for row in rows if "liver" in row.volumes]
    found = {"liver_ml_per_cm": round(slope(whole, "height", [row.volumes["liver"] for row in whole]), 2)}
    if len(rendered) > 3:
        bone = [row.hu["vertebrae_L1"] for row in rendered]
        found["vertebra_hu_per_decade"] = round(10 * slope(rendered, "age", bone), 2)
    return found


def plot(rows: list[Row], table: list[dict[str, object]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figure, axis = plt.subplots(figsize=(7, 6))
    for shift, sex, colour in ((-0.16, "female", "#b5458b"), (0.16, "male", "#2b6cb0")):
        part = [line for line in table if line["sex"] == sex]
        places = [ORGANS.index(str(line["organ"])) + shift for line in part]
        ratio = np.array([line["ratio"] for line in part], float)
        spread = ratio * np.array([line["cv"] for line in part], float)
        axis.errorbar(ratio, places, xerr=spread, fmt="o", ms=3, lw=1, color=colour, label=sex)
    axis.axvspan(0.9, 1.1, color="0.9", zorder=0)
    axis.set(yticks=range(len(ORGANS)), yticklabels=ORGANS, xlabel="volume / reference (mean and SD)")
    axis.invert_yaxis()
    axis.legend()
    save(figure, folder / "volumes.png")
    figure, axes = plt.subplots(1, 2, figsize=(7, 3))
    whole = [r for r in rows if "liver" in r.volumes]
    axes[0].plot([r.height for r in whole], [r.volumes["liver"] for r in whole], ".")
    axes[0].set(xlabel="height (cm)", ylabel="liver (ml)")
    rendered = [row for row in rows if row.hu]
    axes[1].plot([r.age for r in rendered], [r.hu["vertebrae_L1"] for r in rendered], ".")
    axes[1].set(xlabel="age (years)", ylabel="L1 (HU)")
    save(figure, folder / "trends.png")
    if rendered:
        plot_hu(rendered, folder / "hu.png")


def plot_hu(rows: list[Row], path: Path) -> None:
    figure, axes = plt.subplots(1, len(PHASES), figsize=(10, 3.4), sharey=True)
    for axis, phase in zip(axes, PHASES, strict=True):
        part = [row for row in rows if row.phase == phase]
        off = [[row.hu[tissue] - structure(tissue).hu[phase] for row in part] for tissue in TISSUES]
        for place, values in enumerate(off):
            axis.plot(values, [place] * len(values), ".", ms=3, color="#2b6cb0")
            if values:
                axis.plot(np.mean(values), place, "|", ms=12, color="k")
        axis.axvspan(-10, 10, color="0.9", zorder=0)
        axis.set(
            title=phase, xlabel="HU off the table", xlim=(-90, 90), yticks=range(len(TISSUES)), yticklabels=TISSUES
        )
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=120)
    parser.add_argument("--rendered", type=int, default=32, help="cases of which the CT is rendered too")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--plots", type=Path, default=Path("docs/images/population"))
    chosen = parser.parse_args()
    rows = [draw(index, chosen.preset, index < chosen.rendered) for index in range(chosen.cases)]
    volumes, hu = volume_table(rows), hu_table(rows)
    plot(rows, volumes, chosen.plots)
    for line in (*volumes, *hu):
        print(json.dumps(line))
    held = {key: f"{sum(bool(line[key]) for line in volumes)} of {len(volumes)}" for key in ("holds", "spread_holds")}
    near = f"{sum(abs(float(str(line['off_hu']))) <= 10 for line in hu)} of {len(hu)}"
    print(json.dumps({"cases": len(rows), **held, "hu_within_10": near, **trends(rows)}))


if __name__ == "__main__":
    main()
