"""Identity: equal content has one name on any machine, different content another, and names are no paths."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import InvalidValueError
from manifests.identity import array_blake3, canonical_json, content_hash, is_identifier, make_case_id, rng, stage_seed

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), values, max_size=6))
def test_key_order_does_not_matter(table):
    backwards = dict(reversed(table.items()))
    assert canonical_json(table) == canonical_json(backwards)
    assert content_hash(table) == content_hash(backwards)


@given(values, values)
def test_hashes_differ_exactly_when_the_text_does(one, other):
    assert (content_hash(one) == content_hash(other)) == (canonical_json(one) == canonical_json(other))


def test_hashes_are_pinned():
    """A change here renames every case of every dataset."""
    assert content_hash({"b": [1, 2.5, None], "a": "ü"}) == "7d7d257fade4ba9e0a03"
    assert make_case_id(prompt_id="p1", spec={"run_seed": 0}, index=3, candidate=0) == "c57b1de733ff2b42165ea"
    assert stage_seed("c1", "anatomy") == 227686876334151855610396248299029045977
    assert rng("c1", "anatomy").integers(10**9) == 451975351


@pytest.mark.parametrize("field", ["prompt_id", "spec", "index", "candidate"])
def test_each_part_of_a_case_id_counts(field):
    parts = {"prompt_id": "p", "spec": {"seed": 1}, "index": 1, "candidate": 1}
    other = {"prompt_id": "q", "spec": {"seed": 2}, "index": 2, "candidate": 2}
    assert make_case_id(**parts) != make_case_id(**(parts | {field: other[field]}))


def test_stage_seeds_do_not_run_together():
    """Names are separated: ("ab", "c") and ("a", "bc") are different streams."""
    assert stage_seed("ab", "c") != stage_seed("a", "bc")
    draws = {tuple(rng(case, stage).integers(0, 2**31, 4)) for case in ("c1", "c2") for stage in ("a", "b")}
    assert len(draws) == 4


def test_hashes_are_the_same_in_another_process():
    code = (
        "from manifests.identity import content_hash, stage_seed; print(content_hash({'a': 1}), stage_seed('c', 's'))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [content_hash({"a": 1}), str(stage_seed("c", "s"))]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", [object()]])
def test_what_json_lacks_is_refused(value):
    with pytest.raises(InvalidValueError):
        content_hash(value)


@given(st.text(max_size=150))
def test_an_identifier_never_leaves_its_folder(text):
    if is_identifier(text):
        assert not set(text) & set("/\\:\0 \n")
        assert not text.startswith((".", "-"))
        assert 0 < len(text) <= 128


@pytest.mark.parametrize("text", ["c0123", "case_001", "s0011", "KiTS-00.1"])
def test_usual_names_are_identifiers(text):
    assert is_identifier(text)


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "a/b", "a\\b", "-rf", ".hidden", "a b", "a\0", "ä", "x" * 129])
def test_paths_and_worse_are_not(text):
    assert not is_identifier(text)


def test_array_hash_covers_dtype_shape_and_values_but_not_layout():
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    same = [array.copy(order="F"), array.astype(">i2"), np.repeat(array, 2, axis=2)[..., ::2]]
    assert {array_blake3(other) for other in same} == {array_blake3(array)}
    changed = array.copy()
    changed[1, 2, 3] += 1
    others = [changed, array.reshape(3, 2, 4), array.astype(np.int32), array.astype(np.uint16)]
    assert len({array_blake3(other) for other in [array, *others]}) == 5
