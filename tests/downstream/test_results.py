"""The tidy table: round trips, uniqueness, and figures that come from it alone."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.results import Result, Results
from manifests.errors import FileFormatError, InvalidValueError, LocationError

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=6)
rows = st.builds(
    Result,
    case_id=names,
    structure=names,
    metric=st.sampled_from(["dice", "hd95_mm"]),
    value=st.floats(),
    arm=names,
    seed=st.integers(-(2**63), 2**63 - 1),
)


def same(first, second):
    return first.key == second.key and (first.value == second.value or math.isnan(first.value + second.value))


@settings(deadline=None, max_examples=40)
@given(st.lists(rows, unique_by=lambda row: row.key, max_size=8), st.sampled_from([".csv", ".parquet"]))
def test_tables_come_back_bit_for_bit(tmp_path_factory, table, suffix):
    folder = tmp_path_factory.mktemp("table")
    path = folder / f"new/scores{suffix}"
    Results(table).write(path)
    back = Results.read(path)
    assert len(back) == len(table)
    assert all(same(ours, theirs) for ours, theirs in zip(table, back, strict=True))
    Results(back).write(path.with_stem("again"))
    assert path.with_stem("again").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == [f"again{suffix}", f"scores{suffix}"]


def test_csv_is_what_a_spreadsheet_expects(tmp_path):
    Results([Result("a", "liver", "dice", 0.1 + 0.2, "real, all", 3)]).write(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == (
        'case_id,structure,metric,value,arm,seed\na,liver,dice,0.30000000000000004,"real, all",3\n'
    )


def test_the_same_row_twice_is_refused():
    with pytest.raises(InvalidValueError, match="dice of liver twice"):
        Results([Result("a", "liver", "dice", 0.1), Result("a", "liver", "dice", 0.2)])


def arms():
    """Two arms, two seeds, three cases; the second arm lacks a case and has an absent structure."""
    values = {
        "real": {"a": (0.9, 0.7), "b": (0.6, 0.6), "c": (math.nan, math.nan)},
        "synthetic": {"a": (0.7, 0.7), "c": (0.4, math.nan)},
    }
    return Results(
        Result(case_id, "liver", "dice", value, arm, seed)
        for arm, cases in values.items()
        for case_id, pair in cases.items()
        for seed, value in enumerate(pair)
    )


def test_seeds_are_averaged_before_cases():
    real, synthetic = arms().summaries(seed=0, resamples=200)
    assert (real.arm, real.structure, real.metric) == ("real", "liver", "dice")
    assert (real.interval.mean, real.interval.n) == (pytest.approx(0.7), 2)
    assert (synthetic.interval.mean, synthetic.interval.n) == (pytest.approx(0.55), 2)


def test_arms_are_compared_on_the_cases_that_both_have():
    result = arms().compare("real", "synthetic", seed=0, resamples=200)
    assert (result.difference.mean, result.difference.n, result.wins) == (pytest.approx(0.1), 1, 1)


def test_where_keeps_what_was_named():
    kept = arms().where(arm="real", seed=1)
    assert {row.key for row in kept} == {(case_id, "liver", "dice", "real", 1) for case_id in "abc"}
    assert len(arms().where(metric="nsd")) == 0


@pytest.mark.parametrize(
    ("name", "content", "error", "named"),
    [
        ("gone.csv", None, LocationError, "no such file"),
        ("t.xlsx", b"", InvalidValueError, "suffix"),
        ("t.csv", b"case,value\n", FileFormatError, "columns case, value"),
        ("t.csv", b"", FileFormatError, "columns none"),
        ("t.csv", b"case_id,structure,metric,value,arm,seed\na,b,c,much,d,0\n", FileFormatError, "line 2"),
        ("t.csv", b"case_id,structure,metric,value,arm,seed\na,b,c\n", FileFormatError, "line 2"),
        ("t.parquet", b"PAR1", FileFormatError, "Parquet"),
    ],
)
def test_bad_tables_are_named(tmp_path, name, content, error, named):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=named):
        Results.read(tmp_path / name)
