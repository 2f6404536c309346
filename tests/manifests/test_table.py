import random

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.anatomy import table_hash
from manifests.case import ARROW_SCHEMA, CaseRecord
from manifests.errors import FileFormatError, LocationError
from manifests.table import from_records, order, read_table, to_records, write_table
from manifests.testing import example_record, records

ROWS = [example_record(index).sealed() for index in range(3)] + [example_record(3, status="rejected").sealed()]


@given(st.lists(records(), max_size=5))
@settings(max_examples=40, deadline=None)
def test_rows_are_the_records(rows):
    assert to_records(from_records(rows)) == sorted(rows, key=order)


def test_equal_records_give_equal_bytes(tmp_path):
    for name in "ab":
        random.Random(name).shuffle(shuffled := list(ROWS))
        write_table(tmp_path / name, from_records(shuffled))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_metadata_says_what_it_follows(tmp_path):
    write_table(tmp_path / "m.parquet", from_records([]))
    metadata = pq.read_schema(tmp_path / "m.parquet").metadata
    assert metadata[b"ct_factory.format_version"] == b"1"
    assert metadata[b"ct_factory.anatomy_table"] == table_hash().encode()
    assert read_table(tmp_path / "m.parquet").schema.equals(ARROW_SCHEMA)


def test_pandas_and_duckdb_read_it(tmp_path):
    path = tmp_path / "m.parquet"
    write_table(path, from_records(ROWS))
    frame = pd.read_parquet(path)
    assert frame["case_id"].tolist() == [row.case_id for row in ROWS]
    assert frame.loc[0, "lesions"][0]["size_mm"] == 8.5
    query = (
        "select count(*), sum(seconds['masks']), max(lesions[1].size_mm) from read_parquet(?) where status = 'accepted'"
    )
    with duckdb.connect() as database:
        assert database.execute(query, [str(path)]).fetchall() == [(3, 0.75, 8.5)]


def test_every_field_is_a_column_of_its_type():
    assert ARROW_SCHEMA.names == list(CaseRecord.model_fields)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.drop_columns(["status"]),
        lambda table: table.append_column("colour", pa.array(["red"] * len(table))),
        lambda table: table.set_column(3, "index", table["index"].cast(pa.int32())),
        lambda table: table.select(ARROW_SCHEMA.names[::-1]),
    ],
)
def test_other_columns_are_refused(tmp_path, spoil):
    pq.write_table(spoil(from_records(ROWS)), tmp_path / "m.parquet")
    with pytest.raises(FileFormatError, match="columns"):
        read_table(tmp_path / "m.parquet")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"case_id,status\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_corrupt_parquet_is_refused(tmp_path, data):
    (tmp_path / "m.parquet").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"m\.parquet"):
        read_table(tmp_path / "m.parquet")


def test_missing_manifest(tmp_path):
    with pytest.raises(LocationError, match="no such file"):
        read_table(tmp_path / "m.parquet")


def test_impossible_rows_are_refused():
    table = from_records(ROWS)
    status = table.schema.get_field_index("status")
    with pytest.raises(FileFormatError, match="status"):
        to_records(table.set_column(status, "status", pa.array(["lost"] * len(table))))
