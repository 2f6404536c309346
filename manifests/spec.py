"""The spec of a dataset: what all its cases share, kept in `dataset.json` with its own hash."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from manifests.anatomy import table_hash
from manifests.case import FACTORY_VERSION, FORMAT_VERSION, Row
from manifests.errors import CorruptDatasetError, FileFormatError, SpecMismatchError
from manifests.identity import content_hash

__all__ = ["DatasetSpec", "parse_spec", "require_same", "spec_text"]


class DatasetSpec(Row):
    """What every case of a dataset shares; a dataset holds cases of one spec alone.

    Attributes:
        format_version: version of the dataset format.
        kind: "synthetic" for generated cases, "real" for ingested ones.
        mask_model, image_model: identities of the engines; empty for real cases.
        grid: preset name, spacing and what else decides the grids.
        run_seed: the seed that the user chose.
        randomise: how far cases leave the population, 0 to 1; left out of the file and the identity at 0.
        prompts: origin and hash of the prompts.
        gate: thresholds of the quality gate.
        anatomy_table: hash of the ids and names of the anatomy table.
        factory_version: version of this project.
    """

    format_version: int = FORMAT_VERSION
    kind: Literal["synthetic", "real"]
    mask_model: dict[str, str] = Field(default_factory=dict)
    image_model: dict[str, str] = Field(default_factory=dict)
    grid: dict[str, Any] = Field(default_factory=dict)
    run_seed: int = 0
    randomise: float = 0.0
    prompts: dict[str, str] = Field(default_factory=dict)
    gate: dict[str, Any] = Field(default_factory=dict)
    anatomy_table: str = Field(default_factory=table_hash)
    factory_version: str = FACTORY_VERSION

    @property
    def spec_id(self) -> str:
        """Identity of the spec: "s" and 20 hexadecimal characters."""
        return "s" + content_hash(_fields(self))

    @property
    def from_patients(self) -> bool:
        """Whether scans or label maps of patients are in it, as they are or deformed."""
        return self.kind == "real" or self.mask_model.get("sources") == "real"


def _fields(spec: DatasetSpec) -> dict[str, Any]:
    """Plain data, without `randomise` where it is 0: specs from before the dial keep their identity."""
    fields = spec.model_dump(mode="json")
    return fields if spec.randomise else {name: value for name, value in fields.items() if name != "randomise"}


def spec_text(spec: DatasetSpec) -> str:
    """The content of `dataset.json`: the spec and its identity."""
    fields = {"spec_id": spec.spec_id} | _fields(spec)
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def parse_spec(path: Path, text: str) -> DatasetSpec:
    """Read the content of `dataset.json`; `path` is for messages.

    Raises:
        FileFormatError: if it is not a spec, or follows another format version.
        CorruptDatasetError: if the fields differ from the identity beside them.
    """
    try:
        fields = json.loads(text)
        spec_id = fields.pop("spec_id")
        version = fields.get("format_version")
        spec = DatasetSpec.model_validate(fields) if version == FORMAT_VERSION else None
    except (ValueError, TypeError, AttributeError, KeyError, ValidationError) as error:
        raise FileFormatError(
            str(path), got=str(error)[:300], need="the spec of a dataset", do="Restore the file from a copy."
        ) from error
    if spec is None:
        need = f"{FORMAT_VERSION}, which this version reads"
        raise FileFormatError(str(path), got=f"format version {version}", need=need, do="Install a fitting version.")
    if spec.spec_id != spec_id:
        do = "Restore the file; a changed spec needs a dataset of its own."
        raise CorruptDatasetError(str(path), got="fields that differ from spec_id", need=spec_id, do=do)
    return spec


def require_same(there: DatasetSpec, asked: DatasetSpec, root: Path) -> None:
    """Refuse to continue a dataset under another spec.

    Raises:
        SpecMismatchError: naming each field that differs, as asked and as it stands.
    """
    if there == asked:
        return
    old, new = (_flat(spec.model_dump(mode="json")) for spec in (there, asked))
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    raise SpecMismatchError(
        f"dataset {root}",
        got="; ".join(f"{name} = {new.get(name)!r}" for name in changed),
        need="; ".join(f"{name} = {old.get(name)!r}" for name in changed) + ", as it was started",
        do="Run the command as before to resume, or choose another --out.",
    )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Leaves of nested dicts by dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for part in value for key, leaf in _flat(value[part], f"{name}.{part}".lstrip(".")).items()}
