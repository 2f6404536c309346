import json
import shutil

import pyarrow as pa
import pytest

from manifests import commits
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import BusyError, LocationError
from manifests.identity import content_hash
from manifests.store import file_hashes
from manifests.table import from_records, write_table
from manifests.testing import example_arrays, example_record
from manifests.validate import CODES, check, collect_garbage, orphans, stream

SPEC = DatasetSpec(kind="synthetic")
CASE = example_record(0).case_id


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    dataset = Dataset.create(tmp_path_factory.mktemp("intact") / "ds", SPEC)
    prompt = {"patient": {"sex": "male"}, "study": {}, "tumours": []}
    prompt_id = "p" + content_hash({"patient": {"sex": "male"}})
    for index in range(2):
        asked = {"prompt_json": json.dumps(prompt), "prompt_id": prompt_id}
        dataset.save(example_record(index).model_copy(update=asked), example_arrays(index))
    dataset.publish(example_record(2, status="rejected"))
    dataset.compact()
    return dataset


@pytest.fixture
def dataset(intact, tmp_path):
    """A fresh copy to spoil; copying also shows that a dataset may be moved."""
    shutil.copytree(intact.root, tmp_path / "ds")
    return Dataset.open(tmp_path / "ds")


def case_dir(dataset):
    return dataset.case_path(dataset.record(CASE))


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def republish(dataset, changes):
    """Replace a record and its row by a consistent, sealed other one: an edit by someone who knows the format."""
    record = dataset.record(CASE).model_copy(update=changes)
    commits.record_path(dataset.root, CASE).unlink()
    commits.publish(dataset.root, record)
    dataset.compact()


def restore(dataset, **changes):
    """Store the case anew with changed arrays, as a build that breaks its own contract would."""
    record, arrays = dataset.record(CASE), dataset.read(CASE)
    volumes = {name: changes.get(name, getattr(arrays, name)) for name in ("ct", "anatomy", "lesions")}
    commits.record_path(dataset.root, CASE).unlink()
    shutil.rmtree(dataset.root / "cases" / CASE)
    dataset.save(record, Arrays(arrays.grid, **volumes))
    dataset.compact()


def flip_byte(dataset):
    shard = case_dir(dataset) / "0/c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)


def replace_row(dataset, edit):
    rows = [edit(record) if record.case_id == CASE else record for record in dataset.records()]
    write_table(dataset.manifest_path, from_records([row for row in rows if row]))


def shuffle_rows(dataset):
    write_table(dataset.manifest_path, dataset.table()[::-1])


def double_index(dataset):
    dataset.save(example_record(0, case_id="twin"), example_arrays())
    dataset.compact()


def bad_ids(dataset):
    anatomy = dataset.read(CASE).anatomy.copy()
    anatomy[0, 0, 0] = 255
    restore(dataset, anatomy=anatomy)


def bad_lesions(dataset):
    lesions = dataset.read(CASE).lesions.copy()
    lesions[0, 0, 0] = 2
    restore(dataset, lesions=lesions)


def bad_ct(dataset):
    ct = dataset.read(CASE).ct.copy()
    ct[0, 0, 0] = 4000
    restore(dataset, ct=ct)


def respecify(dataset):
    (dataset.root / "dataset.json").unlink()
    Dataset.create(dataset.root / "new", SPEC.model_copy(update={"anatomy_table": "0" * 20}))
    (dataset.root / "new/dataset.json").rename(dataset.root / "dataset.json")
    shutil.rmtree(dataset.root / "new")


FAULTS = {
    "edited spec": ("spec-unreadable", lambda d: rewrite(d.root / "dataset.json", '"run_seed": 0', '"run_seed": 1')),
    "torn spec": ("spec-unreadable", lambda d: (d.root / "dataset.json").write_text("{")),
    "no root group": ("root-group", lambda d: (d.root / "zarr.json").unlink()),
    "wrong root group": ("root-group", lambda d: rewrite(d.root / "zarr.json", '"group"', '"array"')),
    "torn record": ("record-torn", lambda d: commits.record_path(d.root, CASE).write_bytes(b'{"case')),
    "edited record": (
        "record-edited",
        lambda d: rewrite(commits.record_path(d.root, CASE), '"candidate":0', '"candidate":1'),
    ),
    "renamed record": ("record-edited", lambda d: _rename(d)),
    "no hash": ("record-incomplete", lambda d: republish(d, {"ct_blake3": None})),
    "no reason": ("record-incomplete", lambda d: republish(d, {"status": "rejected"})),
    "wrong size": ("record-incomplete", lambda d: republish(d, {"stored_bytes": 1})),
    "path outside": ("record-incomplete", lambda d: republish(d, {"path": "../elsewhere"})),
    "other spec": ("record-foreign", lambda d: republish(d, {"spec_id": "s0"})),
    "edited prompt": ("prompt-edited", lambda d: republish(d, {"prompt_json": '{"patient":{"sex":"female"}}'})),
    "same index twice": ("index-twice", double_index),
    "missing record": ("record-missing", lambda d: commits.record_path(d.root, CASE).unlink()),
    "no manifest": ("manifest-missing", lambda d: d.manifest_path.unlink()),
    "corrupt manifest": ("manifest-unreadable", lambda d: d.manifest_path.write_bytes(b"PAR1")),
    "missing row": ("manifest-stale", lambda d: replace_row(d, lambda row: None)),
    "edited row": ("manifest-edited", lambda d: replace_row(d, lambda row: row.model_copy(update={"split": "test"}))),
    "unsorted rows": ("manifest-edited", shuffle_rows),
    "doubled row": ("manifest-edited", lambda d: write_table(d.manifest_path, _doubled(d))),
    "orphan attempt": ("orphan", lambda d: shutil.copytree(case_dir(d), case_dir(d).with_name("killed.ome.zarr"))),
    "unfinished record": ("orphan", lambda d: (d.root / "commits/.tmp-c-1").touch()),
    "unfinished manifest": ("orphan", lambda d: (d.root / ".tmp-manifest-1").touch()),
    "deleted chunks": ("file-missing", lambda d: (case_dir(d) / "0/c/0/0/0").unlink()),
    "deleted metadata": ("file-missing", lambda d: (case_dir(d) / "labels/zarr.json").unlink()),
    "flipped byte": ("file-changed", flip_byte),
    "edited metadata": ("file-changed", lambda d: rewrite(case_dir(d) / "zarr.json", '"LPS"', '"RAS"')),
    "added file": ("file-extra", lambda d: (case_dir(d) / "notes.txt").touch()),
    "other voxels": ("array-changed", lambda d: republish(d, {"anatomy_blake3": "0" * 64})),
    "other grid": ("grid", lambda d: republish(d, {"spacing_mm_zyx": (3.0, 2.0, 2.5)})),
    "CT beyond 12 bits": ("ct-range", bad_ct),
    "unknown structure": ("anatomy-ids", bad_ids),
    "unknown lesion": ("lesion-ids", bad_lesions),
    "lost lesion": ("lesion-ids", lambda d: republish(d, {"lesions": ()})),
}


