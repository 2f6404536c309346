"""Tables through mappings, prompts tables, and the commands, on good and on bad input."""

import json
import os

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.errors import FileFormatError, InputError, InvalidValueError, LocationError, UnknownNameError
from prompts.cli import app
from prompts.mapping import apply_mapping, load_mapping, mapping_names
from prompts.sampling import default_distribution
from prompts.schema import Patient, Prompt, Tumour
from prompts.sources import read_reports, read_table
from prompts.table import ARROW_SCHEMA, PromptRow, read_prompts, write_prompts

GOOD = "id,age,sex,race,organ,site,size_mm,t_stage\n"


def _mapped(path, text, mapping="generic"):
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    return apply_mapping(load_mapping(mapping), read_table(path))


@pytest.mark.parametrize("name", mapping_names())
def test_every_shipped_mapping_loads(name):
    assert load_mapping(name).name == name


def test_a_row_becomes_the_prompt_it_states(tmp_path):
    mapped = _mapped(
        tmp_path / "t.csv", GOOD + "a,63,F,Black or African American,kidney,kidney_left,4.5e1,pT1b\nb,,,,,,,\n"
    )
    (name, first), (_, second) = mapped.prompts
    assert name == "a"
    assert first == Prompt(
        patient=Patient(age_years=63, sex="female", race="black"),
        tumours=(Tumour(organ="kidney", site="kidney_left", size_mm=45, t_stage="T1b"),),
    )
    assert second == Prompt()


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("x,63,F,,kidney,,-4,", "greater than 0"),
        ("x,-3,F,,kidney,,4,", "age_years"),
        ("x,63,F,,kidney,,big,", "'big' is not a number"),
        ("x,63,F,,kidney,,inf,", "not finite"),
        ("x,63,it,,kidney,,4,", "'it' is not in the mapping"),
        ("x,63,F,,toe,,4,", "'toe' is not in the mapping"),
        ("x,63,F,,kidney,liver,4,", "not part of the kidney"),
        ("x,63,F,,prostate,,4,", "female patient has no prostate"),
        ("x,63,F,,,,40,", "without an organ"),
        ("x,63,F,,kidney,,4,T9", "'T9' is not in the mapping"),
        ("x,63,F", "3 values for 8 columns"),
    ],
)
def test_a_bad_row_is_a_reject_with_its_reason(tmp_path, cells, reason):
    mapped = _mapped(tmp_path / "t.csv", f"{GOOD}{cells}\ny,50,m,,lung,,10,\n")
    assert len(mapped.prompts) == 1
    assert reason in mapped.rejects[0].reason
    assert mapped.rejects[0].row == 0
    with pytest.raises(InvalidValueError, match="none of them usable"):
        _mapped(tmp_path / "all.csv", f"{GOOD}{cells}\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_and_delimiters_are_found(tmp_path, encoding, delimiter):
    rows = [["id", "age", "sex", "organ"], ["Müller", "61", "w", "liver"]]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    mapped = _mapped(tmp_path / "t.csv", text.encode(encoding))
    assert mapped.prompts[0][0] == "Müller"
    assert mapped.prompts[0][1].patient.sex == "female"


def test_the_same_rows_in_every_format(tmp_path):
    rows = [
        {"id": "a", "age": 61.0, "sex": "female", "organ": "liver"},
        {"id": "b", "age": None, "sex": "m", "organ": "lung"},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(rows).to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.json").write_text(json.dumps(rows))
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "d.json").write_text(json.dumps({row["id"]: row for row in rows}))
    results = {
        name: apply_mapping(load_mapping("generic"), read_table(tmp_path / name)).prompts
        for name in ("t.csv", "t.tsv", "t.parquet", "t.json", "t.jsonl", "d.json")
    }
    assert len(set(results.values())) == 1
    assert results["t.csv"][1][1].patient == Patient(sex="male")


def test_numbers_that_may_be_two_things_are_rejects(tmp_path):
    cells = {"1,234": None, "1_000": None, "4,5": 4.5, "12,25": 12.25, "0,125": 0.125, "45": 45.0}
    rows = "".join(f'{row};"{cell}"\n' for row, cell in enumerate(cells))
    mapped = _mapped(tmp_path / "t.csv", "id;size_mm;organ\n" + rows.replace("\n", ";liver\n"))
    found = {int(name): prompt.tumours[0].size_mm for name, prompt in mapped.prompts}
    assert found == {row: size for row, size in enumerate(cells.values()) if size}


def test_kits23_writes_na_for_benign_tumours(tmp_path):
    row = {
        "case_id": "c",
        "gender": "transgender_male_to_female",
        "age_at_nephrectomy": ">=90",
        "radiographic_size": 2.4,
    }
    stages = {"pathology_t_stage": "na", "pathology_n_stage": "x", "pathology_m_stage": None}
    other = {"case_id": "d", "gender": "female", "age_at_nephrectomy": 44, "radiographic_size": None}
    mapped = _mapped(
        tmp_path / "kits23.json",
        json.dumps([row | stages, other | dict(zip(stages, ["3", "1", "0"], strict=True))]),
        "kits23",
    )
    assert [prompt for _, prompt in mapped.prompts] == [
        Prompt(patient=Patient(age_years=90), tumours=(Tumour(organ="kidney", size_mm=24),)),
        Prompt(
            patient=Patient(age_years=44, sex="female"),
            tumours=(Tumour(organ="kidney", t_stage="T3", n_stage="N1", m_stage="M0"),),
        ),
    ]


def test_gdc_takes_the_primary_diagnosis_alone(tmp_path):
    head = (
        "cases.submitter_id\tproject.project_id\tdiagnoses.classification_of_tumor\tdiagnoses.ajcc_pathologic_t"
        "\tdiagnoses.tissue_or_organ_of_origin\tdemographic.race\n"
    )
    rows = "A\tCPTAC-3\tmetastasis\tT4\tLiver\tUnknown\nA\tCPTAC-3\tprimary\tTis (DCIS)\tSigmoid colon\tasian\n"
    rows += "D\tTCGA-CHOL\tprimary\tT1\tIntrahepatic bile duct\twhite\n"
    rows += "B\tCPTAC-3\tPrior primary\tT1\tLung, NOS\twhite\nC\tCPTAC-3\t'--\tT2 NOS\tC64.9\tnot reported\n"
    mapped = _mapped(tmp_path / "clinical.tsv", head + rows, "gdc-clinical")
    assert {name: prompt.tumours[0] for name, prompt in mapped.prompts} == {
        "A": Tumour(organ="colon", site="colon_sigmoid", t_stage="Tis"),
        "C": Tumour(organ="kidney", t_stage="T2"),
        "D": Tumour(organ="liver", t_stage="T1"),
    }
    assert [reject.reason.partition(": ")[2] for reject in mapped.rejects] == [
        "a metastasis, not the primary tumour",
        "an earlier primary tumour",
    ]


def test_gdc_json_of_one_and_of_several_diagnoses(tmp_path):
    first = {"ajcc_pathologic_t": "T3a", "tissue_or_organ_of_origin": "Kidney, NOS", "age_at_diagnosis": 21915}
    case = {
        "submitter_id": "A",
        "project": {"project_id": "TCGA-KIRC"},
        "demographic": {"gender": "female", "race": "white"},
    }
    cases = [
        case | {"diagnoses": [first]},
        case | {"submitter_id": "B", "diagnoses": [first, {"ajcc_pathologic_t": "T1"}]},
    ]
    found = dict(_mapped(tmp_path / "clinical.json", json.dumps(cases), "gdc-clinical").prompts)
    assert found["A"].tumours == (Tumour(organ="kidney", t_stage="T3a"),)
    assert found["A"].patient == Patient(age_years=60.0, sex="female", race="white")
    assert found["B"].tumours == (Tumour(organ="kidney"),), "which of two diagnoses is the scan's is not known"


def test_gdc_names_of_both_versions(tmp_path):
    old = (
        "case_submitter_id\tproject_id\tgender\trace\tage_at_diagnosis\tajcc_pathologic_t\ttissue_or_organ_of_origin\n"
    )
    old += "A\tTCGA-COAD\tfemale\tblack or african american\t22100\tT4a\tSigmoid colon\n"
    old += "A\tTCGA-COAD\tfemale\tblack or african american\t22100\tT4a\tSigmoid colon\n"
    old += "B\tTCGA-READ\tmale\t'--\t'--\tTX\tRectum, NOS\nC\tTCGA-BRCA\tfemale\twhite\t'--\tT1\tBreast, NOS\n"
    old += "D\tCPTAC-3\tmale\tasian\t20000\tT1b1\tUpper lobe, lung\n"
    mapped = _mapped(tmp_path / "clinical.tsv", old, "gdc-clinical")
    found = dict(mapped.prompts)
    assert found["A"].patient == Patient(age_years=60.5065, sex="female", race="black")
    assert found["A"].tumours[0] == Tumour(organ="colon", site="colon_sigmoid", t_stage="T4a")
    assert found["B"].tumours[0] == Tumour(organ="colon", site="rectum")
    assert found["D"].tumours[0] == Tumour(organ="lung", t_stage="T1b")
    assert [reject.reason for reject in mapped.rejects] == [
        "row 0 has the same id",
        "tumour.organ: the breast is not in the anatomy vocabulary",
    ]
    new = "cases.submitter_id\tproject.project_id\tdemographic.gender\tdiagnoses.laterality\nZ\tTCGA-KIRC\tmale\tLeft\n"
    assert _mapped(tmp_path / "new.tsv", new, "gdc-clinical").prompts[0][1].tumours[0].site == "kidney_left"


def test_whole_files_that_are_wrong_are_one_error(tmp_path):
    cases = {
        "empty.csv": (b"", FileFormatError),
        "header.csv": (b"id,age\n", FileFormatError),
        "twice.csv": (b"id,id\n1,2\n", FileFormatError),
        "zero.csv": (b"id,age\n\0,2\n", FileFormatError),
        "broken.json": (b"[{", FileFormatError),
        "number.json": (b"3", FileFormatError),
        "corrupt.parquet": (b"PAR1 nothing PAR1", FileFormatError),
        "what.xyz": (b"id", FileFormatError),
        "other.csv": (b"foo,bar\n1,2\n", UnknownNameError),
    }
    for name, (content, kind) in cases.items():
        with pytest.raises(kind, match=name):
            _mapped(tmp_path / name, content)
    with pytest.raises(LocationError):
        read_table(tmp_path / "none.csv")


def test_a_mapping_must_fit_and_be_one(tmp_path):
    table = tmp_path / "t.json"
    table.write_text(json.dumps([{"age_at_nefrectomy": 3, "gender": "male"}]))
    with pytest.raises(UnknownNameError, match="did you mean 'age_at_nefrectomy'"):
        apply_mapping(load_mapping("kits19"), read_table(table))
    with pytest.raises(UnknownNameError, match="kits19"):
        load_mapping("kits99")
    base = 'format = 1\nname = "mine"\n[[field]]\n'
    for body, word in {
        'to = "patient.agee"\ncolumn = "a"': "patient.age_years",
        'to = "patient.sex"': "column or a constant",
        'to = "tumour.size_mm"\ncolumn = "a"\nunit = "parsec"': "parsec",
        'to = "tumour.t_stage"\ncolumn = "a"\npattern = "("': "pattern",
        'to = "tumour.t_stage"\ncolumn = "a"\npattern = "T1"': "no group",
    }.items():
        (tmp_path / "mine.toml").write_text(base + body)
        with pytest.raises(FileFormatError, match=word):
            load_mapping(str(tmp_path / "mine.toml"))


def test_a_prompts_table_is_the_rows_that_were_written(tmp_path):
    rows = [PromptRow(default_distribution().draw(1, i), f"text {i}", f"s#{i}", "v") for i in range(20)]
    path = tmp_path / "p.parquet"
    write_prompts(path, rows)
    assert read_prompts(path) == rows
    assert pq.read_schema(path).equals(ARROW_SCHEMA)
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]
    frame = pd.read_parquet(path)
    organs = [row.prompt.tumours[0].organ if row.prompt.tumours else None for row in rows]
    assert [value if isinstance(value, str) else None for value in frame["tumour_organ"]] == organs
    with duckdb.connect() as database:
        query = f"select count(*) from '{path}' where tumour_organ is not null"
        ((counted,),) = database.execute(query).fetchall()
    assert counted == sum(organ is not None for organ in organs)


