"""What a label is, in DICOM's terms: category, type, side and region of a segment.

Codes are those of SNOMED CT as the DICOM standard uses them (PS3.16) and pydicom carries them; here
stands only which of its keywords names a structure. What has no unambiguous one there gets a code of the
private scheme 99CTFACTORY with the label's name as its meaning.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from manifests.anatomy import structure
from manifests.case import Lesion
from manifests.identity import content_hash
from manifests.schemes import Label, Scheme

__all__ = ["KEYWORDS", "PRIVATE_SCHEME", "Segment", "lesion_segment", "segments"]

PRIVATE_SCHEME = "99CTFACTORY"

KEYWORDS = {
    "spleen": "Spleen", "kidney": "Kidney", "kidneys": "Kidney", "gallbladder": "Gallbladder", "liver": "Liver",
    "stomach": "Stomach", "pancreas": "Pancreas", "adrenal_gland": "AdrenalGland", "adrenal_glands": "AdrenalGland",
    "lung": "Lung", "lungs": "Lung", "lung_left": "Lung", "lung_right": "Lung",
    "lung_upper_lobe_left": "UpperLobeOfLung", "lung_lower_lobe_left": "LowerLobeOfLung",
    "lung_upper_lobe_right": "UpperLobeOfLung", "lung_middle_lobe_right": "MiddleLobeOfRightLung",
    "lung_lower_lobe_right": "LowerLobeOfLung", "esophagus": "Esophagus", "trachea": "Trachea",
    "thyroid_gland": "Thyroid", "small_bowel": "SmallIntestine", "duodenum": "Duodenum", "colon": "Colon",
    "colon_ascending": "AscendingColon", "colon_transverse": "TransverseColon",
    "colon_descending": "DescendingColon", "colon_sigmoid": "SigmoidColon", "rectum": "Rectum",
    "urinary_bladder": "Bladder", "prostate": "Prostate", "uterus": "Uterus", "kidney_cyst": "Cyst",
    "sacrum": "Sacrum", "vertebrae": "Vertebra", "vertebral_column": "Spine",
    **{f"vertebrae_{level}": f"{level}Vertebra" for level in (
        *(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)))},
    "heart": "Heart", "aorta": "Aorta", "pulmonary_vein": "PulmonaryVein",
    "brachiocephalic_trunk": "BrachiocephalicTrunk", "subclavian_artery": "SubclavianArtery",
    "common_carotid_artery": "CommonCarotidArtery", "brachiocephalic_vein": "BrachiocephalicVein",
    "atrial_appendage_left": "LeftAuricularAppendage", "superior_vena_cava": "SuperiorVenaCava",
    "inferior_vena_cava": "InferiorVenaCava", "iliac_artery": "IliacArtery", "iliac_vena": "IliacVein",
    "humerus": "Humerus", "scapula": "Scapula", "clavicula": "Clavicle", "femur": "Femur",
    "spinal_cord": "SpinalCord", "brain": "Brain", "skull": "Skull", "rib": "Rib", "ribs": "Rib",
    "sternum": "Sternum", "costal_cartilages": "CostalCartilage", "skeletal_muscle": "SkeletalMuscle",
    "bronchus": "Bronchus", "pleural_effusion": "PleuralEffusion", "liver_cyst": "Cyst",
    "superior_mesenteric_artery": "SuperiorMesentericArtery", "superior_mesenteric_vein": "SuperiorMesentericVein",
    "renal_artery": "RenalArtery", "renal_vein": "RenalVein",
}  # fmt: skip
"""Keyword of pydicom's SNOMED CT dictionary by name of a structure or group of the anatomy table."""

_ABNORMAL = {"Cyst", "PleuralEffusion", "Neoplasm"}
_REGION = {"kidney_cyst": "Kidney", "liver_cyst": "Liver"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a DICOM segmentation.

    Attributes:
        number: from 1, without gaps.
        label: name of the label.
        value: value in the label map.
        keyword: SNOMED CT concept of what it is, as pydicom spells it; None for the private code.
        side: "left", "right" or None.
        regions: keywords of the organs that it lies in, for what is no organ.
    """

    number: int
    label: str
    value: int
    keyword: str | None
    side: str | None = None
    regions: tuple[str, ...] = ()

    @property
    def property_type(self) -> Any:
        """The coded type, a pydicom `Code`."""
        from pydicom.sr.codedict import codes
        from pydicom.sr.coding import Code

        if self.keyword is None:
            return Code(content_hash(self.label)[:16], PRIVATE_SCHEME, self.label[:64])
        return getattr(codes.SCT, self.keyword)

    @property
    def category(self) -> Any:
        """The coded category of that type (CID 7150), a pydicom `Code`."""
        from pydicom.sr.codedict import codes

        abnormal = self.keyword in _ABNORMAL
        return codes.SCT.MorphologicallyAbnormalStructure if abnormal else codes.SCT.AnatomicalStructure


def segments(scheme: Scheme) -> tuple[Segment, ...]:
    """The segments of a scheme by ascending value, numbered from 1 without gaps."""
    ordered = sorted(scheme.definitions, key=lambda label: label.value)
    return tuple(_segment(number, label) for number, label in enumerate(ordered, 1))


def lesion_segment(number: int, lesion: Lesion) -> Segment:
    """The segment of one lesion instance."""
    keyword = "Cyst" if lesion.kind == "cyst" else "Neoplasm"
    side = lesion.side or structure(lesion.site).side
    return Segment(number, f"{lesion.site} {lesion.role} {lesion.id}", lesion.id, keyword, side, _organ([lesion.organ]))


def _segment(number: int, label: Label) -> Segment:
    if not label.sources:
        cysts = all(pattern.endswith(":cyst") for pattern in label.lesions)
        organs = {pattern.split(":")[0] for pattern in label.lesions} - {"*"}
        return Segment(number, label.name, label.value, "Cyst" if cysts else "Neoplasm", None, _organ(organs))
    name = _common_name(label.reads_as, label.sources)
    keyword = KEYWORDS.get(name or "")
    regions = (_REGION[name],) if name in _REGION else ()
    return Segment(number, label.name, label.value, keyword, _side(label.reads_as, label.sources), regions)


def _common_name(one: str | None, sources: Sequence[str]) -> str | None:
    """Structure or group that stands for all sources: the one structure that has a keyword, or its group."""
    if one is not None:
        return one if one in KEYWORDS else structure(one).group
    groups = {structure(name).group for name in sources} - {"undivided"}
    return groups.pop() if len(groups) == 1 else None


def _side(one: str | None, sources: Sequence[str]) -> str | None:
    sides = {structure(name).side for name in ([one] if one else sources)}
    return sides.pop() if len(sides) == 1 else None


def _organ(organs: Iterable[str]) -> tuple[str, ...]:
    return tuple(KEYWORDS[name] for name in sorted(organs) if name in KEYWORDS)