def _rename(dataset):
    path = commits.record_path(dataset.root, CASE)
    path.rename(path.with_name("other.json"))
    write_table(dataset.manifest_path, from_records([_by_index(dataset, 1), _by_index(dataset, 2)]))


def _by_index(dataset, index) -> CaseRecord:
    return dataset.record(example_record(index).case_id)


def _doubled(dataset) -> pa.Table:
    table = dataset.table()
    return pa.concat_tables([table[:1], table])


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_once_and_alone(dataset, name):
    code, spoil = FAULTS[name]
    spoil(dataset)
    assert [finding.code for finding in check(dataset.root)] == [code]


def test_an_intact_dataset_has_no_findings(dataset):
    assert check(dataset) == check(dataset, deep=False) == check(dataset.root, workers=3) == []


def test_other_anatomy_table(dataset):
    respecify(dataset)
    assert {finding.code for finding in check(dataset.root)} == {"anatomy-table", "record-foreign"}


def test_every_code_is_tested_and_known():
    tested = {code for code, _ in FAULTS.values()} | {"anatomy-table", "array-unreadable"}
    assert tested == set(CODES)


def test_unreadable_array(dataset):
    shard = case_dir(dataset) / "0/c/0/0/0"
    shard.write_bytes(b"x" * shard.stat().st_size)
    republish(dataset, {"stored_blake3": _hashes(dataset)})
    assert [finding.code for finding in check(dataset)] == ["array-unreadable"]
    assert check(dataset, deep=False) == []


def _hashes(dataset):
    return file_hashes(case_dir(dataset))


def test_fast_check_still_finds_a_flipped_byte(dataset):
    flip_byte(dataset)
    (finding,) = check(dataset, deep=False)
    assert (finding.code, finding.case_id) == ("file-changed", CASE)
    assert "0/c/0/0/0" in finding.message


def test_findings_come_step_by_step(dataset):
    flip_byte(dataset)
    assert [len(findings) for findings in stream(dataset, workers=2)] == [0, 1, 0]


def test_faults_in_several_cases_are_all_found(dataset):
    flip_byte(dataset)
    other = dataset.case_path(_by_index(dataset, 1))
    (other / "0/c/0/0/0").unlink()
    assert [finding.code for finding in check(dataset, workers=2)] == ["file-changed", "file-missing"]


def test_no_dataset_is_bad_input(tmp_path):
    with pytest.raises(LocationError):
        check(tmp_path)


# --- garbage


def test_garbage_is_removed_and_nothing_else(dataset):
    before = dataset.records()
    attempt = case_dir(dataset).with_name("killed.ome.zarr")
    lost = dataset.root / "cases/never/committed.ome.zarr"
    shutil.copytree(case_dir(dataset), attempt)
    shutil.copytree(case_dir(dataset), lost)
    (dataset.root / "commits/.tmp-c-1").touch()
    assert set(collect_garbage(dataset)) == {attempt, lost, dataset.root / "commits/.tmp-c-1"}
    assert not lost.parent.exists()
    assert check(dataset) == []
    assert dataset.records() == before
    assert collect_garbage(dataset) == []


@pytest.mark.parametrize("name", ["missing record", "torn record", "edited record"])
def test_arrays_of_a_lost_record_are_no_garbage(dataset, name):
    FAULTS[name][1](dataset)
    assert orphans(dataset) == []


def test_nothing_is_collected_during_a_build(dataset):
    attempt = case_dir(dataset).with_name("running.ome.zarr")
    attempt.mkdir()
    with dataset.lock(), pytest.raises(BusyError):
        collect_garbage(dataset)
    assert attempt.exists()
