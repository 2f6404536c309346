"""The table, the marked evidence and the page: nothing lost, nothing executed, nothing loaded."""

import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from factory.cli import app, main
from prompts.cli.finish import plain_row
from prompts.highlight import KINDS, field_kind, field_label, pieces
from prompts.listing import UNSTATED, cells, evidence_lines, flag_lines, table_lines
from prompts.page import page
from prompts.render import TEMPLATE_VERSION, render
from prompts.rules import extract
from prompts.schema import Patient, Prompt, Tumour
from prompts.sources import report_hash
from prompts.table import Evidence, PromptRow, write_prompts
from prompts.testing import prompts

REPORTS = (
    "58 yo F with 4.2 x 3.1 cm left upper lobe mass.",
    'Male, 70. <script>alert("x")</script> & "Two hepatic tumours" \x1b[31m stage T2 N0',
    "Nothing is said here.",
)


def _row(text, keep=False, flags=()):
    found = extract(text)
    kept = text if keep else None
    return PromptRow(
        found.prompt,
        render(found.prompt),
        f"reports.csv#{text[:4]}",
        TEMPLATE_VERSION,
        found.evidence,
        extractor="rules-0",
        report_hash=report_hash(text),
        report_text=kept,
        flags=flags,
    )


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=60),
    st.lists(st.tuples(st.integers(-3, 65), st.integers(-3, 65)).map(lambda span: Evidence("patient.sex", *span))),
)
@example("", [Evidence("patient.sex", 0, 1)])
def test_pieces_together_are_the_text_and_marks_lie_in_evidence(text, evidence):
    cut = pieces(text, evidence)
    assert "".join(piece.text for piece in cut) == text
    marked = {at for item in evidence if 0 <= item.start < item.end <= len(text) for at in range(item.start, item.end)}
    at = 0
    for piece in cut:
        assert bool(piece.fields) == (at in marked)
        at += len(piece.text)


def test_fields_have_short_names_and_known_kinds():
    known = {
        "patient.age_years": ("age", "patient"),
        "study.contrast_phase": ("phase", "study"),
        "tumours.1.size_mm": ("tumour 2 size", "size"),
        "tumours.0.t_stage": ("tumour 1 T", "stage"),
        "tumours.0.site": ("tumour 1 site", "place"),
        "absent_organs.0": ("absent", "organs"),
    }
    for name, (label, kind) in known.items():
        assert (field_label(name), field_kind(name)) == (label, kind)
        assert kind in KINDS


@settings(max_examples=25, deadline=None)
@given(st.lists(prompts(), min_size=1, max_size=3), st.integers(70, 200))
def test_the_table_fits_the_terminal_and_loses_no_letter(several, width):
    lines = list(table_lines([plain_row(prompt, "t#1") for prompt in several], width))
    assert max(map(len, lines)) <= width
    printed = Counter("".join("".join(lines).split()))
    stated = [value for prompt in several for value in cells(prompt).values() if value != UNSTATED]
    assert printed >= Counter("".join("".join(stated).split()))


def test_columns_are_aligned_and_unstated_is_a_dash():
    rows = [
        plain_row(Prompt(patient=Patient(sex="male")), "a"),
        plain_row(Prompt(tumours=(Tumour(organ="liver"),)), "b"),
    ]
    head, _, first, second = table_lines(rows, 80)
    assert head.split() == ["#", "patient", "tumours", "source"]
    assert first.index("male") == head.index("patient") == second.index("\u2013")
    assert second.index("liver") == head.index("tumours") == first.index("none")


def test_evidence_is_bracketed_or_coloured_and_control_characters_are_gone():
    rows = [_row(REPORTS[0]), _row(REPORTS[1])]
    texts = {report_hash(text): text for text in REPORTS}
    plain = " ".join(" ".join(evidence_lines(rows, texts, 90, colour=False)).split())
    assert "[age: 58 yo] [sex: F]" in plain
    assert "[tumour 1 size: 4.2 x 3.1 cm]" in plain
    assert "\x1b" not in plain
    coloured = "\n".join(evidence_lines(rows, texts, 90, colour=True))
    assert set(re.findall(r"\x1b\[[^m]*m", coloured)) <= {
        f"\x1b[{code}m" for code in ("0", *(f"30;4{n}" for n in range(1, 7)))
    }
    assert "not in the given source" in " ".join(evidence_lines(rows, {}, 90, colour=False))


