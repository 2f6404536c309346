"""An open world for `factory bench usability`: two phantom populations, one stands for real scans, one for synthetic cases.

They differ in prompts (a clinic of older patients, mostly scanned in the portal venous phase, against sites in equal numbers from
the whole population) and in scanner and anatomy (as in patients and scanners, against `--randomise`). Anyone can rebuild it:

    python benchmarks/usability_world.py runs/world --dry-run    # builds both populations, says what the study will cost
    python benchmarks/usability_world.py runs/world              # the study; repeat it to go on
"""

import argparse
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

CLINIC = {
    "age = { mean = 52, sd = 18, low = 18, high = 90 }": "age = { mean = 66, sd = 10, low = 40, high = 90 }",
    "phases = { native = 0.25, arterial = 0.15, portal_venous = 0.50, delayed = 0.10 }": (
        "phases = { native = 0.10, arterial = 0.05, portal_venous = 0.85, delayed = 0.0001 }"
    ),
    "no_tumour = 0.08": "no_tumour = 0.20",
}
"""What the clinic changes in the population file that ships."""


def main(arguments: list[str] | None = None) -> int:
    asked = parse(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    write_clinic(asked.out / "clinic.toml")
    largest = max(map(int, asked.sizes.split(",")))
    for command in (*populations(asked, largest), study(asked)):
        print(f"$ {command}", flush=True)
        if code := subprocess.run(
            [sys.executable, "-m", "factory.cli", *shlex.split(command)[1:]], check=False
        ).returncode:
            return code
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=int, default=40, help="cases of the clinic; a fifth is tested")
    parser.add_argument("--sizes", default="0,100,200", help="numbers of synthetic cases")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plan", default="nano")
    parser.add_argument("--iterations", type=int, help="steps of every training; default: the plan's")
    parser.add_argument("--scheme", default="guidegen20")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--randomise", type=float, default=0.5, help="of the synthetic population")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args(arguments)


def write_clinic(path: Path) -> None:
    """The clinic's population: the file that ships, with the changes above."""
    text = files("prompts.sampling").joinpath("default_distribution.toml").read_text(encoding="utf-8")
    for old, new in CLINIC.items():
        assert old in text, f"the population file has changed: {old}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def populations(asked: argparse.Namespace, synthetic: int) -> list[str]:
    """Commands that draw prompts and build both populations; what is there is kept."""
    commands = []
    people = (
        ("clinic", asked.out / "clinic.toml", "match", asked.real, 0.0),
        ("made", "default", "balanced", synthetic, asked.randomise),
    )
    for seed, (name, source, mode, cases, dial) in enumerate(people, start=11):
        prompts = asked.out / f"{name}.parquet"
        if not prompts.is_file():
            commands.append(
                f"factory prompts sample {source} --n {2 * cases} --mode {mode} --seed {seed} --out {prompts}"
            )
        build = f"factory build --manifest {prompts} --n {cases} --preset {asked.preset} --seed {seed} --workers {asked.workers}"
        commands.append(f"{build} --randomise {dial} --out {asked.out / name}")
    return commands


def study(asked: argparse.Namespace) -> str:
    """The command of the study itself."""
    places = f"--real {asked.out / 'clinic'} --stand-in --synthetic {asked.out / 'made'} --out {asked.out / 'study'}"
    sizes = f"--sizes {asked.sizes} --seeds {asked.seeds} --plan {asked.plan} --scheme {asked.scheme} --workers {asked.workers}"
    rest = (f" --iterations {asked.iterations}" if asked.iterations else "") + (" --dry-run" if asked.dry_run else "")
    return f"factory bench usability {places} {sizes}{rest}"


if __name__ == "__main__":
    sys.exit(main())
