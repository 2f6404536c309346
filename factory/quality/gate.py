"""The verdict on a case: measured from its arrays, judged against prompt and anatomy."""

from dataclasses import dataclass, replace

from factory.engines.base import Request
from factory.quality.asked import (
    asked_reasons,
    covered_region,
    grid_reasons,
    measured_phase,
    measured_sex,
    spread_sites,
)
from factory.quality.limits import GATE, reason
from factory.quality.measure import Measures, measure
from factory.quality.plausible import plausible_reasons
from manifests.anatomy import group
from manifests.case import Arrays, Attributes, Lesion, StructureMeasure, TumourAttributes, tumours_of
from prompts.schema import Prompt

__all__ = ["Verdict", "assess"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a case.

    Attributes:
        accepted: whether there is no reason against it.
        reasons: "code: text" each; the codes are those of `CODES`.
        measured: attributes as measured; None = not measurable.
        lesions: connected lesions as measured, largest first.
        structures: volume, intensity and components of each structure that is there.
    """

    accepted: bool
    reasons: tuple[str, ...]
    measured: Attributes
    lesions: tuple[Lesion, ...]
    structures: tuple[StructureMeasure, ...]


def assess(request: Request, arrays: Arrays, unlabelled: frozenset[str] = frozenset()) -> Verdict:
    """Measure a case and judge it against its own prompt and against anatomy.

    `unlabelled` names structures or groups that need not be there: the mask model's sources do
    not label them, and its dataset's spec says so.

    Judges any arrays, also meaningless ones; nothing in them raises. What the prompt left
    unstated is judged by `request.subject`, where it is drawn. Margins of intensity grow with the
    request's dial by the rule in `GATE`.
    """
    reasons = list(grid_reasons(request, arrays))
    if any(volume.shape != arrays.grid.shape_zyx for volume in (arrays.ct, arrays.anatomy, arrays.lesions)):
        return Verdict(False, tuple(reasons), Attributes(), (), ())
    widened = 1 + GATE["hu_widen"] * request.randomise
    measures = replace(measure(arrays, GATE["max_lesions"]), widened=widened)
    subject = request.subject
    if measures.voxels.any():
        phase = measured_phase(measures, subject.study.contrast_phase)
        found = [*asked_reasons(request, measures)]
        found += plausible_reasons(subject, arrays, measures, phase or subject.study.contrast_phase)
        reasons += [text for text in found if not _excused(text, unlabelled)]
    else:
        reasons.append(reason("body-missing", "anatomy is zero throughout"))
    lesions = _with_roles(measures.lesions, spread_sites(request, measures))
    return Verdict(
        accepted=not reasons,
        reasons=tuple(reasons),
        measured=_attributes(subject, replace(measures, lesions=lesions), reasons),
        lesions=lesions,
        structures=measures.structure_rows(),
    )


def _with_roles(lesions: tuple[Lesion, ...], spread: frozenset[str]) -> tuple[Lesion, ...]:
    """The lesions, with those at sites of spread called metastases; primary and satellite cannot be told apart."""
    return tuple(
        lesion.model_copy(update={"role": "metastasis"}) if lesion.site in spread else lesion for lesion in lesions
    )


def _excused(text: str, unlabelled: frozenset[str]) -> bool:
    """Whether a reason is about a structure that the mask model's sources do not label."""
    code, _, words = text.partition(": ")
    if code == "organ-missing":
        return words.partition(":")[0] in unlabelled
    return code == "sex" and ", no " in words and words.rpartition(", no ")[2] in unlabelled


def _attributes(subject: Prompt, measures: Measures, reasons: list[str]) -> Attributes:
    """The measured counterpart of the asked attributes; age, race, height and weight cannot be measured."""
    small = {text.split(": ")[1] for text in reasons if text.startswith("organ-size: ")}
    return Attributes.model_validate(
        {
            "sex": measured_sex(measures),
            "contrast_phase": measured_phase(measures, subject.study.contrast_phase),
            "region": covered_region(measures.grid),
            "tumours": _tumours(measures.lesions),
            "absent_organs": tuple(name for name in subject.absent_organs if not _voxels(name, measures)),
            "enlarged_organs": tuple(
                name for name in subject.enlarged_organs if name not in small and _voxels(name, measures)
            ),
        }
    )


def _tumours(lesions: tuple[Lesion, ...]) -> tuple[TumourAttributes, ...]:
    """Tumours as measured; metastases do not count among them, but make every one M1."""
    found = tumours_of(lesion for lesion in lesions if lesion.role != "metastasis")
    if len(lesions) == sum(tumour.count or 0 for tumour in found):
        return found
    return tuple(tumour.model_copy(update={"m_stage": "M1"}) for tumour in found)


def _voxels(name: str, measures: Measures) -> int:
    return sum(int(measures.voxels[entry.id]) for entry in group(name))
