"""What packed autoencoder weights lose: errors in HU of reconstructed cases, by range of HU and in lesions."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from factory.engines.guidegen.config import AutoencoderConfig
from factory.engines.guidegen.networks import autoencoder
from factory.engines.guidegen.weights import Package
from factory.models.autoencoder import HU_UNIT, Autoencoder
from factory.models.tiling import reconstruct
from factory.training.autoencoder import WINDOWS_HU, volumes
from factory.training.checkpoint import write_bytes
from factory.training.data import Example, example_of
from manifests.dataset import Dataset

__all__ = ["reconstruction_errors", "write_errors"]

Errors = dict[str, str | float | None]


def reconstruction_errors(weights: Path, roots: Sequence[Path]) -> Iterator[Errors]:
    """Encode and decode every accepted case of some datasets, on the autoencoder's grid.

    Yields:
        By case: `case_id`, and mean absolute errors in HU: `error_hu` over all voxels, `error_lung_hu`,
        `error_soft_hu` and `error_bone_hu` over voxels whose original value is in that range, and
        `error_lesion_hu`; None where there is no such voxel.

    Raises:
        LocationError, FileFormatError, InvalidValueError: if the weights or a dataset cannot be opened.
    """
    package = Package.open(weights)
    config = package.config("autoencoder", AutoencoderConfig)
    network = autoencoder(config)
    package.load("autoencoder", network)
    network.eval()
    for dataset in [Dataset.open(root) for root in roots]:
        for record in dataset.accepted():
            example = example_of(dataset, record, config.spacing_mm, with_ct=True)
            yield {"case_id": record.case_id, **_errors(network, config, example)}


def write_errors(path: Path, rows: Sequence[Errors]) -> None:
    """Write what `reconstruction_errors` gave as JSON; raises like `write_bytes`."""
    write_bytes(path, json.dumps(rows, indent=1).encode())


def _errors(network: Autoencoder, config: AutoencoderConfig, example: Example) -> dict[str, float | None]:
    ct, anatomy, lesions = volumes(example, config.class_of_id(), config.size.factor, torch.device("cpu"))
    with torch.inference_mode():
        off = (reconstruct(network, ct, anatomy, lesions).float() - ct).abs() * HU_UNIT
    nz, ny, nx = example.grid.shape_zyx  # without what was padded
    off, ct, lesions = off[0, 0, :nz, :ny, :nx], ct[0, 0, :nz, :ny, :nx], lesions[0, :nz, :ny, :nx]
    parts = {"error_hu": torch.ones_like(ct, dtype=torch.bool), "error_lesion_hu": lesions > 0}
    parts |= {
        f"error_{name}_hu": (ct >= low / HU_UNIT) & (ct < high / HU_UNIT) for name, (low, high) in WINDOWS_HU.items()
    }
    return {name: float(off[inside].mean()) if inside.any() else None for name, inside in parts.items()}
