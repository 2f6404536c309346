"""The paper's tables: every published figure, ours beside it, and nothing where nothing was measured."""

import csv
import io
import json
from statistics import fmean

import pytest

from downstream.results import Result, Results
from downstream.tables.formats import FORMATS, records, render
from downstream.tables.paper import paper_tables
from downstream.tables.published import published_sweep, published_tables
from manifests.errors import FileFormatError, LocationError

TABLES = {table.key: table for table in published_tables()}


def value(key, method, column):
    table = TABLES[key]
    row = next(row for row in table.rows if row.method == method)
    return dict(zip((column.title for column in table.columns), row.cells, strict=True))[column].values


def test_every_published_figure_is_there_once():
    counts = {key: sum(len(cell.values) for row in table.rows for cell in row.cells) for key, table in TABLES.items()}
    assert counts == {
        "image-prompt": 20,
        "image-mask": 55,
        "mask-prompt": 5,
        "mask-prompt-left-lung": 4,
        "mask-prompt-right-lung": 4,
        "mask-prompt-kidney": 4,
        "mask-prompt-colon": 16,
        "quality-ct": 15,
        "quality-masks": 15,
        "quality-ablation": 19,
        "version-1": 7,
        "downstream-tumour-dsc": 24,
        "downstream-tumour-hd95": 24,
        "downstream-btcv": 72,
        "downstream-amos": 78,
    }


@pytest.mark.parametrize(
    ("key", "method", "column", "printed"),
    [
        ("image-prompt", "GuideGen", "Tumour loc.", (0.89,)),
        ("image-prompt", "GenerateCT", "Race", (0.44,)),
        ("image-mask", "MedSyn", "Duo", (0.01,)),
        ("image-mask", "GuideGen", "Avg", (0.65,)),
        ("quality-ct", "GuideGen, text", "FVD", (791.0, 745.0)),
        ("quality-masks", "GuideGen", "Organs FID", (7.1,)),
        ("quality-ablation", "no HDR", "DSC", (0.36,)),
        ("quality-ablation", "no mask", "DSC", ()),
        ("downstream-tumour-dsc", "GuideGen", "CO", (0.21,)),
        ("downstream-tumour-hd95", "MedDDPM", "LU", (776.0,)),
        ("downstream-btcv", "Zhuang's", "PV&SV", (0.56,)),
        ("downstream-amos", "Real", "Bla", (0.82,)),
    ],
)
def test_values_are_those_printed(key, method, column, printed):
    assert value(key, method, column) == printed


def test_printed_means_are_those_of_their_rows():
    """To a hundredth, and 0.011 in the one row where the sources themselves differ."""
    checked = 0
    for table in TABLES.values():
        for row in table.rows if table.mean else ():
            cells = dict(zip((column.title for column in table.columns), row.cells, strict=True))
            mean = fmean(cells[title].values[0] for title in table.mean)
            odd = (table.key, row.method) == ("downstream-btcv", "Real")
            assert row.cells[-1].values[0] == pytest.approx(
                mean, abs=0.0111 if odd else 0.0067 * 10 ** (2 - table.digits[-1])
            )
            checked += 1
    assert checked == 4 + 5 + 6 + 6 + 6 + 6


def test_tables_that_repeat_a_figure_agree():
    assert value("quality-ablation", "full", "Acc") == value("image-prompt", "GuideGen", "Avg")
    assert value("quality-ablation", "full", "DSC") == value("downstream-tumour-dsc", "GuideGen", "Avg")
    assert value("quality-ablation", "full", "FID")[0] in value("quality-ct", "GuideGen, text", "FID")


def test_places_are_right_as_often_as_the_matrices_say():
    shares = [round(cell.values[0], 2) for cell in TABLES["mask-prompt"].rows[0].cells[:5]]
    assert shares == [0.85, 0.83, 0.89, 0.71, 0.80]
    rows = [sum(cell.values[0] for cell in row.cells) for row in TABLES["mask-prompt-colon"].rows]
    assert rows == [50, 50, 54, 50]


@pytest.fixture
def run(tmp_path):
    """Write a finished run: `run(name, about, rows)` with rows of (arm, structure, metric, values by case)."""

    def write(name, about, rows):
        folder = tmp_path / name
        scores = [
            Result(f"case{number}", structure, metric, one, arm)
            for arm, structure, metric, values in rows
            for number, one in enumerate(values)
        ]
        Results(scores).write(folder / "scores.csv")
        (folder / "results.json").write_text(json.dumps(about))
        return folder

    return write


def own(tables, key):
    return [row for table in tables if table.key == key for row in table.rows if row.run]


def test_without_runs_nothing_is_ours():
    tables = paper_tables([])
    assert not [row for table in tables for row in table.rows if row.run]
    sweep = tables[-1]
    assert [column.title for column in sweep.columns] == ["0", "100", "200", "500", "1000"]
    assert not [cell for row in sweep.rows for cell in row.cells if cell.values]