def test_a_wrong_prompts_table_names_the_row(tmp_path):
    path = tmp_path / "p.parquet"

    def table(column):
        pq.write_table(pa.table(column), path)
        return path

    with pytest.raises(InvalidValueError, match=r"row 1, tumours\.0\.size_mm"):
        read_prompts(table({"prompt_json": ["{}", '{"tumours":[{"organ":"liver","size_mm":-3}]}']}))
    with pytest.raises(InvalidValueError, match="row 0, prompt_id"):
        read_prompts(table({"prompt_json": ["{}"], "prompt_id": ["p0"]}))
    with pytest.raises(InvalidValueError, match="row 0"):
        read_prompts(table({"prompt_json": [None]}))
    with pytest.raises(FileFormatError, match="prompt_json"):
        read_prompts(table({"text": ["a"]}))
    path.write_bytes(b"PAR1")
    with pytest.raises(FileFormatError):
        read_prompts(path)
    with pytest.raises(LocationError):
        read_prompts(tmp_path / "none.parquet")
    with pytest.raises(LocationError):
        write_prompts(tmp_path / "no" / "p.parquet", [PromptRow(Prompt(), "")])


def test_reports_from_a_folder_and_from_a_table(tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "a.txt").write_text("A 4 cm mass in the right kidney.")
    (folder / "b.txt").write_text("  ")
    (folder / "c.txt").write_text("A 4 cm mass in the right kidney.")
    reports, rejects = read_reports(folder)
    assert [report.source for report in reports] == ["reports#a.txt"]
    assert [reject.reason for reject in rejects] == ["no text", "the same text as a.txt"]
    pd.DataFrame({"x": ["y"]}).to_csv(tmp_path / "t.csv")
    with pytest.raises(UnknownNameError, match="--text-column"):
        read_reports(tmp_path / "t.csv")


