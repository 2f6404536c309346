"""Croissant 1.1 metadata of a dataset: JSON-LD that data catalogues and loaders read.

The manifest is a record set with one field per plain column; arrays are a file set. How synthetic
data were made stands in the terms of RAI 1.0 and PROV-O.
See http://mlcommons.org/croissant/1.1.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from manifests.case import ARROW_SCHEMA, CaseRecord
from manifests.dataset import MANIFEST_FILE, Dataset
from manifests.spec import DatasetSpec

__all__ = ["CroissantFiles", "croissant", "field"]

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification prescribes, and PROV-O."""

_TYPES = {"string": "sc:Text", "int32": "sc:Integer", "int64": "sc:Integer", "double": "sc:Float"}
_MEANINGS = {
    "case_id": "Identity of the case; hashes the prompt, the engines, the grid, the seed and the index.",
    "status": "accepted (delivered, with arrays), rejected (refused by the quality gate) or failed.",
    "reasons": "Why a case was rejected or failed.",
    "prompt_text": "What was asked, as text.",
    "path": "OME-Zarr group of the case, relative to the dataset.",
    "ct_blake3": "Hash of dtype, shape and voxels of the CT.",
    "shape_zyx": "Voxels along z, y, x.",
    "spacing_mm_zyx": "Distance of voxel centres in mm along z, y, x.",
    "origin_mm_xyz": "LPS position in mm of the first voxel's centre, x, y, z.",
}


@dataclass(frozen=True, slots=True)
class CroissantFiles:
    """What the metadata say of the files beside them.

    Attributes:
        distribution: file objects and file sets.
        record_set: one record a case.
    """

    distribution: list[dict[str, Any]]
    record_set: dict[str, Any]


def croissant(
    dataset: Dataset, *, name: str, licence: str, description: str, files: CroissantFiles | None = None
) -> dict[str, Any]:
    """Describe a compacted dataset as Croissant 1.1 JSON-LD.

    Args:
        dataset: with a `manifest.parquet` that is up to date.
        name: of the dataset; letters, digits, `-`, `_`.
        licence: name or URL.
        description: one paragraph.
        files: of an export; the dataset's own by default.

    Raises:
        OSError: if the dataset's own files are described and there is no manifest.
    """
    described = files or _own_files(dataset)
    created = [record.created_at for record in dataset.records() if record.created_at]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": name,
        "description": description,
        "license": licence,
        "version": f"{dataset.spec.format_version}.0.0",
        "keywords": ["computed tomography", "segmentation", "SYNTHETIC" if _is_synthetic(dataset.spec) else "ingested"],
        "citeAs": f"CT factory {dataset.spec.factory_version}; method: Dai et al., GuideGen, arXiv:2403.07247",
        **({"datePublished": max(created)[:10]} if created else {}),
        **_making(dataset.spec),
        "distribution": described.distribution,
        "recordSet": [described.record_set],
    }


def _is_synthetic(spec: DatasetSpec) -> bool:
    return spec.kind == "synthetic"


def _making(spec: DatasetSpec) -> dict[str, Any]:
    """How the data came about, in the terms of RAI and PROV-O."""
    if not _is_synthetic(spec):
        return {"rai:dataCollection": "Ingested from real scans; see the source of each record."}
    if spec.from_patients:
        origin, personal = "Masks are deformed label maps of real scans.", "Anatomies derive from scans of patients."
    else:
        origin, personal = "No voxel is of a patient.", "None: attributes are drawn or taken from the prompts."
    engines = f"masks {_identity(spec.mask_model)}; images {_identity(spec.image_model)}"
    return {
        "rai:dataCollection": f"Generated by CT factory {spec.factory_version}: {engines}. {origin}",
        "rai:dataCollectionType": ["Synthetic data generation"],
        "rai:dataLimitations": "Made for training and testing software; not for diagnosis, not evidence about patients.",
        "rai:personalSensitiveInformation": personal,
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"factory build, spec {spec.spec_id}, seed {spec.run_seed}",
        },
    }


def _identity(model: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(model.items())) or "unnamed"


def _own_files(dataset: Dataset) -> CroissantFiles:
    digest = hashlib.sha256(dataset.manifest_path.read_bytes()).hexdigest()
    return CroissantFiles(_distribution(digest), _record_set())


def _distribution(manifest_sha256: str) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": "manifest",
            "name": "manifest",
            "description": "One row per case: what was asked, drawn and measured, and what made it.",
            "contentUrl": MANIFEST_FILE,
            "encodingFormat": "application/x-parquet",
            "sha256": manifest_sha256,
        },
        {
            "@type": "cr:FileSet",
            "@id": "volumes",
            "name": "volumes",
            "description": "OME-Zarr 0.5 image groups: CT in HU, labels/anatomy and labels/lesions; axes z, y, x in LPS.",
            "encodingFormat": "application/vnd.zarr",
            "includes": "cases/*/*.ome.zarr/**",
        },
    ]


def _record_set() -> dict[str, Any]:
    source = {"fileObject": {"@id": "manifest"}}
    fields = [_manifest_field(column, source) for column in ARROW_SCHEMA if _data_type(column.type) is not None]
    return {
        "@type": "cr:RecordSet",
        "@id": "cases",
        "name": "cases",
        "description": "The plain columns of the manifest; nested ones (requested, drawn, measured, lesions, "
        "structures) are in the same file.",
        "key": {"@id": "cases/case_id"},
        "field": fields,
    }


def _data_type(kind: pa.DataType) -> str | None:
    return _TYPES.get(str(kind.value_type if pa.types.is_list(kind) else kind))


def _manifest_field(column: pa.Field, source: dict[str, Any]) -> dict[str, Any]:
    assert column.name in CaseRecord.model_fields
    return field(column, source)


def field(column: pa.Field, source: dict[str, Any]) -> dict[str, Any]:
    """Describe a plain column of a table with one row a case.

    Args:
        column: of text, numbers or lists of them.
        source: the file object or set that holds it, as Croissant refers to it.
    """
    repeated = {"isArray": True, "arrayShape": "-1"} if pa.types.is_list(column.type) else {}
    return {
        "@type": "cr:Field",
        "@id": f"cases/{column.name}",
        "name": column.name,
        "description": _MEANINGS.get(column.name, column.name.replace("_", " ")),
        "dataType": _data_type(column.type),
        "source": source | {"extract": {"column": column.name}},
        **repeated,
    }