def test_flags_name_their_row():
    rows = [_row(REPORTS[2]), _row(REPORTS[0], flags=("dropped tumours.0.size_mm=9: quote not in the text",))]
    assert list(flag_lines(rows)) == ["row 1: dropped tumours.0.size_mm=9: quote not in the text"]


class _Reader(HTMLParser):
    """What a browser would see: elements, their attributes, visible text and scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.scripts, self.inside = [], [], "", "", ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *item) for item in attrs]
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts += data
        elif self.inside != "style":
            self.text += data


def _read(rows, texts):
    reader = _Reader()
    reader.feed(page(rows, texts, "Prompts <of> all"))
    return reader


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20))
@example("<script>alert(1)</script><img src=x onerror=alert(1)>", "<svg onload=alert(1)>")
@example("</p></article></main>--><style>*{display:none}", "\" onclick='x'")
def test_hostile_reports_stay_text(report, flag):
    row = _row(report, keep=True, flags=(flag,))
    safe, hostile = _read([_row("safe", keep=True, flags=("f",))], {}), _read([row], {})
    assert hostile.tags.count("script") == 1
    assert hostile.scripts == safe.scripts
    assert {name for _, name, _ in hostile.attributes} <= {name for _, name, _ in safe.attributes} | {"title"}
    assert not any(name.startswith("on") for _, name, _ in hostile.attributes)
    if "\x00" not in report + flag and "\r" not in report + flag:
        assert report in hostile.text


def test_the_page_needs_nothing_else_and_marks_evidence():
    texts = {report_hash(text): text for text in REPORTS}
    seen = _read([_row(text, flags=("a remark",)) for text in REPORTS], texts)
    assert not {"link", "img", "iframe", "object"} & set(seen.tags)
    assert not any(name in ("src", "href", "action") for _, name, _ in seen.attributes)
    titles = {value for tag, name, value in seen.attributes if (tag, name) == ("mark", "title")}
    assert {"age", "sex", "tumour 1 size", "tumour 1 organ, tumour 1 site"} <= titles
    for text in (REPORTS[0], REPORTS[2], "a remark", "Prompts <of> all", "3 prompts, 3 with their report, 3 flagged"):
        assert text in seen.text
    organs = [value for tag, name, value in seen.attributes if (tag, name) == ("article", "data-organ")]
    assert organs == ["lung", "liver", "no tumour"]


@pytest.fixture
def made(tmp_path):
    """A prompts table and the source that its reports stand in."""
    source = tmp_path / "reports.jsonl"
    source.write_text("".join(json.dumps({"words": text}) + "\n" for text in REPORTS), encoding="utf-8")
    table = tmp_path / "prompts.parquet"
    write_prompts(table, [_row(text) for text in REPORTS])
    return table, source


def _show(*arguments):
    result = CliRunner().invoke(app, ["prompts", "show", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_show_joins_reports_by_their_hash(made):
    table, source = made
    assert "evidence" not in _show(table)
    assert "[tumour 1 size: 4.2 x 3.1 cm]" in " ".join(
        _show(table, "--reports", source, "--text-column", "words").split()
    )
    rows = json.loads(_show(table, "--reports", source, "--text-column", "words", "--json"))["rows"]
    assert [row["prompt_id"] for row in rows] == [extract(text).prompt.prompt_id for text in REPORTS]
    quotes = {item["field"]: item["quote"] for item in rows[0]["evidence"]}
    assert quotes["patient.age_years"] == "58 yo"
    assert "quote" not in json.loads(_show(table, "--json"))["rows"][0]["evidence"][0]


def test_show_writes_a_page_of_all_rows(made, tmp_path):
    table, source = made
    out = tmp_path / "page.html"
    assert "3 prompts" in _show(table, "--reports", source, "--text-column", "words", "--html", out)
    assert out.read_text(encoding="utf-8").count("<article") == 3


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (("--reports", "none.csv"), "no such file"),
        (("--text-column", "words"), "--reports"),
        (("--html", "missing/page.html"), "writable"),
    ],
)
def test_show_says_what_is_wrong(made, tmp_path, capsys, monkeypatch, extra, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["prompts", "show", str(made[0]), *extra])
    assert left.value.code == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
