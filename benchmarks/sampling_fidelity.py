"""How well fitted distributions follow the tables they were fitted to, beside what sampling error allows.

    python benchmarks/sampling_fidelity.py [KITS19.json] [TCGA.csv] [--n 1000] [--seeds 5] [--bootstraps 20]

Each table is read through its mapping, fitted, written as TOML, read back and sampled. The limit is the mean of
the same figures over bootstrap resamples of the table with as many rows; ratios at most 1.5 are wanted. The
figures are those of `prompts.fidelity`.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from prompts.fidelity import Reference, quasi_identifiers
from prompts.mapping import apply_mapping, load_mapping
from prompts.sampling import fit, load_distribution, write_distribution
from prompts.sampling.base import site_of
from prompts.sources import read_table

TABLES = Path(__file__).parents[2] / "shared" / "data" / "tables"
NEED = 1.5


def study(table: Path, mapping: str, options: argparse.Namespace) -> bool:
    """Print the figures of one table; whether all that is wanted holds."""
    patients = [prompt for _, prompt in apply_mapping(load_mapping(mapping), read_table(table)).prompts]
    reference = Reference(patients)
    with tempfile.TemporaryDirectory() as folder:
        write_distribution(Path(folder, "d.toml"), fit(patients, mapping))
        fitted = load_distribution(Path(folder, "d.toml"))
    fitted.draw(0, 0)
    started = time.perf_counter()
    draws = [fitted.sample(options.n, seed) for seed in range(options.seeds)]
    rate = options.n * options.seeds / (time.perf_counter() - started)
    measured = [reference.measure(rows).means() for rows in draws]
    limit = reference.bootstrap(options.n, options.bootstraps).means()
    print(f"\n{table.name}: {len(patients)} patients, columns that vary: {', '.join(reference.varied)}")
    ratios = {}
    for figure in limit:
        values = np.array([one[figure] for one in measured])
        ratios[figure] = values.mean() / limit[figure]
        print(
            f"  {figure:12} sampled {values.mean():.4f} (SD over seeds {values.std():.4f})"
            f"  limit {limit[figure]:.4f}  ratio {ratios[figure]:.2f}"
        )
    balanced = Counter(site_of(row.tumours[0]) for row in fitted.sample(options.n, 0, "balanced"))
    spread = max(balanced.values()) - min(balanced.values())
    print(f"  balanced: {len(balanced)} sites, {min(balanced.values())} to {max(balanced.values())} rows each")
    known = Counter(quasi_identifiers(patient) for patient in patients)
    equal = {
        mode: _equal(known, fitted.sample(options.n, 1, mode)) for mode in ("match", "balanced", "rare", "coverage")
    }
    equal["match"] = tuple(sum(pair) for pair in zip(*(_equal(known, rows) for rows in draws), strict=True))
    for mode, (number, few) in equal.items():
        print(f"  {mode}: rows that equal a patient's quasi-identifiers {number}, fewer than 5 patients' {few}")
    print(f"  {rate:.0f} rows/s")
    return (
        max(ratios["marginal_tv"], ratios["pair_error"]) <= NEED
        and spread <= 1
        and not any(few for _, few in equal.values())
    )


def _equal(known: Counter, rows: list) -> tuple[int, int]:
    shared = [known[quasi_identifiers(row)] for row in rows if quasi_identifiers(row) in known]
    return len(shared), sum(count < 5 for count in shared)


def main() -> int:
    """Study both tables, or those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kits", nargs="?", type=Path, default=TABLES / "kits19_clinical.json")
    parser.add_argument("tcga", nargs="?", type=Path, default=TABLES / "tcga_cdr_torso.csv")
    for name, default in (("n", 1000), ("seeds", 5), ("bootstraps", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    found = [
        (path, mapping)
        for path, mapping in ((options.kits, "kits19"), (options.tcga, "gdc-clinical"))
        if path.is_file()
    ]
    done = [study(path, mapping, options) for path, mapping in found]
    print(
        f"\nwanted: ratios of marginal_tv and pair_error at most {NEED}, equal counts, no patient: {all(done) and bool(done)}"
    )
    return 0 if done and all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
