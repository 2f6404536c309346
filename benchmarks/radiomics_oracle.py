"""Compare our radiomic features with PyRadiomics on random masks, in two environments: PyRadiomics needs numpy below 2.

    python benchmarks/radiomics_oracle.py write FILE.npz            # here: images, masks and our features
    python benchmarks/radiomics_oracle.py compare FILE.npz          # where PyRadiomics 3.0.1 and SimpleITK are installed

Prints the features that differ by more than a millionth of their value, and how far the others do at most.
"""

import argparse
import json
from pathlib import Path

import numpy as np

MASKS = 20


def write(path: Path) -> None:
    from scipy.ndimage import gaussian_filter

    from downstream.fidelity.radiomics import radiomic_features

    rng, stored, features = np.random.default_rng(0), {}, []
    for number in range(MASKS):
        shape = tuple(rng.integers(8, 26, 3))
        spacing = tuple(float(mm) for mm in rng.uniform(0.7, 5, 3))
        noise = gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 1.5))
        ct = (noise * 400 + rng.uniform(-400, 200)).astype(np.int16)
        blob = gaussian_filter(rng.normal(size=shape), rng.uniform(0.8, 2))
        mask = blob > np.quantile(blob, rng.uniform(0.3, 0.8))
        features.append(radiomic_features(ct, mask, spacing))
        stored |= {f"ct{number}": ct, f"mask{number}": mask, f"spacing{number}": np.array(spacing)}
    np.savez(path, features=np.array(json.dumps(features)), **stored)


def compare(path: Path) -> None:
    import SimpleITK
    from radiomics import featureextractor

    stored = np.load(path)
    extractor = featureextractor.RadiomicsFeatureExtractor(binWidth=25, minimumROIDimensions=1)
    worst: dict[str, float] = {}
    for number, ours in enumerate(json.loads(str(stored["features"]))):
        image = SimpleITK.GetImageFromArray(stored[f"ct{number}"])
        mask = SimpleITK.GetImageFromArray(stored[f"mask{number}"].astype(np.uint8))
        for each in (image, mask):
            each.SetSpacing(stored[f"spacing{number}"][::-1].tolist())
        theirs = extractor.execute(image, mask)
        for family, values in ours.items():
            for name, value in values.items():
                expected = float(theirs[f"original_{family}_{name}"])
                error = abs(value - expected) / max(abs(expected), 1e-9)
                worst[f"{family} {name}"] = max(worst.get(f"{family} {name}", 0.0), error)
    for name, error in worst.items():
        if error > 1e-6:
            print(f"{name}: {error:.2g}")
    agree = [error for error in worst.values() if error <= 1e-6]
    print(f"{len(agree)} of {len(worst)} features agree to {max(agree):.1e} of their value on {MASKS} masks")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    {"write": write, "compare": compare}[asked.step](asked.file)
