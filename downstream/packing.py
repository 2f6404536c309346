"""A finished `factory bench transfer` as a built-in segmenter: the weights of its networks, how scans go into it, and a card of what it reached."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from downstream.nnunet_checkpoint import CHECKPOINT, load_weights, read_checkpoint, read_json
from downstream.nnunet_plan import PLANS_NAME, plans_name
from downstream.plain_unet import plain_unet
from downstream.results import Results
from downstream.segmenter_builtin import BuiltinConfig, write_builtin
from downstream.transfer_plans import member_seed
from downstream.transfer_scores import SYNTHETIC
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, LocationError

__all__ = ["pack_transfer"]

CARD = """# {name}: a segmenter of {count} labels of the torso

{networks} of {parameters:.1f} million parameters at {spacing:g} mm, trained on **synthetic CT alone**: {cases} of {built} cases of the mask model {masks} and the
image model {images} (`factory build --n {built} --preset {preset} --seed {seed} --randomise {dial:g}`), {iterations} steps
with {seeds} (`factory bench transfer{members}`, plan {plan}). HU reach it {seen}. {patients}

    factory bench alignment DATASET --segmenter builtin:FOLDER

It judges whether the images of a dataset show what its masks say, and it measures nothing in patients: it is not fit for clinical use.

## What it reached

DSC of {held_out} synthetic cases held out of the training, and of {scans} real CTs, whose references were made by networks. A label is scored in
a scan only where its reference has it; intervals are 95 % bootstraps over scans and too narrow for so few.

{table}

## Licence

Apache-2.0, as the project.
"""

_NO_PATIENT = "No image or label of a patient was trained on."


def pack_transfer(run: Path, out: Path, name: str | None = None) -> BuiltinConfig:
    """Pack the network of a finished transfer, or its networks, as a folder that `BuiltinSegmenter` reads.

    Args:
        run: work folder of a finished `factory bench transfer`, with a plan whose network is ours.
        out: folder of the weights; made if missing, files there are replaced.
        name: of the segmenter; None for that of the run's label scheme.

    Raises:
        LocationError: the run is not finished, or its dataset is gone.
        InvalidValueError: a plan with nnU-Net's own network.
        FileFormatError: a checkpoint of another network.
    """
    from downstream.trainers.averaged import averaged

    if not (run / "results.json").is_file():
        raise LocationError(
            str(run), got="no results.json", need="a finished transfer", do="Run factory bench transfer to its end."
        )
    job, result = read_json(run / "job.json"), read_json(run / "results.json")
    if not job["plan"]["features"]:
        raise InvalidValueError(
            str(run),
            got=f"plan {job['options']['plan']}",
            need="a plan with a network of ours",
            do="Use nnunet:FOLDER.",
        )
    folder = run / "preprocessed" / Path(job["folder"]).name
    labels = read_json(folder / "dataset.json")["labels"]
    config = _config(job, read_json(folder / f"{PLANS_NAME}.json"), labels, name or job["options"]["scheme"])
    config = config.model_copy(update=_reached(run, job, config.labels))
    networks = [_network(run, config, member) for member in range(config.members)]
    parameters = sum(one.numel() for one in networks[0].parameters()) / 1e6
    write_builtin(out, averaged(networks), config, _card(config, job, result, parameters))
    return config


def _config(job: dict[str, Any], plan: dict[str, Any], labels: Mapping[str, int], name: str) -> BuiltinConfig:
    size, measured = job["plan"], plan["foreground_intensity_properties_per_channel"]["0"]
    return BuiltinConfig(
        name=name,
        labels=tuple(sorted((label for label, value in labels.items() if value), key=labels.__getitem__)),
        spacing_mm=size["spacing_mm"],
        patch_zyx=size["patch_zyx"],
        clip_hu=(measured["percentile_00_5"], measured["percentile_99_5"]),
        mean_hu=measured["mean"],
        sd_hu=measured["std"],
        features=size["features"],
        convolutions=size["convolutions"],
        members=size.get("members", 1),  # runs from before the options have none
        folded=size["folded"],
        squeezed=size.get("squeezed", False),
        largest=job["options"]["largest"],
        scales=size.get("scales", (1.0,)),
    )


def _reached(run: Path, job: dict[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    """DSC on the synthetic cases that the transfer held out, by label."""
    scores = Results.read(run / "scores.csv")
    found = {label: scores.where(arm=SYNTHETIC, structure=label, metric="dice").by_case() for label in labels}
    means = {label: round(fmean(cases.values()), 4) for label, cases in found.items() if cases}
    count = len(job["targets"][SYNTHETIC]["cases"])
    return {"held_out_dice": means, "held_out_on": f"{count} synthetic cases held out of its training"}


def _network(run: Path, config: BuiltinConfig, member: int) -> Any:
    """A network as it was trained."""
    found = list((run / "results").glob(f"*/*__{plans_name(member)}__*/fold_0/{CHECKPOINT}"))
    if not found:
        raise LocationError(
            str(run), got=f"no {CHECKPOINT} of {plans_name(member)}", need="a finished transfer", do="Check the path."
        )
    network = plain_unet(config.features, config.convolutions, 1 + len(config.labels), folded=config.folded)
    load_weights(network, read_checkpoint(found[0]), found[0])
    return network


def _card(config: BuiltinConfig, job: dict[str, Any], result: dict[str, Any], parameters: float) -> str:
    targets, spec = job["targets"], Dataset.open(job["targets"][SYNTHETIC]["dataset"]).spec
    split = json.loads((Path(job["folder"]) / "splits_final.json").read_text(encoding="utf-8"))[0]
    patients = "Its cases were drawn from label maps of patients." if spec.from_patients else _NO_PATIENT
    seeds = [str(member_seed(job["options"]["seed"], config.members, member)) for member in range(config.members)]
    return CARD.format(
        name=config.name,
        networks="A plain U-Net" if config.members == 1 else f"The mean of {config.members} plain U-Nets",
        count=len(config.labels),
        parameters=parameters,
        spacing=config.spacing_mm,
        masks=_identity(spec.mask_model),
        images=_identity(spec.image_model),
        cases=len(split["train"]),
        built=len(split["train"]) + len(split["val"]),
        preset=spec.grid.get("preset", ""),
        seed=spec.run_seed,
        dial=spec.randomise,
        iterations=job["plan"]["iterations"],
        seeds=f"seed{'s' * (config.members > 1)} {' and '.join(seeds)}",
        members=f" --members {config.members}" * (config.members > 1),
        plan=job["options"]["plan"],
        seen="with soft tissue spread" if config.squeezed else "as nnU-Net scales them, soft tissue not spread",
        patients=patients,
        held_out=len(targets[SYNTHETIC]["cases"]),
        scans=len(targets["real"]["cases"]),
        table=_table(config, result),
    )


def _identity(model: Mapping[str, str]) -> str:
    return " ".join(filter(None, (model.get("name"), model.get("version"))))


def _table(config: BuiltinConfig, result: dict[str, Any]) -> str:
    real = {row["label"]: row["dice"] for row in result["labels"]}
    lines = ["| label | synthetic | real (95 %) | scans |", "|---|---|---|---|"]
    for label in config.labels:
        dice, held_out = real.get(label), config.held_out_dice.get(label)
        shown = "" if dice is None else f"{dice['mean']:.3f}"
        if dice and dice["low"] is not None:
            shown += f" ({dice['low']:.3f} to {dice['high']:.3f})"
        cells = (label, "" if held_out is None else f"{held_out:.3f}", shown, str(dice["n"]) if dice else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
