"""Runs to one folder of weights: averaged weights as safetensors, their configs, and a model card."""

import json
import math
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factory.engines.guidegen.config import Config, LatentsConfig, MasksConfig, SlicesConfig
from factory.engines.guidegen.weights import PACKAGE_FILE, PACKAGE_FORMAT, Package
from factory.training.checkpoint import write_bytes
from factory.training.runs import KINDS, Trained, trained
from manifests.case import FACTORY_VERSION
from manifests.durable import TEMPORARY
from manifests.errors import InvalidValueError, LocationError, StorageError

__all__ = ["Sampling", "pack"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the packed weights are drawn from; None leaves a config's own.

    Attributes:
        steps: of the samplers.
        guidance: its scale.
        temperature: of the anatomy in stage I.
    """

    steps: int | None = None
    guidance: float | None = None
    temperature: float | None = None

    def of(self, config: Config) -> Config:
        """A config with these, where it has such fields.

        Raises:
            InvalidValueError: if there are more steps than the diffusion has, guidance is no number, or the temperature is none above 0.
        """
        if not isinstance(config, MasksConfig | LatentsConfig | SlicesConfig):
            return config
        if self.steps is not None and not 1 <= self.steps <= config.steps:
            raise InvalidValueError(
                "--sample-steps", got=str(self.steps), need=f"1 to {config.steps}, the T of the run", do="Correct it."
            )
        if self.guidance is not None and not math.isfinite(self.guidance):
            raise InvalidValueError("--guidance", got=str(self.guidance), need="a number", do="Correct it.")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise InvalidValueError(
                "--temperature", got=str(self.temperature), need="a number above 0", do="1 draws as trained."
            )
        said = {"sample_steps": self.steps, "guidance": self.guidance, "temperature": self.temperature}
        fields = type(config).model_fields
        return config.model_copy(
            update={name: value for name, value in said.items() if value is not None and name in fields}
        )


def pack(runs: Sequence[Path], out: Path, sampling: Sampling = Sampling()) -> dict[str, Any]:
    """Write the weights of some runs, at most one of each stage, to a new folder.

    A folder of packed weights among them gives the stages that no run is of. The folder appears whole or not at all.

    Returns:
        What `package.json` says of each stage, without its config.

    Raises:
        LocationError: if a run is none or has no checkpoint, or `out` exists.
        InvalidValueError: if two runs are of one stage, latents are of another autoencoder, or `sampling` does not fit.
        StorageError: if the disk is full or fails.
    """
    if out.exists():
        raise LocationError(str(out), got="a path that exists", need="a new folder", do="Choose another --out.")
    stages = _newest(runs, sampling)
    _require_partners(stages)
    content = {
        "format": PACKAGE_FORMAT,
        "factory_version": FACTORY_VERSION,
        "stages": {
            name: {
                "file": f"{name}.safetensors",
                "sha256": one.sha256,
                "step": one.step,
                "config": json.loads(one.config.model_dump_json()),
            }
            for name, one in stages.items()
        },
    }
    beside = out.with_name(f"{TEMPORARY}{out.name}-{uuid.uuid4().hex[:8]}")
    try:
        for name, one in stages.items():
            write_bytes(beside / f"{name}.safetensors", one.data)
        write_bytes(beside / "README.md", _card(stages).encode())
        write_bytes(beside / PACKAGE_FILE, json.dumps(content, indent=1).encode())
        os.rename(beside, out)  # noqa: PTH104  # pathlib's would replace an empty folder made meanwhile
    except OSError as error:
        if isinstance(error, StorageError | LocationError):
            raise
        raise StorageError(
            str(out), got=error.strerror or str(error), need="room to write", do="Free the disk and run it again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return {name: {"sha256": one.sha256, "step": one.step, "bytes": len(one.data)} for name, one in stages.items()}


def _newest(runs: Sequence[Path], sampling: Sampling) -> dict[str, Trained]:
    """The weights of each stage: a run's, else those of packed weights."""
    stages: dict[str, Trained] = {}
    packed = [run for run in runs if (run / PACKAGE_FILE).is_file()]
    for run in (one for one in runs if one not in packed):
        found = trained(run)
        name = str(found.config.model_dump()["stage"])
        if name in stages:
            raise InvalidValueError(
                f"run {run}", got=f"a second run of stage {name}", need="one of each stage", do="Leave one out."
            )
        stages[name] = replace(found, config=sampling.of(found.config))
    for folder in packed:
        for stage in KINDS:
            if stage in Package.open(folder).stages and stage not in stages:
                found = trained(folder, stage)
                stages[stage] = replace(found, config=sampling.of(found.config))
    return {stage: stages[stage] for stage in KINDS if stage in stages}


def _require_partners(stages: dict[str, Trained]) -> None:
    if not stages:
        raise InvalidValueError("runs", got="none", need="at least one run", do="Name the folders of runs.")
    latents = stages.get("latents")
    if latents is None:
        return
    assert isinstance(latents.config, LatentsConfig)
    beside = stages.get("autoencoder")
    if beside is None or beside.sha256 != latents.config.autoencoder_sha256:
        raise InvalidValueError(
            "run of stage latents",
            got="no autoencoder beside it" if beside is None else "an autoencoder that was trained on since",
            need=f"the autoencoder of SHA-256 {latents.config.autoencoder_sha256[:16]}…",
            do="Pack the autoencoder's run as it was, or train the latents again.",
        )


def _card(stages: dict[str, Trained]) -> str:
    lines = [
        "# GuideGen weights",
        "",
        "Weights for the engine `guidegen` of ct-factory: `factory build --engine guidegen --weights THIS_FOLDER …`.",
        "Synthetic CT and masks for research; not for clinical use.",
        "",
        "| stage | steps | size | spacing | structures | trained on |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in stages.items():
        told = one.config.trained_on
        people = "scans of patients" if told.get("from_patients") else "synthetic cases"
        lines.append(
            f"| {name} | {one.step} | {len(one.data) / 1e6:.1f} MB | {one.config.spacing_mm:g} mm"
            f" | {len(one.config.anatomy_ids)} | {told.get('cases', '?')} {people} |"
        )
    patients = any(one.config.trained_on.get("from_patients") for one in stages.values())
    lines += [
        "",
        "Trained on patients: a network may keep traces of its training data; share it under the terms of that data."
        if patients
        else "No patient was in the training data.",
        "What it cannot do was not measured here: run `factory check` and the evaluators on what it draws.",
        "",
    ]
    return "\n".join(lines)