def test_a_run_fills_its_cells_and_no_others(run):
    about = {
        "bench": "usability",
        "scheme": "kits",
        "origin": "ingest kits",
        "plan": "nano",
        "arms": {"real": {"train": 40}, "synthetic:200": {"train": 200}},
    }
    rows = [("real", "tumour", "dice", [0.5, 0.7]), ("synthetic:200", "tumour", "dice", [0.2, 0.4])]
    rows += [("real", "tumour", "paper_dice", [0.6, 0.8]), ("real", "kidney", "dice", [0.9, 0.9])]
    folder = run("kits", about, rows)
    tables = paper_tables([folder])
    real, synthetic = own(tables, "downstream-tumour-dsc")
    assert (real.method, real.n, synthetic.method) == ("ours, real, nano", "40", "ours, synthetic:200, nano")
    assert [cell.values for cell in real.cells] == [(), (), (0.6,), ()]
    assert not own(tables, "downstream-tumour-hd95")
    assert not own(tables, "downstream-btcv")
    (paper,) = own(paper_tables([folder], paper_convention=True), "downstream-tumour-dsc")
    assert paper.cells[2].values == (pytest.approx(0.7),)
    mixed = own(tables, "downstream-sweep")
    assert [cell.values for cell in mixed[0].cells] == [(), (), (pytest.approx(0.3),), (), ()]


def test_other_data_under_the_same_labels_fill_no_benchmark(run):
    folder = run("world", {"bench": "usability", "scheme": "kits", "origin": ""}, [("real", "tumour", "dice", [0.5])])
    assert not own(paper_tables([folder]), "downstream-tumour-dsc")


def test_runs_share_a_row_and_the_mean_waits_for_all_of_them(run):
    folders = []
    for scheme, origin, label, dice in (
        ("kits", "ingest kits", "tumour", 0.6),
        ("msd-lung", "ingest msd", "cancer", 0.3),
        ("msd-colon", "ingest msd", "colon cancer primaries", 0.9),
    ):
        about = {"bench": "usability", "scheme": scheme, "origin": origin, "arms": {"real": {"train": 4}}}
        folders.append(run(scheme, about, [("real", label, "dice", [dice])]))
    (two,) = own(paper_tables(folders[:2]), "downstream-tumour-dsc")
    assert not two.cells[-1].values
    (three,) = own(paper_tables(folders), "downstream-tumour-dsc")
    assert three.n == "4/4/4"
    assert [cell.values for cell in three.cells] == [(0.3,), (0.9,), (0.6,), (pytest.approx(0.6),)]


def test_both_kidneys_make_one_column_case_by_case(run):
    rows = [("real", "left kidney", "dice", [1.0, 0.5]), ("real", "right kidney", "dice", [0.0])]
    folder = run("btcv", {"bench": "usability", "scheme": "btcv13", "origin": "ingest btcv"}, rows)
    (row,) = own(paper_tables([folder]), "downstream-btcv")
    assert row.cells[1].values == (0.5,)


def test_measures_of_whole_sets_are_taken_as_they_are(tmp_path):
    head = "measure,structure,value,low,high,null,p,real,synthetic,note\n"
    (tmp_path / "measures.csv").write_text(
        f"{head}fid_2_5d,,31.5,nan,nan,nan,nan,50,60,\nfvd,,nan,nan,nan,nan,nan,50,60,few\n"
    )
    (row,) = own(paper_tables([tmp_path]), "quality-ct")
    assert [cell.values for cell in row.cells] == [(), (31.5,), ()]


def test_tumours_of_an_alignment_are_read_from_its_cases(tmp_path):
    rows = [
        Result("a", "tumour", "position", 1.0, "mask-prompt"),
        Result("b", "tumour", "position", 0.5, "mask-prompt"),
    ]
    Results([*rows, Result("a", "liver", "dice", 0.9, "image-mask")]).write(tmp_path / "cases.csv")
    tables = paper_tables([tmp_path])
    assert [cell.values for cell in own(tables, "mask-prompt")[0].cells] == [(), (), (), (), (0.75,), ()]
    assert own(tables, "image-mask")[0].cells[2].values == (0.9,)


@pytest.mark.parametrize("form", list(FORMATS))
def test_formats_hold_the_same_figures(run, form):
    about = {"bench": "usability", "scheme": "kits", "origin": "ingest kits"}
    tables = paper_tables([run("kits_1", about, [("real", "tumour", "dice", [0.512, 0.734, 0.611])])])
    text = render(tables, form)
    assert ("kits\\_1" if form == "latex" else "kits_1") in text
    assert "0.62" in text or "0.619" in text
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(list(records(tables)))
        assert all(row["value"] for row in rows)
        assert {row["source"] for row in rows} == {"slides", "note", "v1", "ours"}
    if form == "latex":
        assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(tables)
        assert "PV\\&SV" in text


def test_folders_that_are_no_runs_are_refused(run, tmp_path):
    with pytest.raises(LocationError, match=r"no results\.json"):
        paper_tables([tmp_path])
    with pytest.raises(FileFormatError, match="no `bench`"):
        paper_tables([run("old", {"mean": 1}, [])])


def test_the_sweep_has_no_published_figures():
    assert published_sweep().sizes == (0, 100, 200, 500, 1000)
