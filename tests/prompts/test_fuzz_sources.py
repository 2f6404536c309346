"""Thousands of broken files: a reading ends with rows and rejects or with one error of the tree, a command writes whole files or none."""

import base64
import io
import json
import random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.errors import FactoryError
from prompts.cli import app
from prompts.mapping import apply_mapping, load_mapping, mapping_names
from prompts.sources import read_reports, read_table, split_sections
from prompts.table import read_prompts

ROWS = [
    {
        "id": "a",
        "age": 63,
        "sex": "F",
        "organ": "kidney",
        "size_mm": 45.5,
        "t_stage": "pT1b",
        "report": "A 3 cm liver mass.",
    },
    {
        "id": "b",
        "age": None,
        "sex": "male",
        "organ": "C18.7",
        "size_mm": 12,
        "t_stage": "TX",
        "report": 'Nöt "quoted", ok.',
    },
    {
        "id": "c",
        "age": 5,
        "sex": "unknown",
        "organ": "Lung, NOS",
        "size_mm": None,
        "t_stage": "T2 NOS",
        "report": "FINDINGS:\nx",
    },
]
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-03-10"}
REPORT = {
    "resourceType": "DiagnosticReport",
    "id": "r",
    "status": "final",
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2013-03-09",
    "presentedForm": [{"contentType": "text/html; charset=utf-8", "data": base64.b64encode(b"<p>Mass</p>").decode()}],
    "result": [{"reference": "#o"}],
    "contained": [{"resourceType": "Observation", "id": "o", "valueString": "Liver mass."}],
    "text": {"div": "<div>Mass</div>"},
    "conclusion": "Cancer.",
}
BUNDLE = {"resourceType": "Bundle", "entry": [{"fullUrl": "urn:uuid:1", "resource": PATIENT}, {"resource": REPORT}]}
JUNK = [
    None,
    [],
    {},
    True,
    -1,
    1e308,
    "",
    "x",
    "\ud800",
    "\0",
    [[[[1]]]],
    {"a": {"b": {}}},
    10**30,
    "NaN",
    "9" * 400,
    "é" * 50,
]
TOKENS = [
    b"\0",
    b"\xff",
    b"\xd8\x00",
    b'"',
    b"'",
    b",",
    b"\t",
    b";",
    b"\r",
    b"\n\n",
    b"{",
    b"]",
    b"NaN",
    b"-Infinity",
    b"1e999",
]
TOKENS += [
    b"9" * 5000,
    b"\\ud800",
    b"[" * 2000,
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"<![",
    b"<!--",
    b"&#x110000;",
    b"=" * 9,
    b"\x1a",
    b"\xc3",
]


def _seeds():
    frame = pd.DataFrame(ROWS)
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    lines = "\n".join(json.dumps(item) for item in (PATIENT, REPORT, BUNDLE)).encode()
    return {
        "t.csv": frame.to_csv(index=False).encode(),
        "t.tsv": frame.to_csv(index=False, sep="\t").encode("utf-16"),
        "t.json": json.dumps(ROWS).encode(),
        "t.jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
        "t.parquet": buffer.getvalue(),
        "f.json": json.dumps(BUNDLE).encode(),
        "f.ndjson": lines,
        "r.txt": b"FINDINGS: Mass.\r\nIMPRESSION: Cancer \xe4.",
        "r.html": b"<html><body><p>Mass &lt; 3&nbsp;cm</p><script>x</script></body></html>",
    }


def _broken_bytes(data, dice):
    for _ in range(dice.randint(1, 4)):
        at, to = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
        match dice.randrange(7):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + dice.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + data[to:]
            case 3:
                data = data[:to] + data[at:]
            case 4:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
            case 5:
                one, other = dice.sample([b",", b"\t", b";", b'"', b"\n", b"{", b":"], 2)
                data = data.replace(one, other)
            case _:
                data = data[:at] + dice.randbytes(dice.randrange(20)) + data[at:]
    return data[:60_000]


def _broken_tree(value, dice):
    """A JSON value with one or more of its nodes replaced, removed or renamed."""
    if dice.random() < 0.08:
        return dice.choice(JUNK)
    if isinstance(value, dict):
        kept = {key: _broken_tree(item, dice) for key, item in value.items() if dice.random() > 0.05}
        return {
            dice.choice(["id", "\ud800", "", "x.y"]) if dice.random() < 0.03 else key: item
            for key, item in kept.items()
        }
    if isinstance(value, list):
        return [_broken_tree(item, dice) for item in value for _ in range(dice.choice([1, 1, 1, 2]))]
    return value


