"""The subject of an image: what of the patient and the study decides how tissues look."""

from dataclasses import dataclass

from factory.engines.base import Request
from manifests.anatomy import Phase
from manifests.errors import InvalidValueError

__all__ = ["Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What of the patient and the study decides the image."""

    age_years: float
    weight_kg: float
    phase: Phase

    @classmethod
    def of(cls, request: Request) -> "Subject":
        """Read the completed prompt of a request.

        Raises:
            InvalidValueError: if the subject leaves age, weight or contrast phase unstated.
        """
        patient, phase = request.subject.patient, request.subject.study.contrast_phase
        if patient.age_years is None or patient.weight_kg is None or phase is None:
            raise InvalidValueError(
                "subject of the request",
                got=f"age {patient.age_years}, weight {patient.weight_kg}, phase {phase}",
                need="all three stated",
                do="Complete the prompt with prompts.sampling.complete.",
            )
        return cls(patient.age_years, patient.weight_kg, phase)