def _run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_end_to_end(tmp_path):
    table, out, more = tmp_path / "t.csv", tmp_path / "p.parquet", tmp_path / "s.parquet"
    good = "".join(f"a{age},{age},F,,kidney,kidney_left,45,T1b\n" for age in range(60, 66))
    table.write_text(f"{GOOD}{good}b,70,M,,toe,,4,\n")
    done = json.loads(_run("from-table", table, "--out", out, "--json").stdout)
    assert (done["prompts"], done["rejected"]) == (6, 1)
    assert json.loads((tmp_path / "p.rejects.jsonl").read_text())["id"] == "b"
    assert json.loads(_run("sample", out, "--n", 5, "--out", more, "--json").stdout)["tumour_organs"] == {"kidney": 5}
    assert json.loads(_run("sample", "--n", 4, "--out", more, "--json").stdout)["prompts"] == 4
    reports = tmp_path / "r.csv"
    reports.write_text("report\nA 63-year-old woman diagnosed with colon cancer.\n")
    assert _run("extract", reports, "--text-column", "report", "--out", more).exit_code == 0
    assert "colon" in _run("show", more).stdout
    row = read_prompts(more)[0]
    assert row.prompt.tumours == (Tumour(organ="colon"),)
    assert {item.field for item in row.evidence} == {"patient.age_years", "patient.sex", "tumours.0.organ"}
    assert set(json.loads(_run("mappings", "--json").stdout)) == set(mapping_names())
    copied = tmp_path / "mine.toml"
    copied.write_text(_run("mappings", "generic").stdout)
    assert load_mapping(str(copied)) == load_mapping("generic")
    assert json.loads(_run("mappings", "kits23", "--json").stdout)["name"] == "kits23"


def test_file_names_may_be_any_bytes(tmp_path):
    table = tmp_path / os.fsdecode(b"t\xff.csv")
    table.write_text(GOOD + "a,63,F,,kidney,kidney_left,45,T1b\nb,70,M,,toe,,4,\n")
    assert _run("from-table", table, "--out", tmp_path / "p.parquet").exit_code == 0
    assert read_prompts(tmp_path / "p.parquet")[0].source == "t\\udcff.csv#a"


def test_a_place_that_cannot_be_written_is_refused_first(tmp_path):
    for out in (".", tmp_path, tmp_path / "none" / "p.parquet"):
        assert isinstance(_run("from-table", tmp_path / "missing.csv", "--out", out).exception, LocationError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["from-table"], ["sample"], ["extract"]])
def test_bad_input_writes_nothing(tmp_path, command):
    bad, out = tmp_path / "bad.parquet", tmp_path / "out.parquet"
    bad.write_bytes(b"no")
    result = _run(*command, bad, "--out", out)
    assert isinstance(result.exception, InputError)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.parquet"]
