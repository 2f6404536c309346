"""Take a dataset that was built, export it to nnU-Net and draw its contact sheet."""

import json
import sys
from pathlib import Path

from downstream.export_nnunet import ExportOptions, export
from downstream.report.report import view
from manifests.dataset import Dataset


def main(dataset_folder: Path, out: Path) -> int:
    dataset = Dataset.open(dataset_folder)
    options = ExportOptions(id="501", name="Example", scheme="guidegen20-tumour")
    summary = export(dataset, out / "nnUNet_raw", options, on_case=lambda case: print("exported", case.case_id))
    print(f"{summary.cases} cases in {summary.folder}")
    print("cases with a tumour:", summary.cases_with["tumour"])
    for warning in summary.warnings:
        print("warning:", warning)

    described = json.loads((summary.folder / "dataset.json").read_text(encoding="utf-8"))
    print(f"{described['description']} Labels: {len(described['labels'])}")

    made = view(dataset, out / "view", n=4)
    print(f"look at {made.page} and {made.sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
