"""Ask for two patients in Python, build their CTs and masks, and read them back."""

import sys
from pathlib import Path

from factory.config import BuildConfig, preset
from factory.run import Run
from manifests.dataset import Dataset
from prompts.render import TEMPLATE_VERSION, render
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.table import PromptRow, write_prompts

PROMPTS = (
    Prompt(
        patient=Patient(age_years=63, sex="female"),
        study=Study(contrast_phase="portal_venous", region="abdomen"),
        tumours=(Tumour(organ="kidney", side="left", count=1, size_mm=60),),
    ),
    # whatever a prompt leaves unstated is drawn: here age, habitus, phase, site, count and size
    Prompt(patient=Patient(sex="male"), study=Study(region="abdomen"), tumours=(Tumour(organ="liver"),)),
)


def main(folder: Path, preset_name: str = "demo") -> int:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [PromptRow(prompt, render(prompt), f"example#{i}", TEMPLATE_VERSION) for i, prompt in enumerate(PROMPTS)]
    write_prompts(folder / "prompts.parquet", rows)

    config = BuildConfig(out=folder / "dataset", n=2, manifest=folder / "prompts.parquet", preset=preset(preset_name))
    run = Run(config)
    for outcome in run:  # one outcome for each case that was drawn, accepted or not
        print(outcome.record.status, outcome.record.prompt_text, *outcome.record.reasons)

    dataset = Dataset.open(folder / "dataset")
    for record in dataset.accepted():
        arrays = dataset.read(record.case_id)
        print(f"{record.case_id}: {arrays.ct.shape} voxels of {arrays.grid.spacing_mm_zyx} mm")
        for tumour in record.measured.tumours:
            print(f"  measured: {tumour.count} x {tumour.site}, {tumour.size_mm} mm")
    return 0 if run.report().complete else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
