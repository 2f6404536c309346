"""Reports from folders, files, tables and FHIR: the text as it stands, what stands beside it, and rejects with reasons."""

import base64
import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from manifests.errors import FileFormatError, LocationError, UnknownNameError
from prompts.cli import app
from prompts.schema import Patient
from prompts.sources import read_reports, read_table, report_hash
from prompts.sources.attributes import age_between
from prompts.sources.encoding import decode
from prompts.sources.markup import markup_text
from prompts.table import read_prompts

TEXT = "Größe 3,2 \u00d7 4 cm, „Raumforderung“ \u2013 Leber; 30 °C, µ, naïve café."
BOTH = "Raumforderung der linken Niere, 3 cm groß. Größe: überall, für Männer, Ärzte. Lésion kystique é è à."


def _stated(report):
    return {field: stated.value for field, stated in report.attributes.items()}


def _b64(text, encoding="utf-8"):
    return base64.b64encode(text.encode(encoding)).decode()


@pytest.mark.parametrize(
    ("encoding", "text"),
    [(name, TEXT) for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")]
    + [("mac_roman", BOTH), ("latin-1", BOTH), ("cp1252", BOTH)],
)
def test_encodings_are_found_from_the_bytes(tmp_path, encoding, text):
    (tmp_path / "r.txt").write_bytes(text.encode(encoding))
    assert read_reports(tmp_path)[0][0].text == text
    assert read_reports(tmp_path / "r.txt")[0][0].text == text


def test_a_few_broken_bytes_do_not_change_the_encoding():
    data = ("Größe überall, Männer, für ÄÖÜ. " * 3).encode()
    assert decode(data + b"\x96 cut \xc3").startswith("Größe überall")
    assert "\u2013 cut" in decode(data + b"\x96 cut")
    assert decode(b"na\xefve", "utf-8") == decode(b"na\xefve", "no-such-charset") == "naïve"
    assert decode("Größe".encode("cp850"), "cp850") == "Größe"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_utf8_is_read_exactly(text):
    assert decode(text.encode()) == text.removeprefix("\ufeff")


@given(st.binary(max_size=200))
def test_any_bytes_decode(data):
    assert isinstance(decode(data), str)


def test_folders_hold_texts_markup_and_fhir(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_bytes(b"Mass in\r\nthe liver.\rEnd")
    (tmp_path / "b.html").write_text(
        "<html><title>x</title><body><p>Size &lt; 3&nbsp;cm</p><p>Liver<br>ok</p></body></html>"
    )
    (tmp_path / "c.txt").write_text("Mass in   the liver. End\n")
    (tmp_path / "d.txt").write_text(" \n")
    (tmp_path / "e.txt").write_bytes(b"ab\0c")
    (tmp_path / "f.json").write_text(json.dumps({"resourceType": "DiagnosticReport", "id": "7", "conclusion": "Cyst."}))
    (tmp_path / "g.json").write_text('{"some": "settings"}')
    (tmp_path / "h.json").write_text("{")
    (tmp_path / ".hidden.txt").write_text("secret")
    reports, rejects = read_reports(tmp_path)
    name = tmp_path.name
    assert [(report.source, report.text) for report in reports] == [
        (f"{name}#a/one.txt", "Mass in\nthe liver.\nEnd"),
        (f"{name}#b.html", "Size < 3 cm\n\nLiver\nok"),
        (f"{name}#f.json:7", "Cyst."),
    ]
    assert [(reject.id, reject.reason.partition(" (")[0]) for reject in rejects] == [
        ("c.txt", "the same text as a/one.txt"),
        ("d.txt", "no text"),
        ("e.txt", "zero bytes: no text"),
        ("g.json", "no FHIR resource"),
        ("h.json", "no JSON"),
    ]


def test_tables_state_the_patient_beside_the_text(tmp_path):
    rows = [
        {"AccessionNo": "x", "report": "First.\r\nLine", "PatientSex": "F", "PatientAge": "063Y", "race": "WHITE"},
        {"AccessionNo": "y", "report": "Second", "PatientSex": "O", "PatientAge": "006M", "race": "Native"},
        {"AccessionNo": "z", "report": " first. line ", "PatientSex": "M", "PatientAge": "900Y", "race": None},
        {"AccessionNo": "w", "report": "FIRST. Line", "PatientSex": "1", "PatientAge": "-4", "race": "asian"},
        {"AccessionNo": "x", "report": "First. Line", "PatientSex": "M", "PatientAge": "1", "race": "asian"},
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.json").write_text(json.dumps(rows))
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(row) for row in rows).encode())
    (tmp_path / "u.jsonl").write_bytes("\n".join(json.dumps(row) for row in rows).encode("utf-16"))
    for suffix in ("t.csv", "t.tsv", "t.parquet", "t.json", "t.jsonl", "u.jsonl"):
        reports, rejects = read_reports(tmp_path / suffix)
        assert [report.source for report in reports] == [f"{suffix}#{row}" for row in ("0:x", "1:y", "2:z", "3:w")]
        assert reports[0].text == "First.\r\nLine", "cells stay as they are"
        assert [_stated(report) for report in reports] == [
            {"patient.sex": "female", "patient.age_years": 63.0, "patient.race": "white"},
            {"patient.age_years": 0.5},
            {"patient.sex": "male"},
            {"patient.race": "asian"},
        ]
        assert reports[0].attributes["patient.sex"].where == "column PatientSex"
        assert [(reject.row, reject.reason) for reject in rejects] == [(4, "the same text as 0:x")]


def test_columns_fill_what_the_text_leaves_open(tmp_path):
    (tmp_path / "r.csv").write_text(
        'id,report,PatientSex,age\na,"Mass in the liver, 3 cm.",F,63\nb,"A 50-year-old man. Liver cancer.",F,63\n'
        'c,"Prostate cancer.",F,70\n'
    )
    line = ["extract", str(tmp_path / "r.csv"), "--out", str(tmp_path / "p.parquet"), "--id-column", "id"]
    assert CliRunner().invoke(app, line).exit_code == 0
    filled, stated, impossible = read_prompts(tmp_path / "p.parquet")
    assert filled.prompt.patient == Patient(age_years=63, sex="female")
    assert stated.prompt.patient == Patient(age_years=50, sex="male"), "the text wins"
    assert any("column PatientSex female" in flag for flag in stated.flags)
    assert impossible.prompt.patient == Patient(age_years=70)
    assert any("contradicts" in flag for flag in impossible.flags)
    assert filled.source == "r.csv#0:a"


def test_columns_are_chosen_by_name(tmp_path):
    (tmp_path / "t.csv").write_text("key,note,other\nk1,Alpha,1\nk2,Beta,2\n")
    reports, _ = read_reports(tmp_path / "t.csv", "note", "key")
    assert [(report.source, report.text) for report in reports] == [("t.csv#0:k1", "Alpha"), ("t.csv#1:k2", "Beta")]
    with pytest.raises(UnknownNameError, match="--text-column"):
        read_reports(tmp_path / "t.csv")
    with pytest.raises(UnknownNameError, match="--id-column"):
        read_reports(tmp_path / "t.csv", "note", "no")
    (tmp_path / "n.json").write_text(json.dumps([{"a": {"b": "Deep", "id": 5}}]))
    assert read_reports(tmp_path / "n.json", "a.b", "a.id")[0][0].source == "n.json#0:5"


def test_an_open_quotation_mark_costs_its_own_row(tmp_path):
    lines = [
        "id,report",
        'a,"Fine, one"',
        'b,"Open text',
        'c,"Fine, two"',
        'd,"three\nlines\nhere"',
        'e,"never closed',
        "f,last",
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    reports, rejects = read_reports(tmp_path / "t.csv")
    assert [report.text for report in reports] == ["Fine, one", "Fine, two", "three\nlines\nhere", "last"]
    assert [reject.row for reject in rejects] == [1, 4]


def test_bad_lines_become_rejects_that_do_not_show_them(tmp_path):
    huge = '{"report": ' + "9" * 5000 + "}"
    lines = [
        '{"report": "One"}',
        '{"report": ',
        '"a report text alone"',
        "[1]",
        '{"report": 4}',
        huge,
        '{"report": "\\ud800"}',
        "[" * 9999,
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    reports, rejects = read_reports(tmp_path / "t.jsonl")
    assert [report.text for report in reports] == ["One"]
    assert [reject.row for reject in rejects] == [1, 2, 3, 4, 5, 6, 7]
    assert "alone" not in "".join(reject.reason for reject in rejects)


def _bundle(*resources, kind="collection"):
    entries = [{"fullUrl": f"urn:uuid:{number}", "resource": item} for number, item in enumerate(resources)]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


WOMAN = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-03-10"}
RACE = {
    "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
    "extension": [{"url": "ombCategory", "valueCoding": {"code": "2054-5"}}, {"url": "text", "valueString": "x"}],
}


def _report(**fields):
    base = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "subject": {"reference": "Patient/p"}}
    return base | {"effectiveDateTime": "2013-03-09T08:00:00+01:00"} | fields


def _read(tmp_path, content, name="b.json"):
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_reports(tmp_path / name)


@pytest.mark.parametrize("kind", ["collection", "searchset", "transaction"])
def test_a_bundle_gives_text_and_patient(tmp_path, kind):
    form = {"contentType": "text/plain; charset=iso-8859-1", "data": _b64("Größe 3 cm.\r\nEnde", "latin-1")}
    page = {"contentType": "text/html", "data": _b64("<p>other</p>")}
    report = _report(presentedForm=[page, form], conclusion="Größe 3  cm.", text={"div": "<div>narrative</div>"})
    reports, rejects = _read(tmp_path, _bundle(WOMAN | {"extension": [RACE]}, report, kind=kind))
    assert (reports[0].text, rejects) == ("Größe 3 cm.\nEnde", [])
    assert reports[0].source == "b.json#1:r"
    assert _stated(reports[0]) == {"patient.sex": "female", "patient.age_years": 62.0, "patient.race": "black"}


def test_text_comes_from_where_it_is(tmp_path):
    seen = {
        "resourceType": "Observation",
        "id": "o",
        "valueString": "Mass in the liver.",
        "component": [{"valueString": "4 cm"}],
    }
    binary = {"resourceType": "Binary", "id": "n", "content": _b64("From a binary.")}
    cases = {
        "Narrative & more\n\nSo.": _report(
            text={"div": "<div xmlns='x'><p>Narrative &amp; more</p></div>"}, conclusion="So."
        ),
        "Mass in the liver.\n\n4 cm": _report(
            result=[{"reference": "Observation/o"}, {"reference": "Observation/none"}]
        ),
        "In it": _report(
            contained=[seen | {"id": "k", "valueString": "In it", "component": []}], result=[{"reference": "#k"}]
        ),
        "From a binary.": _report(presentedForm=[{"contentType": "text/plain", "url": "Binary/n"}]),
        "A <b>B": _report(
            presentedForm=[{"contentType": "text/html", "data": _b64("<p>A &lt;b&gt;B</p><script>x</script>")}]
        ),
        "Only this.": _report(presentedForm=[{"contentType": "text/plain", "data": "%%%"}], conclusion="Only this."),
    }
    for text, report in cases.items():
        reports, rejects = _read(tmp_path, _bundle(WOMAN, seen, binary, report))
        assert [found.text for found in reports] == [text], rejects


def test_reports_without_text_say_why(tmp_path):
    cases = {
        "presentedForm is application/pdf, which is not read": _report(
            presentedForm=[{"contentType": "application/pdf"}]
        ),
        "presentedForm: data is no base64": _report(presentedForm=[{"contentType": "text/plain", "data": "%%%"}]),
        "presentedForm: data is a document, not text": _report(presentedForm=[{"data": _b64("%PDF-1.4")}]),
        "presentedForm: no data in the file": _report(presentedForm=[{"url": "https://elsewhere/Binary/1"}]),
        "status entered-in-error": _report(status="entered-in-error", conclusion="Wrong patient."),
        "no text": _report(presentedForm=7, text=[], result={}, conclusion=["x"]),
    }
    for reason, report in cases.items():
        reports, rejects = _read(tmp_path, report)
        assert (reports, [reject.reason for reject in rejects]) == ([], [reason])


def test_a_patient_is_never_taken_from_another_bundle(tmp_path):
    man = WOMAN | {"gender": "male"}
    lines = [
        _bundle(WOMAN, _report(conclusion="A")),
        _bundle(man, _report(conclusion="B")),
        _bundle(_report(conclusion="C")),
    ]
    reports, _ = _read(tmp_path, "\n".join(map(json.dumps, lines)), "x.ndjson")
    assert [_stated(report).get("patient.sex") for report in reports] == ["female", "male", None]
    both = _bundle(WOMAN, man, _report(conclusion="D"))
    assert _stated(_read(tmp_path, both)[0][0]) == {}, "two patients of one id"
    inner = _bundle(WOMAN, _report(conclusion="F", contained=[man]))
    assert _stated(_read(tmp_path, inner)[0][0])["patient.sex"] == "female", "contained resources go by #id"
    other = _bundle(WOMAN, _report(conclusion="E", subject={"reference": "https://other/Patient/p"}))
    other["entry"][0]["fullUrl"] = "https://here/Patient/p"
    assert _stated(_read(tmp_path, other)[0][0]) == {}, "of another server"
    other["entry"][1]["resource"]["subject"]["reference"] = "https://here/Patient/p"
    assert _stated(_read(tmp_path, other)[0][0])["patient.sex"] == "female"


def test_a_bulk_export_joins_its_files(tmp_path):
    reports = [_report(id=str(number), conclusion=f"Report {number}") for number in range(3)]
    (tmp_path / "DiagnosticReport.ndjson").write_text("\n".join(map(json.dumps, reports)) + "\nnot json\n")
    (tmp_path / "Patient.ndjson").write_text(json.dumps(WOMAN) + "\n")
    found, rejects = read_reports(tmp_path)
    assert [_stated(report)["patient.sex"] for report in found] == ["female"] * 3
    assert [reject.row for reject in rejects] == [3]


def test_fhir_that_is_no_report_is_an_error(tmp_path):
    with pytest.raises(FileFormatError, match="DiagnosticReport"):
        _read(tmp_path, _bundle(WOMAN))
    with pytest.raises(FileFormatError, match="factory prompts extract"):
        read_table(tmp_path / "b.json")
    with pytest.raises(LocationError):
        read_reports(tmp_path / "none.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match="folder"):
        read_reports(tmp_path / "empty")


@pytest.mark.parametrize(
    ("born", "seen", "age"),
    [
        ("1950-03-10", "2013-03-09", 62.0),
        ("1950-03-10", "2013-03-10T00:00:00Z", 63.0),
        ("1950-03", "2013-04", 63.0),
        ("1950-03", "2013-03-15", None),
        ("1950", "2013-05-01", None),
        ("2013-01-01", "2013-07-02", 0.5),
        ("2013-01-01", "2012-01-01", None),
        ("1850-01-01", "2012-01-01", None),
        ("1950-02-30", "2012-01-01", None),
        (1950, "2012-01-01", None),
        (None, None, None),
    ],
)
def test_an_age_is_stated_where_the_dates_decide_it(born, seen, age):
    assert age_between(born, seen) == age


@given(st.dates(), st.dates())
@settings(deadline=None)
def test_birthdays_are_counted(born, seen):
    age = age_between(born.isoformat(), seen.isoformat())
    if age is not None and age >= 2:
        assert abs((seen - born).days / 365.2425 - age - 0.5) < 0.51


@given(st.text(max_size=80))
def test_markup_never_leaves_tags(text):
    try:
        assert (
            markup_text(f"<p>{text.replace('<', '').replace('&', '')}</p>").split()
            == text.replace("<", "").replace("&", "").split()
        )
    except ValueError:
        return


def test_the_hash_is_that_of_the_text():
    assert report_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
