"""Notes of records: earlier records without them, and the summary of sources."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from manifests import commits
from manifests.case import CaseRecord
from manifests.identity import canonical_json
from manifests.provenance import source_summary
from manifests.testing import example_record


def test_a_record_from_before_notes_is_whole() -> None:
    record = example_record()
    content = record.model_dump() | {"record_sha256": None}
    del content["notes"]
    seal = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    data = canonical_json(content | {"record_sha256": seal}).encode()
    assert "notes" not in json.loads(data)
    read = commits.parse(data, f"{record.case_id}.json")
    assert read.notes == {}
    assert read.lesions == record.lesions


def noted(index: int, source: str, dice: float, nearest: float) -> CaseRecord:
    notes = {"source_case": source, "source_dice": f"{dice:.3f}", "nearest_dice": f"{nearest:.3f}"}
    return example_record(index).model_copy(update={"notes": notes})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_the_summary_counts_sources_and_finds_the_highest_dice(cases) -> None:
    records = [noted(index, *case) for index, case in enumerate(cases)]
    refused = noted(99, "d", 1.0, 1.0).model_copy(update={"status": "rejected"})
    found = source_summary([*records, refused, example_record(100)])
    names = [name for name, _, _ in cases]
    assert (found["sources"], found["cases"]) == (len(set(names)), len(cases))
    assert found["most_from_one"] == max(names.count(name) for name in names)
    best = max(float(record.notes["nearest_dice"]) for record in records)
    assert found["nearest_dice"]["highest"] == best
    case = next(record for record in records if record.case_id == found["nearest_dice"]["case"])
    assert float(case.notes["nearest_dice"]) == best


def test_nothing_drawn_from_sources_has_no_summary() -> None:
    assert source_summary([example_record()]) == {}
