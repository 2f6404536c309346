"""The fidelity report: its figures against closed forms and trusted implementations, its commands and files."""

import json
import random as pyrandom
from functools import cache

import numpy as np
import pytest
from scipy.stats import contingency
from typer.testing import CliRunner

from manifests.anatomy import table_hash
from manifests.case import CaseRecord
from manifests.errors import FactoryError, InvalidValueError
from prompts.cli import app
from prompts.fidelity import Reference, column_values, compare, quasi_identifiers
from prompts.fidelity_report import candidates
from prompts.render import render
from prompts.sampling import load_distribution
from prompts.schema import Patient, Prompt, Tumour
from prompts.table import PromptRow, read_prompts, write_prompts


@cache
def _table(n=300):
    """Women have larger tumours, larger tumours are T3; a tenth of ages is unstated."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(n):
        sex = "female" if random.random() < 0.4 else "male"
        size = float(round(random.normal(60 if sex == "female" else 40, 10)))
        age = None if index % 10 == 0 else float(random.integers(30, 85))
        stage = "T3" if size > 50 else "T1a"
        tumour = Tumour(organ="kidney", side="left" if index % 2 else "right", size_mm=max(size, 5.0), t_stage=stage)
        rows.append(Prompt(patient=Patient(sex=sex, age_years=age), tumours=(tumour,)))
    return tuple(rows)


def _shuffled_sex():
    """The same columns, the sexes dealt anew."""
    sexes = [row.patient.sex for row in _table()]
    pyrandom.Random(0).shuffle(sexes)
    return [
        row.model_copy(update={"patient": row.patient.model_copy(update={"sex": sex})})
        for row, sex in zip(_table(), sexes, strict=True)
    ]


def test_associations_agree_with_trusted_implementations():
    figures = Reference(_table()).itself().association
    sexes, stages = (np.array(column_values(_table(), name)) for name in ("sex", "t_stage"))
    counts = contingency.crosstab(sexes, stages).count
    assert figures[("sex", "t_stage")] == pytest.approx(contingency.association(counts, method="cramer"))
    ranks = np.argsort(np.argsort(column_values(_table(), "size_mm"), kind="stable"))
    groups = [ranks[sexes == sex] for sex in ("male", "female")]
    between = sum(len(group) * (group.mean() - ranks.mean()) ** 2 for group in groups)
    assert figures[("sex", "size_mm")] == pytest.approx(
        np.sqrt(between / ((ranks - ranks.mean()) ** 2).sum()), abs=0.01
    )
    assert ("age_years", "age_years stated") not in figures
    assert ("age_years stated", "age_years") not in figures
    assert not any("contrast_phase" in pair for pair in figures)


def test_total_variation_in_closed_form():
    reference = Reference([Prompt(patient=Patient(sex=sex)) for sex in ["male"] * 6 + ["female"] * 5 + [None] * 9])
    found = reference.measure([Prompt(patient=Patient(sex=sex)) for sex in ["male"] * 3 + ["female"] * 5])
    assert found.tv == {"sex": pytest.approx(0.5 * (abs(6 / 20 - 3 / 8) + abs(5 / 20 - 5 / 8) + 9 / 20))}


def test_a_table_equals_itself():
    one = compare(Reference(_table()), _table(), "itself", bootstraps=3)
    means = one.sampled.means()
    assert means["marginal_tv"] == means["pair_error"] == means["pair_tv"] == 0
    assert means["cells_hit"] == 1
    assert one.sampled.ks["size_mm"] == 0
    assert one.privacy.identical == 300
    assert one.privacy.identical_below > 250
    assert one.privacy.nearest_smallest == one.privacy.nearest_median == 0


def test_lost_associations_show_where_they_were():
    reference = Reference(_table())
    one = compare(reference, _shuffled_sex(), "shuffled", bootstraps=5)
    assert one.sampled.means()["marginal_tv"] == 0
    assert one.sampled.pair_error[("sex", "size_mm")] > 5 * one.limit.pair_error[("sex", "size_mm")]
    assert one.sampled.pair_error[("t_stage", "size_mm")] == 0
    assert one.ratios()["pair_tv"] > one.ratios()["marginal_tv"]


def test_the_limit_falls_with_the_root_of_the_rows():
    reference = Reference(_table())
    few, many = (reference.bootstrap(n, 12).means()["marginal_tv"] for n in (100, 1600))
    assert 2.5 < few / many < 6


def test_quasi_identifiers_see_every_field():
    row = _table()[3]
    for other in (
        row.model_copy(update={"patient": row.patient.model_copy(update={"age_years": 31.5})}),
        row.model_copy(update={"absent_organs": ("spleen",)}),
        row.model_copy(update={"tumours": (*row.tumours, Tumour(organ="liver"))}),
        row.model_copy(update={"tumours": (row.tumours[0].model_copy(update={"n_stage": "N1"}),)}),
    ):
        assert quasi_identifiers(other) != quasi_identifiers(row)
    assert quasi_identifiers(Prompt.model_validate(row.model_dump())) == quasi_identifiers(row)


def _record(index, status, prompt):
    return CaseRecord(
        case_id=f"c{index}",
        status=status,
        index=index,
        prompt_json=None if prompt is None else prompt.model_dump_json(),
        factory_version="0",
        anatomy_table=table_hash(),
    )


def test_candidates_of_a_build_before_and_after_the_gate():
    """A gate that refuses large tumours: what is accepted has drifted, what was asked has not."""
    large = [row.tumours[0].size_mm > 55 for row in _table()]
    records = [
        _record(index, "rejected" if big else "accepted", row)
        for index, (row, big) in enumerate(zip(_table(), large, strict=True))
    ]
    tables = dict(candidates([*records, _record(999, "accepted", None)], "d"))
    assert len(tables["before the gate"]) == 300
    assert len(tables["after the gate"]) == 300 - sum(large)
    before, after = (compare(Reference(_table()), rows, name, bootstraps=3) for name, rows in tables.items())
    assert before.sampled.tv["size_mm"] == 0
    assert after.sampled.tv["size_mm"] > 0.15
    with pytest.raises(InvalidValueError, match="no accepted case"):
        candidates([_record(0, "rejected", _table()[0])], "d")


def _run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_fit_sample_and_fidelity_end_to_end(tmp_path):
    source, toml, drawn, report = (tmp_path / name for name in ("t.parquet", "d.toml", "s.parquet", "report"))
    write_prompts(source, [PromptRow(row, render(row), f"t#{i}") for i, row in enumerate(_table())])
    fitted = json.loads(_run("fit", source, "--out", toml, "--min-count", 6, "--json").stdout)
    assert fitted["rows"] == 300
    assert load_distribution(toml).min_count == 6
    assert _run("sample", toml, "--n", 120, "--mode", "balanced", "--out", drawn).exit_code == 0
    rows = read_prompts(drawn)
    assert [sum(row.prompt.tumours[0].side == side for row in rows) for side in ("left", "right")] == [60, 60]
    assert rows[3].source.startswith("sample:t:balanced:0#3")
    shown = _run("fidelity", source, drawn, "--bootstraps", 2, "--out", report)
    assert shown.exit_code == 0
    assert "0 rows equal a patient's quasi-identifiers" in shown.stdout
    assert {path.name for path in report.iterdir()} == {
        *("fidelity.md", "fidelity.json", "marginals.png", "associations-1.png")
    }
    assert (report / "marginals.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads(_run("fidelity", source, drawn, "--bootstraps", 2, "--json").stdout)
    assert figures["comparisons"][0]["tv"] == json.loads((report / "fidelity.json").read_text())["comparisons"][0]["tv"]
    assert figures["comparisons"][0]["privacy"]["identical"] == 0


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "none.parquet", "--out", "d.toml"],
        ["fit", "t.parquet", "--out", "no/such/d.toml"],
        ["fit", "t.parquet", "--out", "d.toml", "--min-count", "1"],
        ["sample", "t.parquet", "--out", "s.parquet", "--mode", "best"],
        ["sample", "t.toml", "--out", "s.parquet"],
        ["fidelity", "t.parquet"],
        ["fidelity", "t.parquet", "none.parquet"],
        ["fidelity", "t.parquet", "--dataset", "."],
        ["fidelity", "t.parquet", "t.parquet", "--bootstraps", "1", "--out", "t.parquet"],
    ],
)
def test_bad_input_ends_with_status_2_and_writes_nothing(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path / "t.parquet", [PromptRow(row, render(row), "t") for row in _table()[:20]])
    done = _run(*command)
    assert isinstance(done.exception, FactoryError)
    assert done.exception.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_reference_needs_rows():
    with pytest.raises(InvalidValueError):
        Reference([])
    with pytest.raises(InvalidValueError):
        compare(Reference(_table()), [], "nothing")
