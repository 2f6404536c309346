"""The image stage, masks to CT, beside MONAI's MAISI networks with their published settings: seconds, shares, profiles.

    python benchmarks/image_stage_speed.py [--preset full] [--steps 30] [--own-steps N] [--shrink 4] [--decode-shrink 8] [--threads 1]

Both draw 256 x 256 x 128 voxels with random weights in the same run: MAISI (rflow-ct) a ControlNet and a U-Net in each of its 30 steps,
then a decoder; ours the feature generator in each of its own, as many as it takes where nothing is said, once without and once with guidance, then the decoder beside
its masks. `equal_steps` grants it 30, too.
Neither decodes in overlapping tiles. A step and a decode are measured on a volume that is smaller by `shrink` and `decode-shrink` along each
side and multiplied by the ratio of voxels. Seconds are CPU time, so that other work on the machine counts for little.

On small inputs torch takes a slow convolution (`aten::slow_conv3d_forward` in the profiles) that full volumes would mostly not meet: the totals
are then too high, of both. On a quiet machine measure with `--shrink 2 --decode-shrink 4`, or with 1.

Needs MONAI (`pip install 'ct-factory[train]'`). Flash attention and half precision of MAISI need a GPU and are off.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch.profiler import ProfilerActivity, profile

from factory.engines.guidegen.config import LatentsConfig
from factory.models.autoencoder import Autoencoder
from factory.models.condition import Condition
from factory.models.feature_generator import FeatureGenerator
from factory.models.text_encoder import TextEncoder
from factory.models.view import View
from factory.training.presets import stage_preset

VOXELS_ZYX, FACTOR, CLASSES, WORDS = (128, 256, 256), 4, 60, 400
BACKBONE = {
    "spatial_dims": 3,
    "in_channels": 4,
    "num_channels": [64, 128, 256, 512],
    "attention_levels": [False, False, True, True],
    "num_head_channels": [0, 0, 32, 32],
    "num_res_blocks": 2,
    "resblock_updown": True,
    "include_fc": True,
    "num_class_embeds": 128,
    "use_flash_attention": False,
}


def maisi(latents: tuple[int, ...], decoded: tuple[int, ...]) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step and a decode of MAISI."""
    unet = DiffusionModelUNetMaisi(**BACKBONE, out_channels=4, include_spacing_input=True).eval()
    control = ControlNetMaisi(
        **BACKBONE, conditioning_embedding_in_channels=8, conditioning_embedding_num_channels=[8, 32, 64]
    ).eval()
    coder = AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=4,
        num_channels=[64, 128, 256],
        num_res_blocks=[2, 2, 2],
        attention_levels=[False, False, False],
        num_splits=1,
        norm_float16=False,
        save_mem=False,
    ).eval()
    x, mask = torch.randn(1, 4, *latents), torch.ones(1, 8, *(FACTOR * n for n in latents))
    t, label, spacing, z = (
        torch.tensor([500]),
        torch.tensor([1]),
        torch.full((1, 3), 150.0),
        torch.randn(1, 4, *decoded),
    )

    def step() -> object:
        down, middle = control(x=x, timesteps=t, controlnet_cond=mask, class_labels=label)
        return unet(
            x=x,
            timesteps=t,
            class_labels=label,
            spacing_tensor=spacing,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )

    return step, lambda: coder.decode_stage_2_outputs(z)


def ours(
    preset: str, latents: tuple[int, ...], decoded: tuple[int, ...]
) -> tuple[Callable[[], object], Callable[[], object], Callable[[], object]]:
    """A step without guidance, the masks' encoding that is done once, and a decode of ours."""
    size, coder_size = stage_preset("latents", preset).size, stage_preset("autoencoder", preset).size
    net = FeatureGenerator(
        size, CLASSES, (coder_size.latent_channels, 2), TextEncoder(size.text, torch.full((WORDS,), torch.nan))
    ).eval()
    coder = Autoencoder(coder_size, CLASSES).eval()
    x = torch.randn(1, coder_size.latent_channels, *latents)
    labels = [torch.randint(CLASSES, (1, *(FACTOR * n for n in shape))) for shape in (latents, decoded)]
    view = View(torch.full((1, 3), 6.0), torch.tensor([[192.0, 384.0, 384.0]]))
    condition = Condition(torch.randint(1, WORDS, (1, 64)), torch.ones(1, dtype=torch.bool), view)
    t, z = torch.tensor([500]), torch.randn(1, coder_size.latent_channels, *decoded)
    features = net.encode_masks(labels[0], 0 * labels[0], condition)
    return (
        lambda: net(x, t, features, condition),
        lambda: net.encode_masks(labels[0], 0 * labels[0], condition),
        lambda: coder.decode(z, labels[1], 0 * labels[1]),
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU time of the best of three calls."""
    found = []
    for _ in range(3):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def shares(work: Callable[[], object]) -> dict[str, float]:
    """The operators that take most of the time, and their shares."""
    with profile(activities=[ProfilerActivity.CPU]) as run:
        work()
    rows = sorted(run.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    return {row.key: round(row.self_cpu_time_total / total, 3) for row in rows[:6]}


def main() -> None:
    """Print both, and the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--preset", default="full")
    options.add_argument("--steps", type=int, default=30)
    options.add_argument("--own-steps", type=int, default=LatentsConfig.model_fields["sample_steps"].default)
    options.add_argument("--shrink", type=int, default=4)
    options.add_argument("--decode-shrink", type=int, default=8)
    options.add_argument("--threads", type=int, default=1)
    told = options.parse_args()
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    latents, decoded = (tuple(n // FACTOR // s for n in VOXELS_ZYX) for s in (told.shrink, told.decode_shrink))
    once, tiles = told.shrink**3, told.decode_shrink**3
    found: dict[str, dict[str, object]] = {}
    with torch.inference_mode():
        step, decode = maisi(latents, decoded)
        base = {"step_s": seconds(step) * once, "decode_s": seconds(decode) * tiles}
        found["maisi"] = {**base, "profile_step": shares(step), "profile_decode": shares(decode)}
        del step, decode
        step, encode, decode = ours(told.preset, latents, decoded)
        own = {"step_s": seconds(step) * once, "masks_s": seconds(encode) * once, "decode_s": seconds(decode) * tiles}
        found["ours"] = {**own, "profile_step": shares(step), "profile_decode": shares(decode)}
    totals = {"maisi": told.steps * base["step_s"] + base["decode_s"]}
    own_steps = {"ours": told.own_steps, "ours, guided": 2 * told.own_steps, "ours, equal_steps": told.steps}
    for name, passes in own_steps.items():
        totals[name] = own["masks_s"] + passes * own["step_s"] + own["decode_s"]
    ratios = {name: total / totals["maisi"] for name, total in totals.items()}
    measured = {"latents_zyx": latents, "decoded_latents_zyx": decoded, "extrapolated": [once, tiles]}
    print(json.dumps({**vars(told), **measured, "networks": found, "total_s": totals, "of_maisi": ratios}, indent=1))


if __name__ == "__main__":
    main()