MAPPINGS = [load_mapping(name) for name in mapping_names()]


def _tried(action, *arguments):
    """What an action gives, or None where it ends with an error of the tree that can be printed."""
    try:
        return action(*arguments)
    except FactoryError as error:
        str(error).encode()
        return None


def _attempt(path, dice):
    """Read a file as reports and as a table; whatever comes out can be written. How many rows that was."""
    arguments = dice.choice([(path,), (path, "report", "id")])
    reports, rejects = _tried(read_reports, *arguments) or ([], [])
    for report in reports:
        (report.source + report.text).encode()
        assert report.text.strip()
        assert split_sections(report.text)[-1].end == len(report.text)
    for reject in rejects:
        json.dumps([reject.source, reject.row, reject.id]).encode()
        (reject.id + reject.reason).encode()
    table = _tried(read_table, path)
    mapped = _tried(apply_mapping, dice.choice(MAPPINGS[:2]), table) if table else None
    rows = mapped.prompts if mapped else ()
    "".join(name for name, _ in rows).encode()
    return len(reports) + len(rows)


@pytest.mark.parametrize("name", _seeds())
def test_broken_bytes(tmp_path, name):
    dice, whole, path = random.Random(name), _seeds()[name], tmp_path / name
    path.write_bytes(whole)
    assert sum(_attempt(path, dice) for _ in range(9)) > 0
    for _ in range(120):
        path.write_bytes(_broken_bytes(whole, dice))
        _attempt(path, dice)


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "f.json", "f.ndjson"])
def test_broken_trees(tmp_path, name):
    dice, path, done = random.Random(name), tmp_path / name, 0
    for _ in range(120):
        items = _broken_tree(ROWS if name.startswith("t") else [PATIENT, REPORT, BUNDLE], dice)
        items = items if isinstance(items, list) else [items]
        text = "\n".join(map(json.dumps, items)) if path.suffix != ".json" else json.dumps(items)
        path.write_text(text)
        done += _attempt(path, dice)
    assert done > 80


def test_parquet_of_other_types(tmp_path):
    columns = {
        "id": pa.array([b"\xff", b"b"]),
        "age": pa.array([10**15, 5], pa.timestamp("ms")),
        "sex": pa.array([{"x": 1}, None]),
        "organ": pa.array([["kidney"], []]),
        "size_mm": pa.array([float("nan"), float("inf")]),
        "report": pa.array([b"bytes", None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for number in range(9):
        _attempt(tmp_path / "t.parquet", random.Random(number))


def test_commands_write_whole_files_or_none(tmp_path):
    dice, seeds, outcomes = random.Random(5), _seeds(), set()
    for number in range(100):
        name = dice.choice(list(seeds))
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(_broken_bytes(seeds[name], dice))
        command = dice.choice(["from-table", "extract"])
        result = CliRunner().invoke(app, [command, str(folder / name), "--out", str(folder / "out.parquet")])
        assert result.exception is None or isinstance(result.exception, FactoryError | SystemExit), result.exception
        written = {file.name for file in folder.iterdir()} - {name}
        outcomes.add(bool(written))
        assert written <= {"out.parquet", "out.rejects.jsonl"}
        if written:
            assert read_prompts(folder / "out.parquet")
        if "out.rejects.jsonl" in written:
            assert all(json.loads(line)["reason"] for line in (folder / "out.rejects.jsonl").read_text().splitlines())
    assert outcomes == {True, False}


@pytest.mark.real
def test_broken_real_rows(tmp_path, real_data):
    dice = random.Random(3)
    for file in (
        "tables/kits19_clinical.json",
        "tables/tcga_cdr_torso.csv",
        "texts/mtsamples_ct.jsonl",
        "texts/ct_rate_reports_500.csv",
    ):
        source = real_data / file
        whole = source.read_bytes()[:5_000]
        for _ in range(25):
            (tmp_path / source.name).write_bytes(_broken_bytes(whole, dice))
            _attempt(tmp_path / source.name, dice)
