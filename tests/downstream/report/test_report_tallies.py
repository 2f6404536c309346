"""What the page counts: which cases it shows, agreement, tallies, and the places of points and bars."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.report.agreement import Met, agreement, size_pairs
from downstream.report.choice import choose
from downstream.report.plots import bars, scatter
from downstream.report.runs import read_run
from downstream.report.tallies import candidates, enhancement, tumours, volumes
from downstream.results import Result, Results
from manifests.case import Attributes, Lesion, StructureMeasure, TumourAttributes
from manifests.testing import example_record


def lesion(organ="liver", size_mm=10.0):
    return Lesion(id=1, organ=organ, site=organ, size_mm=size_mm, volume_ml=1.0, center_mm_xyz=(0, 0, 0))


def case(index, status="accepted", candidate=0, **fields):
    record = example_record(index, f"c{index}-{candidate}", status)
    return record.model_copy(update={"candidate": candidate, "reasons": (), "lesions": (), **fields})


def asked(organ="liver", size_mm=None, count=None, site=None):
    return Attributes(tumours=(TumourAttributes(organ=organ, size_mm=size_mm, count=count, site=site),))


def test_the_extremes_are_shown_and_said_to_be():
    records = [case(number, lesions=(lesion(size_mm=20.0 + number % 5),)) for number in range(20)]
    records[7] = case(7, candidate=3)
    records[11] = case(11, lesions=(lesion(size_mm=90),))
    records[13] = case(13, lesions=(lesion(size_mm=4),))
    why = {choice.record.index: choice.why for choice in choose(records, 4)}
    assert why[7].startswith("Most candidates: 4")
    assert why[11] == "Largest tumour: 90 mm"
    assert why[13] == "Smallest tumour: 4 mm"
    assert "" in why.values()


def test_what_is_rare_is_shown():
    records = [case(number, lesions=(lesion("liver"),), drawn=Attributes(sex="male")) for number in range(50)]
    records[31] = case(31, lesions=(lesion("pancreas"),), drawn=Attributes(sex="female"))
    assert 31 in {choice.record.index for choice in choose(records, 2)}


@settings(max_examples=30)
@given(st.integers(0, 12), st.integers(1, 15))
def test_as_many_as_asked_for_each_once_in_order(cases, n):
    records = [case(number, candidate=number % 3) for number in range(cases)]
    shown = [choice.record.index for choice in choose(records, n)]
    assert shown == sorted(set(shown))
    assert len(shown) == min(n, cases)


def test_agreement_tells_candidates_from_delivered_cases():
    native, arterial = Attributes(contrast_phase="native"), Attributes(contrast_phase="arterial")
    records = [
        case(0, requested=native, measured=native),
        case(1, "rejected", requested=native, measured=arterial),
        case(2, measured=native),
        case(3, "failed", requested=native),
        case(4, requested=Attributes(sex="male"), measured=native),  # a chest alone shows no sex
    ]
    (row,) = agreement(records)
    assert (row.attribute, row.candidates, row.delivered) == ("contrast phase", Met(1, 2), Met(1, 1))
    assert row.candidates.text == "50 % (1\u201399)"
    assert Met(0, 0).text == "\u2013"


def test_metastases_are_no_tumours_of_the_prompt():
    metastasis = TumourAttributes(organ="liver", site="liver", count=9, size_mm=8)
    there = TumourAttributes(organ="lung", site="lung_upper_lobe_left", count=1, size_mm=30)
    spread = TumourAttributes(organ="lung", site="lung_lower_lobe_right", count=4, size_mm=44)
    record = case(
        0,
        requested=asked("lung", size_mm=28, count=1),
        drawn=Attributes(tumours=(there,)),
        measured=Attributes(tumours=(there, spread, metastasis)),
    )
    assert {row.attribute: row.candidates for row in agreement([record])} == {
        "tumour organ": Met(1, 1),
        "tumour count": Met(1, 1),
    }
    (pair,) = size_pairs([record])
    assert (pair.asked_mm, pair.measured_mm, pair.stated) == (28, 30, True)


def test_candidates_and_what_became_of_them():
    records = [
        case(0),
        case(1, "rejected", reasons=("hu: high",)),
        case(1, candidate=1),
        case(2, "rejected", reasons=("volume: small",), prompt_text="hard"),
        case(2, "failed", 1, reasons=("no place",)),
    ]
    found = candidates(records)
    assert (found.drawn, found.accepted, found.rejected, found.failed) == (5, 2, 2, 1)
    assert found.tries == {1: 1, 2: 1}
    assert found.unfilled == (("hard", "volume: small; no place"),)


def test_tumours_and_volumes_are_summed_by_name():
    liver = StructureMeasure(name="liver", volume_ml=1800.0, hu_mean=110, hu_sd=9, components=1)
    rib = StructureMeasure(name="rib_left_1", volume_ml=9.0, hu_mean=300, hu_sd=9, components=1)
    male = Attributes(sex="male", contrast_phase="portal_venous")
    two = (lesion(size_mm=10), lesion(size_mm=30))
    records = [case(number, drawn=male, structures=(liver, rib), lesions=two) for number in range(2)]
    (organ,) = tumours(records)
    assert (organ.organ, organ.cases, organ.lesions, organ.size_mm) == ("liver", 2, 4, "20 (10\u201330)")
    (volume,) = volumes(records)
    assert (volume.name, volume.cases, volume.median_ml) == ("liver", 2, 1800)
    assert 40 < volume.ratio.mid < 60
    ((name, [(phase, count, strip)]),) = enhancement(records)
    assert (name, phase, count) == ("liver", "portal_venous", 2)
    assert abs(strip.mid - strip.mark) < 5


@settings(max_examples=20)
@given(st.lists(st.floats(2, 200), min_size=1, max_size=8))
def test_a_size_that_is_met_lies_on_the_line(sizes):
    records = [
        case(number, requested=asked(size_mm=size), measured=asked(size_mm=size)) for number, size in enumerate(sizes)
    ]
    records = [record.model_copy(update={"drawn": record.measured}) for record in records]
    plot = scatter(list(size_pairs(records)))
    assert len(plot.points) == plot.pairs == len(sizes)
    assert all(point.x + point.y == pytest.approx(plot.edge, abs=0.2) for point in plot.points)
    assert (plot.bias_mm, plot.p95_mm) == (0, 0)


def test_bars_are_the_counts_of_cases():
    phases = ["native", "arterial", "arterial"]
    records = [case(number, requested=Attributes(contrast_phase=phase)) for number, phase in enumerate(phases)]
    records.append(case(3, drawn=Attributes(contrast_phase="native"), measured=Attributes(contrast_phase="delayed")))
    found = {group.attribute: {bar.name: (bar.asked, bar.measured) for bar in group.bars} for group in bars(records)}
    assert found["contrast phase"] == {"native": (2, 0), "arterial": (2, 0), "delayed": (0, 1)}


def test_a_run_shows_the_means_of_its_scores(tmp_path):
    rng = np.random.default_rng(0)
    rows = [Result(f"c{n}", "kidney", "dice", float(rng.uniform()), arm) for n in range(6) for arm in ("a", "b")]
    Results(rows).write(tmp_path / "scores.csv")
    (table,) = read_run(tmp_path).tables
    means = Counter({arm: float(np.mean([row.value for row in rows if row.arm == arm])) for arm in ("a", "b")})
    assert table.arms == ("a", "b")
    assert [strip.text.split()[0] for strip in table.rows[0][1]] == [f"{means[arm]:.3f}" for arm in table.arms]
    assert all(strip.low < strip.mid < strip.high for strip in table.rows[0][1])
