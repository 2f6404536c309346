import hashlib
import json

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from manifests.case import CaseRecord
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.testing import example_arrays, example_record, records


@given(records())
@settings(max_examples=40, deadline=None)
def test_seal_is_the_documented_hash(record):
    fields = json.loads(record.sealed().model_dump_json())
    digest = fields["record_sha256"]
    text = json.dumps(fields | {"record_sha256": None}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    assert record.sealed().sealed() == record.sealed()


@given(records())
@settings(max_examples=40, deadline=None)
def test_seal_depends_on_every_change(record):
    changed = record.model_copy(update={"index": record.index + 1})
    assert record.sealed().record_sha256 != changed.sealed().record_sha256


def test_json_round_trip_keeps_the_record():
    record = example_record().sealed()
    assert CaseRecord.model_validate_json(record.model_dump_json()) == record


def test_unknown_fields_and_states_are_refused():
    fields = example_record().model_dump()
    with pytest.raises(ValidationError, match="colour"):
        CaseRecord.model_validate(fields | {"colour": "red"})
    with pytest.raises(ValidationError, match="status"):
        CaseRecord.model_validate(fields | {"status": "lost"})


def test_infinite_numbers_have_no_seal():
    with pytest.raises(InvalidValueError, match="finite"):
        example_record().model_copy(update={"seconds": {"ct": float("inf")}}).sealed()


def test_grid_of_a_record():
    grid = example_arrays().grid
    place = {name: getattr(grid, name) for name in ("shape_zyx", "spacing_mm_zyx", "origin_mm_xyz")}
    record = example_record().model_copy(update=place)
    assert record.grid() == Grid(**place)
