"""Run the main job once: build 8 cases, check them, export them to nnU-Net raw, show them."""

import shlex
import subprocess
import sys
from pathlib import Path


def main(folder: Path) -> int:
    dataset, raw, view = folder / "dataset", folder / "nnUNet_raw", folder / "view"
    commands = (
        f"factory build --n 8 --out {dataset}",
        f"factory check {dataset}",
        f"factory export nnunet {dataset} --id 501 --name Torso --scheme guidegen20 --out {raw}",
        f"factory view {dataset} --out {view}",
    )
    for command in commands:
        print(f"\n$ {command}", flush=True)
        status = subprocess.run(shlex.split(command), check=False).returncode
        if status:
            return status
    print(
        f"""
What came out
  {view / "index.html"}   open it in a browser: each case beside its prompt
  {view / "contact_sheet.png"}   the same as one picture
  {dataset}   OME-Zarr cases, manifest.parquet, card
  {raw / "Dataset501_Torso"}   ready for nnU-Net

What to try next (with `source .venv/bin/activate`)
  factory info {dataset}
  factory prompts sample --n 100 --out prompts.parquet
  factory prompts show prompts.parquet
  factory build --manifest prompts.parquet --n 100 --workers 2 --out data/hundred
  factory doctor
"""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-out")))
