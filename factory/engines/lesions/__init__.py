"""Tumours for any mask model: placed in the prompted site, with the prompted count and size.

`place_lesions` is the last step of a mask model. The package shares no code with the quality
gate, which measures the stored arrays anew.
"""

from factory.engines.lesions.placing import place_lesions

__all__ = ["place_lesions"]
