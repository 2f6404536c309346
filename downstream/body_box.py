"""Where in a CT the patient is: what lies around, table, air and blankets, is nothing to segment.

Phantoms fill their field of view; a scan shows a body in a wider one. A network that has seen little air around bodies takes air
between back and table for lung.
"""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

__all__ = ["body_box"]

_SOFT_HU = -300.0  # between fat and lung
_MARGIN_MM = 12.0
_TABLE_MM = 8.0  # boards and pads thinner than twice this are worn away


def body_box(ct_hu: Float32[np.ndarray, "z y x"], spacing_mm: float) -> tuple[slice, slice, slice]:
    """Smallest box around the largest soft body of a scan, with a margin of 12 mm; every slice, and all of a scan without a body.

    Args:
        ct_hu: values on an isotropic grid.
        spacing_mm: of the grid.
    """
    worn = ndimage.binary_erosion(ct_hu > _SOFT_HU, iterations=max(1, round(_TABLE_MM / spacing_mm)), border_value=1)
    pieces, count = ndimage.label(worn)
    if not count:
        return slice(0, ct_hu.shape[0]), slice(0, ct_hu.shape[1]), slice(0, ct_hu.shape[2])
    body = ndimage.find_objects(pieces)[int(np.bincount(pieces.ravel())[1:].argmax())]
    reach = round((_MARGIN_MM + _TABLE_MM) / spacing_mm)
    rows, columns = (
        slice(max(0, one.start - reach), min(n, one.stop + reach))
        for one, n in zip(body[1:], ct_hu.shape[1:], strict=True)
    )
    return slice(0, ct_hu.shape[0]), rows, columns
