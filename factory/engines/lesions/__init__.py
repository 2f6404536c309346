"""Tumours for any mask model: placed in the prompted site, with the prompted count and size.

`place_lesions` is the last step of a mask model. The package shares no code with the quality
gate, which measures the stored arrays anew.
"""

from factory.engines.lesions.placing import lesion_notes, place_lesions

__all__ = ["lesion_notes", "place_lesions"]
