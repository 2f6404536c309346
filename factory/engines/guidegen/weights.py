"""A folder of weights: one safetensors file a stage, and one JSON file that says what they are.

    package.json             format, and for each stage: file, SHA-256 and config
    masks.safetensors        stage I       alone, or
    autoencoder.safetensors  stage II      with stage III, or all
    latents.safetensors      stage III
    README.md                model card

A file is used only if its bytes have the hash that `package.json` gives, so nothing half-written or
exchanged is ever loaded; safetensors hold numbers and no program.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from factory.engines.guidegen.config import AnyConfig, StageName, parse_config
from manifests.errors import FileFormatError, InvalidValueError, LocationError
from manifests.identity import canonical_json

__all__ = ["PACKAGE_FILE", "PACKAGE_FORMAT", "SHIPPED", "Package", "fill", "read_tensors"]

PACKAGE_FILE, PACKAGE_FORMAT = "package.json", "guidegen-weights-4"
SHIPPED = Path(__file__).with_name("shipped")
"""Weights that ship with the project."""


@dataclass(frozen=True, slots=True)
class Package:
    """An open folder of weights; the networks are read when asked for."""

    folder: Path
    stages: Mapping[str, Mapping[str, Any]]

    @classmethod
    def open(cls, folder: Path) -> "Package":
        """Read `package.json`.

        Raises:
            LocationError: if the folder or the file is missing.
            FileFormatError: if it is none, or of another format.
        """
        path = folder / PACKAGE_FILE
        try:
            content = json.loads(path.read_bytes())
            stages = {str(name): dict(entry) for name, entry in content["stages"].items()}
            found = content["format"]
        except (FileNotFoundError, NotADirectoryError) as error:
            raise LocationError(
                f"weights {folder}",
                got=f"no {PACKAGE_FILE} in it",
                need="a folder written by `factory train pack`",
                do="Check the path, or train and pack weights; docs/guidegen.md tells how.",
            ) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise FileFormatError(
                str(path), got=str(error), need=f"{PACKAGE_FORMAT} as JSON", do="Restore the folder from a copy."
            ) from error
        if found != PACKAGE_FORMAT:
            raise FileFormatError(
                str(path), got=f"format {found!r}", need=PACKAGE_FORMAT, do="Install the version that packed it."
            )
        return cls(folder, stages)

    def config(self, stage: StageName, kind: type[AnyConfig]) -> AnyConfig:
        """The config of a stage.

        Raises:
            InvalidValueError: if the folder has no such stage.
            FileFormatError: if the config is none of that stage.
        """
        return parse_config(kind, json.dumps(self._entry(stage)["config"]), self.folder / PACKAGE_FILE)

    def sha256(self, stage: StageName) -> str:
        """Identity of the weights and config of a stage."""
        entry = self._entry(stage)
        return hashlib.sha256(canonical_json([entry["sha256"], entry["config"]]).encode()).hexdigest()

    def load(self, stage: StageName, network: nn.Module) -> None:
        """Fill a network with the weights of a stage, checked against their hash.

        Raises:
            LocationError: if the file is missing.
            FileFormatError: if it is truncated, exchanged, or of another network.
        """
        entry = self._entry(stage)
        path = self.folder / str(entry["file"])
        fill(network, read_tensors(path, str(entry["sha256"])), path)

    def read(self, stage: StageName) -> bytes:
        """The file of a stage, checked against its hash; raises like `load`."""
        entry = self._entry(stage)
        return _checked(self.folder / str(entry["file"]), str(entry["sha256"]))

    def step(self, stage: StageName) -> int:
        """Steps that a stage was trained for; 0 if nobody said."""
        return int(self._entry(stage).get("step", 0))

    def _entry(self, stage: StageName) -> Mapping[str, Any]:
        if stage not in self.stages:
            raise InvalidValueError(
                f"weights {self.folder}",
                got=f"stages {', '.join(sorted(self.stages)) or 'none'}",
                need=f"stage {stage}",
                do="Pack that stage too, or use another engine for that part.",
            )
        return self.stages[stage]


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a safetensors file whose hash is known.

    Raises:
        LocationError: if it is missing or cannot be read.
        FileFormatError: if its bytes are others, or no safetensors.
    """
    try:
        return safetensors.torch.load(_checked(path, sha256))
    except safetensors.SafetensorError as error:
        raise FileFormatError(
            str(path), got=str(error), need="a safetensors file", do="Restore it from a copy."
        ) from error


def _checked(path: Path, sha256: str) -> bytes:
    """The bytes of a file whose hash is known."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LocationError(
            str(path), got=error.strerror or str(error), need="a file of weights", do="Restore it from a copy."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise FileFormatError(
            str(path),
            got=f"{len(data)} bytes with SHA-256 {found[:16]}…",
            need=f"SHA-256 {sha256[:16]}…, as recorded beside it",
            do="The file is truncated or another one: restore it from a copy.",
        )
    return data


def fill(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Put tensors into a network; every one must be there and fit, and none be left over.

    Raises:
        FileFormatError: naming the first that does not.
    """
    own = network.state_dict()
    wrong = [f"no {name}" for name in own if name not in tensors]
    wrong += [f"{name}, which the network lacks" for name in tensors if name not in own]
    wrong += [
        f"{name} of shape {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if wrong:
        raise FileFormatError(
            str(where),
            got=f"{wrong[0]} ({len(wrong)} differences)",
            need=f"the weights of this {type(network).__name__}",
            do="Use the config that was saved with the weights.",
        )
    network.load_state_dict(dict(tensors))
