"""What generated cases were drawn from, and how much of it is left in them: a summary of their notes.

A mask model that draws from label maps notes the `source_case` of each case, the Dice of its
organs with that source (`source_dice`), and the highest Dice with any source it compared
(`nearest_dice`, `nearest_case`). Cases without such notes count for nothing here.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from manifests.case import CaseRecord

__all__ = ["source_summary"]


def source_summary(records: Iterable[CaseRecord]) -> dict[str, Any]:
    """Summarise the sources of delivered cases; empty where nothing was drawn from sources.

    Returns:
        `sources`: how many, `most_from_one`: cases of the most used one, `cases`: how many in all; then
        mean and highest of `source_dice` and `nearest_dice`, and the case with the highest.
    """
    drawn = [record for record in records if record.status == "accepted" and "source_case" in record.notes]
    if not drawn:
        return {}
    uses = Counter(record.notes["source_case"] for record in drawn)
    found: dict[str, Any] = {"sources": len(uses), "most_from_one": max(uses.values()), "cases": len(drawn)}
    for name in ("source_dice", "nearest_dice"):
        values = {record.case_id: float(record.notes[name]) for record in drawn if name in record.notes}
        if values:
            highest = max(values, key=lambda case: values[case])
            mean = sum(values.values()) / len(values)
            found[name] = {"mean": round(mean, 3), "highest": values[highest], "case": highest}
    return found
