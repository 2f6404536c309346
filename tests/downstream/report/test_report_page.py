"""The page: it stands alone, escapes what it is given, is the same every time, and refuses what it cannot show."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from downstream.report.report import report, view
from downstream.results import Result, Results
from factory.cli import main
from manifests.case import Attributes
from manifests.errors import FileFormatError, InvalidValueError, LocationError
from manifests.testing import example_record

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with attributes, visible text, and the content of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.scripts and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def parsed(made):
    return Page(made.page.read_text(encoding="utf-8"))


@pytest.fixture
def refused(box_dataset):
    """Five delivered cases and a refused one of another phase."""

    def build(name="<i>boxes&", reason="contrast-phase: asked arterial, enhancement fits native"):
        dataset = box_dataset(5, name=name)
        asked, measured = Attributes(contrast_phase="arterial"), Attributes(contrast_phase="native", sex="male")
        record = example_record(9, "c9", "rejected")
        update = {"requested": asked, "measured": measured, "reasons": (reason,), "prompt_text": HOSTILE}
        dataset.publish(record.model_copy(update=update))
        return dataset

    return build


def run_folder(tmp_path, name="kits"):
    folder = tmp_path / "runs" / name
    rows = [
        Result(f"c{case}", HOSTILE if label == "x" else label, metric, case / 4, arm)
        for case in range(4)
        for label in ("kidney", "x")
        for metric in ("dice", "hd95_mm")
        for arm in ("real", "both")
    ]
    Results(rows).write(folder / "scores.csv")
    facts = {"facts": {"plan": HOSTILE, "nnunetv2": "2.8"}, "out": "/somewhere/else", "mean": {"dice": 0.375}}
    (folder / "results.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def whole(refused, tmp_path):
    run_folder(tmp_path)
    return report(refused(reason=f"hu: {HOSTILE}"), tmp_path / "out", 3, [str(tmp_path / "runs" / "*")])


def test_the_page_loads_nothing_and_runs_one_script(whole):
    page = parsed(whole)
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in {"src", "srcset", "data"}]
    links += [value for tag, attrs in page.tags for name, value in attrs.items() if name == "href" and tag != "a"]
    assert links
    assert all(re.match(r"data:(image/webp;base64,|,$)", link) for link in links)
    assert all(attrs["href"].startswith("#") for attrs in page.all("a"))
    text = whole.page.read_text(encoding="utf-8")
    assert set(re.findall(r"url\(([^)]*)\)", text)) == {"#window-0", "#window-1", "#window-2"}
    assert "@import" not in text
    kinds = [attrs.get("type") for attrs in page.all("script")]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/json"}
    policy = next(attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv"))
    own = page.scripts[kinds.index(None)]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy


def test_hostile_texts_are_shown_and_nothing_else(whole):
    page = parsed(whole)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "<i>boxes&" in page.text
    assert "A male patient with a tumour of the left kidney, p0 <b>&" in page.text
    assert page.text.count(HOSTILE) >= 4  # prompt, reason, structure, fact
    assert not page.all("b") or all("style" in attrs for attrs in page.all("b"))


def test_every_slider_moves_through_the_slices_that_the_page_holds(whole):
    page = parsed(whole)
    figures, sliders = page.all("figure"), [attrs for attrs in page.all("input") if attrs["type"] == "range"]
    data = [json.loads(text) for text, attrs in zip(page.scripts, page.all("script"), strict=True) if attrs]
    assert len(figures) == len(sliders) == len(data) == 9
    assert [attrs["data-plane"] for attrs in figures] == ["axial", "coronal", "sagittal"] * 3
    for attrs, frames in zip(sliders, data, strict=True):
        assert {len(column) for column in frames.values()} == {int(attrs["max"]) + 1}
        assert frames["places"][int(attrs["value"])] == attrs["aria-valuetext"]
        assert frames["offsets"] == sorted(frames["offsets"])
        assert [number for number, picture in enumerate(frames["pictures"]) if not picture] == [int(attrs["value"])]
        assert attrs["aria-label"]
    assert all(attrs["alt"] for attrs in page.all("img"))


def test_equal_datasets_give_equal_pages(refused, tmp_path):
    dataset = refused()
    first, second = (report(dataset, tmp_path / name, 3) for name in ("one", "two"))
    assert first.page.read_bytes() == second.page.read_bytes()
    assert report(dataset, tmp_path / "one", 3).page_bytes == second.page_bytes == second.page.stat().st_size


def test_the_sections_say_what_the_records_say(whole):
    text = re.sub(r"\s+", " ", parsed(whole).text)
    for words in ("cases delivered5", "candidates drawn6", "refused by the gate1", "No voxel is of a patient"):
        assert words in text
    assert "0 % (0\u201398)" in text  # of one candidate that states a phase
    assert "SYNTHETIC" in text
    assert "CC0-1.0" in text
    assert "0.375" in text  # mean DSC of the run
    assert "/somewhere/else" not in text


def test_requested_and_measured_stand_side_by_side(box_dataset, tmp_path):
    page = view(box_dataset(3), tmp_path / "view").page.read_text(encoding="utf-8")
    assert "<td>1 \u00d7 left kidney</td><td>1 \u00d7 left kidney</td>" in page
    assert "<td>1 \u00d7 left kidney</td><td><em>&ndash;</em></td>" in page


def test_view_is_the_same_page_without_slices_and_sections(box_dataset, tmp_path):
    page = parsed(view(box_dataset(5), tmp_path / "view", 3))
    assert len(page.all("article")) == 3
    assert [attrs for attrs in page.all("input") if attrs["type"] == "range"] == []
    assert len(page.all("section")) == 1


@pytest.mark.parametrize("make", [view, report])
@pytest.mark.parametrize(("cases", "n"), [(2, 0), (0, 4)])
def test_nothing_to_draw_is_refused_and_nothing_is_written(box_dataset, tmp_path, make, cases, n):
    with pytest.raises(InvalidValueError):
        make(box_dataset(cases), tmp_path / "out", n)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [view, report])
def test_a_foreign_folder_is_left_alone(box_dataset, tmp_path, make):
    dataset = box_dataset(1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<p>mine")
    for out in (tmp_path / "mine", dataset.root, tmp_path / "mine" / "index.html"):
        with pytest.raises(LocationError, match=r"Choose another --out"):
            make(dataset, out)
    assert (tmp_path / "mine" / "index.html").read_text() == "<p>mine"


def test_a_run_that_is_none_is_refused(box_dataset, tmp_path):
    dataset = box_dataset(1)
    (tmp_path / "empty").mkdir()
    for pattern in ("nowhere", "nothing/*", "empty"):
        with pytest.raises(LocationError, match="run "):
            report(dataset, tmp_path / "out", 1, [str(tmp_path / pattern)])
    (run_folder(tmp_path) / "results.json").write_text("{")
    with pytest.raises(FileFormatError):
        report(dataset, tmp_path / "out", 1, [str(tmp_path / "runs" / "kits")])
    assert not (tmp_path / "out").exists()


def test_the_command_takes_what_a_shell_makes_of_a_pattern(box_dataset, tmp_path, capsys):
    one, two = (str(run_folder(tmp_path, name)) for name in ("a", "b"))
    dataset = box_dataset(2).root
    with pytest.raises(SystemExit) as ended:
        main(["report", str(dataset), "--runs", one, two, "--n", "1", "--out", str(tmp_path / "out"), "--json"])
    made = json.loads(capsys.readouterr().out)
    assert (ended.value.code, made["runs"], made["cases"]) == (0, ["a", "b"], 1)


@pytest.mark.parametrize("where", ["nothing", "."])
def test_no_dataset_is_one_error_with_status_2(tmp_path, capsys, where):
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / where), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out, printed.err.count("error:")) == (2, "", 1)
    assert not (tmp_path / "out").exists()
