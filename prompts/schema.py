"""What a prompt is: the attributes of a patient, a study and its tumours, each possibly unstated.

A `Prompt` says what to generate. `None` means unstated: an engine draws it, it is never dropped.
Vocabularies are closed; organs and sites are those of the anatomy table. `prompt_id` hashes the
stated content alone, so the same request has the same identity wherever it came from.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from manifests.anatomy import SEX_ORGANS, Phase, Sex, group, sites, structure, structures
from manifests.case import Attributes, TumourAttributes
from manifests.errors import InvalidValueError
from manifests.identity import content_hash

__all__ = [
    "REGIONS",
    "MStage",
    "NStage",
    "Patient",
    "Prompt",
    "Race",
    "Region",
    "Side",
    "Study",
    "TStage",
    "Tumour",
    "parse_prompt",
    "tumour_organs",
]

Race = Literal["white", "black", "asian", "native_american", "pacific_islander", "other"]
Region = Literal["chest", "abdomen", "chest_abdomen", "abdomen_pelvis", "torso"]
REGIONS: tuple[Region, ...] = ("chest", "abdomen", "chest_abdomen", "abdomen_pelvis", "torso")
Side = Literal["left", "right"]
TStage = Literal[
    "Tis", "T0", "T1", "T1a", "T1b", "T1c", "T2", "T2a", "T2b", "T2c", "T3", "T3a", "T3b", "T3c", "T4", "T4a", "T4b"
]
NStage = Literal["N0", "N1", "N1a", "N1b", "N1c", "N2", "N2a", "N2b", "N3"]
MStage = Literal["M0", "M1", "M1a", "M1b", "M1c"]


def tumour_organs() -> tuple[str, ...]:
    """Organs that may carry a prompted tumour, in the order of the anatomy table."""
    return tuple(dict.fromkeys(entry.organ for entry in structures() if entry.organ))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Patient(_Part):
    """Who is scanned."""

    age_years: Annotated[float, Field(ge=0, le=120)] | None = None
    sex: Sex | None = None
    race: Race | None = None
    height_cm: Annotated[float, Field(ge=40, le=230)] | None = None
    weight_kg: Annotated[float, Field(ge=2, le=350)] | None = None


class Study(_Part):
    """How the scan is made."""

    contrast_phase: Phase | None = None
    region: Region | None = None


class Tumour(_Part):
    """One or several primary tumours of one organ (and site, where stated).

    `site` names an anatomical structure of the organ; `side` agrees with it. `size_mm` is the
    longest axial diameter of the largest of `count` tumours. What follows from the rest is filled
    in (the side of a site, the only site of an organ), so that one request has one identity.
    """

    organ: str
    site: str | None = None
    side: Side | None = None
    count: Annotated[int, Field(ge=1, le=20)] | None = None
    size_mm: Annotated[float, Field(gt=0, le=400)] | None = None
    t_stage: TStage | None = None
    n_stage: NStage | None = None
    m_stage: MStage | None = None

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("organ"), str):
            return data
        site, side = data.get("site"), data.get("side")
        known = [name for name in sites(data["organ"]) if side is None or structure(name).side == side]
        if site is None and len(known) == 1:
            site = known[0]
        if side is None and site in known:
            side = structure(site).side
        return {**data, "site": site, "side": side}

    @model_validator(mode="after")
    def _possible(self) -> "Tumour":
        possible = sites(self.organ)
        if not possible:
            raise ValueError(f"organ {self.organ!r} cannot carry a tumour here; one of {', '.join(tumour_organs())}")
        if self.site is not None and self.site not in possible:
            raise ValueError(f"site {self.site!r} is not part of the {self.organ}; one of {', '.join(possible)}")
        sides = {structure(name).side for name in ((self.site,) if self.site else possible)}
        if self.side is not None and self.side not in sides:
            raise ValueError(f"side {self.side!r} is impossible for {self.site or self.organ}")
        return self

    def possible_sites(self) -> tuple[str, ...]:
        """Structures that satisfy organ, site and side."""
        if self.site is not None:
            return (self.site,)
        return tuple(name for name in sites(self.organ) if self.side in (None, structure(name).side))


class Prompt(_Part):
    """One request for one CT with its masks; every field may be unstated.

    `absent_organs` and `enlarged_organs` name structures or groups of the anatomy table.
    """

    patient: Patient = Patient()
    study: Study = Study()
    tumours: tuple[Tumour, ...] = ()
    absent_organs: tuple[str, ...] = ()
    enlarged_organs: tuple[str, ...] = ()

    @field_validator("absent_organs", "enlarged_organs")
    @classmethod
    def _as_set(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if undivided := [name for name in names if any(entry.group == "undivided" for entry in group(name))]:
            raise ValueError(f"{', '.join(undivided)}: a class of real label maps; name a structure or its group")
        return tuple(sorted(set(names)))

    @model_validator(mode="after")
    def _consistent(self) -> "Prompt":
        absent = _members(self.absent_organs)
        for tumour in self.tumours:
            if not set(tumour.possible_sites()) - absent:
                raise ValueError(f"a tumour of the {tumour.organ} needs an organ that absent_organs removes")
        self._require_one_sex()
        if clash := absent & _members(self.enlarged_organs):
            raise ValueError(f"{', '.join(sorted(clash))}: both absent and enlarged")
        return self

    def _require_one_sex(self) -> None:
        """Refuse what needs an organ that the patient's sex has not; absent may be anything."""
        needed = {tumour.organ for tumour in self.tumours} | _members(self.enlarged_organs)
        told = {sex: organ for sex, organ in SEX_ORGANS.items() if organ in needed}
        if len(told) > 1:
            raise ValueError(f"no patient has both {' and '.join(told.values())}")
        for sex, organ in told.items():
            if self.patient.sex not in (sex, None):
                raise ValueError(f"a {self.patient.sex} patient has no {organ}")

    @property
    def prompt_id(self) -> str:
        """Identity of the stated content: "p" and 20 hexadecimal characters."""
        return "p" + content_hash(self.model_dump(mode="json", exclude_none=True, exclude_defaults=True))

    def attributes(self) -> Attributes:
        """The same content as flat columns of the manifest."""
        return Attributes(
            **self.patient.model_dump(),
            **self.study.model_dump(),
            tumours=tuple(TumourAttributes(**tumour.model_dump()) for tumour in self.tumours),
            absent_organs=self.absent_organs,
            enlarged_organs=self.enlarged_organs,
        )


def _members(names: Iterable[str]) -> set[str]:
    """Names of all structures that a list of structures and groups covers."""
    return {entry.name for name in names for entry in group(name)}


def parse_prompt(data: Any, where: str = "prompt") -> Prompt:
    """Validate JSON text or a mapping as a prompt.

    Raises:
        InvalidValueError: naming `where` and the first field that is wrong.
    """
    try:
        return Prompt.model_validate_json(data) if isinstance(data, str) else Prompt.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise InvalidValueError(
            f"{where}, {field}",
            got=repr(first["input"])[:200],
            need=first["msg"].removeprefix("Value error, "),
            do="Correct the field or leave it out: what is unstated is drawn.",
        ) from error
    except LookupError as error:
        raise InvalidValueError(
            f"{where}, organs", got=str(error), need="names of the anatomy table", do="See manifests/anatomy.csv."
        ) from error
