"""What tiles change: the error of tiled decoding against decoding whole, at seams and elsewhere, and the memory of both.

    python benchmarks/tiled_autoencoder.py [--weights FOLDER] [--latents 24 16 48] [--tile 24] [--threads 1]

With packed weights their autoencoder is measured, else the preset `tiny` with random weights. Latents are those of smooth noise. Errors are in HU: the
mean over the voxels within two latents of a tile's edge along x, over all others, and the largest. Memory is the most that tensors
hold at once beyond the inputs.
"""

import argparse
import json
from pathlib import Path

import torch
from tensor_memory import peak_bytes

from factory.engines.guidegen.config import AutoencoderConfig
from factory.engines.guidegen.networks import autoencoder
from factory.engines.guidegen.weights import Package
from factory.models.autoencoder import HU_UNIT, Autoencoder
from factory.models.tiling import Tiling, decode, encode
from factory.training.presets import stage_preset


def opened(weights: Path | None) -> Autoencoder:
    """The network to measure."""
    if weights is None:
        return Autoencoder(stage_preset("autoencoder", "tiny").size, 40).eval()
    package = Package.open(weights)
    network = autoencoder(package.config("autoencoder", AutoencoderConfig))
    package.load("autoencoder", network)
    return network.eval()


def main() -> None:
    """Print a row for each overlap."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--weights", type=Path)
    options.add_argument("--latents", type=int, nargs=3, default=[24, 16, 48])
    options.add_argument("--tile", type=int, default=24)
    options.add_argument("--threads", type=int, default=1)
    told = options.parse_args()
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    net = opened(told.weights)
    shape = [net.size.factor * n for n in told.latents]
    noise = torch.randn(1, 1, *(n // 4 for n in shape))
    ct = torch.nn.functional.interpolate(noise, shape, mode="trilinear") * 0.3 - 0.1
    anatomy, lesions = torch.ones(1, *shape, dtype=torch.long), torch.zeros(1, *shape, dtype=torch.long)
    rows = []
    with torch.inference_mode():
        latents = net.encode(ct, anatomy, lesions)[2]
        whole = net.decode(latents, anatomy, lesions)
        memory = peak_bytes(lambda: net.decode(latents, anatomy, lesions))
        for how in (Tiling(told.tile, 0, 0), Tiling(told.tile, 8, 2), Tiling(told.tile, 12, 4)):
            off = (decode(net, latents, anatomy, lesions, how) - whole).abs() * HU_UNIT
            seams = {edge for start, stop in how.spans(told.latents[2]) for edge in (start, stop)} - {
                0,
                told.latents[2],
            }
            places = (torch.arange(shape[2]) + 0.5) / net.size.factor
            near = torch.zeros_like(places, dtype=torch.bool)
            for seam in seams:
                near |= (places - seam).abs() < 2
            coded = (encode(net, ct, anatomy, lesions, how) - latents).abs() / latents.std()
            rows.append(
                {
                    "overlap": how.overlap,
                    "margin": how.margin,
                    "seam_hu": float(off[..., near].mean()),
                    "elsewhere_hu": float(off[..., ~near].mean()),
                    "largest_hu": float(off.max()),
                    "latents_sd": float(coded.mean()),
                    "bytes": peak_bytes(lambda how=how: decode(net, latents, anatomy, lesions, how)),
                }
            )
    print(
        json.dumps(
            {"voxels_zyx": shape, "sd_hu": float(whole.std() * HU_UNIT), "whole_bytes": memory, "tiled": rows}, indent=1
        )
    )


if __name__ == "__main__":
    main()
