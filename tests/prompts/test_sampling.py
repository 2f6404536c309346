"""Drawing and completing prompts: properties, and agreement with the figures of the distribution."""

import re
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.anatomy import group
from manifests.errors import FileFormatError, InputError, InvalidValueError, LocationError
from prompts.sampling import MODES, complete, default_distribution, load_distribution, sample_table
from prompts.schema import Patient, Prompt, Study, Tumour, tumour_organs
from prompts.testing import prompts


def _drawn(n, seed=5):
    return [default_distribution().draw(seed, index) for index in range(n)]


@settings(max_examples=60, deadline=None)
@given(prompts(), st.integers(0, 2**32))
def test_completing_keeps_what_is_stated_and_states_the_rest(prompt, seed):
    subject = complete(prompt, np.random.default_rng(seed))
    assert len(subject.tumours) == len(prompt.tumours)
    for before, after in zip(
        (prompt.patient, prompt.study, *prompt.tumours), (subject.patient, subject.study, *subject.tumours), strict=True
    ):
        assert before.model_dump(exclude_none=True).items() <= after.model_dump().items()
    assert None not in subject.patient.model_dump().values()
    assert None not in subject.study.model_dump().values()
    absent = {entry.name for name in prompt.absent_organs for entry in group(name)}
    for tumour in subject.tumours:
        assert tumour.site in set(tumour.possible_sites()) - absent
        assert tumour.count is not None
        assert tumour.size_mm is not None
        assert tumour.organ == "spleen" or tumour.n_stage is not None
    assert subject.absent_organs == prompt.absent_organs
    assert complete(subject, np.random.default_rng(0)) == subject


@pytest.mark.parametrize(
    ("stated", "sex"),
    [
        ({"absent_organs": ("uterus",)}, "female"),
        ({"absent_organs": ("prostate",)}, "male"),
        ({"enlarged_organs": ("prostate",)}, "male"),
        ({"absent_organs": ("uterus",), "tumours": (Tumour(organ="prostate"),)}, "male"),
    ],
)
def test_organs_of_one_sex_tell_the_sex(stated, sex):
    drawn = {complete(Prompt(**stated), np.random.default_rng(seed)).patient.sex for seed in range(8)}
    assert drawn == {sex}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"tumours": (Tumour(organ="prostate"), Tumour(organ="uterus"))}, "no patient has both prostate and uterus"),
        ({"tumours": (Tumour(organ="prostate"),), "enlarged_organs": ("uterus",)}, "no patient has both"),
        ({"patient": Patient(sex="male"), "enlarged_organs": ("uterus",)}, "a male patient has no uterus"),
        ({"patient": Patient(sex="female"), "tumours": (Tumour(organ="prostate"),)}, "a female patient has no"),
    ],
)
def test_no_patient_has_organs_of_both_sexes(stated, message):
    with pytest.raises(ValueError, match=message):
        Prompt(**stated)


@pytest.mark.parametrize("organ", tumour_organs())
def test_a_diagnosis_alone_becomes_a_whole_case(organ):
    for seed in range(8):
        subject = complete(Prompt(tumours=(Tumour(organ=organ),)), np.random.default_rng(seed))
        assert subject.tumours[0].organ == organ
        assert subject.tumours[0].site in Tumour(organ=organ).possible_sites()
        assert 18 <= subject.patient.age_years <= 90
        assert subject.study.region == "torso"
        assert {"prostate": "male", "uterus": "female"}.get(organ, subject.patient.sex) == subject.patient.sex


@pytest.mark.parametrize(
    ("organ", "stage", "low", "high"),
    [("kidney", "T1a", 0, 40), ("kidney", "T1", 0, 70), ("kidney", "T2", 70, 400), ("lung", "T1c", 20, 30)],
)
def test_size_and_t_stage_agree_where_tnm_goes_by_size(organ, stage, low, high):
    """TNM, 8th edition: kidney T1a up to 40 mm, T1 up to 70, T2 above; lung T1c above 20 up to 30."""
    for seed in range(25):
        drawn = complete(Prompt(tumours=(Tumour(organ=organ, t_stage=stage),)), np.random.default_rng(seed))
        assert low < drawn.tumours[0].size_mm <= high
        given_size = Prompt(tumours=(Tumour(organ="kidney", size_mm=55.0),))
        assert complete(given_size, np.random.default_rng(seed)).tumours[0].t_stage[:2] in ("T1", "T3", "T4")


def test_liver_stage_follows_the_count():
    for seed in range(30):
        for count, stages in ((1, {"T1b", "T2", "T4"}), (3, {"T2", "T4"})):
            prompt = Prompt(tumours=(Tumour(organ="liver", count=count, size_mm=45.0),))
            assert complete(prompt, np.random.default_rng(seed)).tumours[0].t_stage in stages


def test_weight_and_height_inform_each_other():
    heights = {}
    for weight in (45.0, 110.0):
        prompt = Prompt(patient=Patient(sex="male", age_years=50, weight_kg=weight))
        heights[weight] = np.mean([complete(prompt, np.random.default_rng(i)).patient.height_cm for i in range(60)])
    assert heights[45.0] + 4 < heights[110.0]
    child = Prompt(patient=Patient(age_years=4, sex="female"))
    subject = complete(child, np.random.default_rng(0)).patient
    assert 85 < subject.height_cm < 117
    assert 10 < subject.weight_kg < 26


def test_a_row_does_not_depend_on_how_many_are_drawn():
    table = _drawn(60)
    assert _drawn(20) == table[:20]
    assert sample_table(table[:30], 4, 3)[:2] == sample_table(table[:30], 2, 3)
    assert len({prompt.prompt_id for prompt in table}) > 55


def test_the_default_follows_its_figures():
    """GLOBOCAN 2022 shares, site shares of the colon, ages and missingness, within four standard errors."""
    table, distribution = _drawn(450), default_distribution()
    organs = Counter(prompt.tumours[0].organ for prompt in table if prompt.tumours)
    cases = {organ: sum(t.cases.values()) for organ, t in distribution.tumour.items() if t.default}
    for organ in ("lung", "colon", "liver", "kidney"):
        share = cases[organ] / sum(cases.values())
        n = sum(organs.values())
        assert abs(organs[organ] / n - share) < 4 * np.sqrt(share * (1 - share) / n)
    sites = Counter(t.site for prompt in table for t in prompt.tumours if t.organ == "colon" and t.site)
    assert abs(sites["rectum"] / sum(sites.values()) - 0.30) < 4 * np.sqrt(0.21 / sum(sites.values()))
    assert abs(np.mean([prompt.patient.sex is None for prompt in table]) - 0.05) < 4 * np.sqrt(0.0475 / 450)
    sizes = [t.size_mm for prompt in table for t in prompt.tumours if t.organ == "lung" and t.size_mm]
    assert 24 < np.median(sizes) < 37
    ages = [prompt.patient.age_years for prompt in table if prompt.patient.age_years is not None]
    assert min(ages) >= 18
    assert max(ages) <= 90


def test_marginals_given_the_organ_are_kept():
    rows = [
        Prompt(
            patient=Patient(age_years=40 + i % 20, sex="male" if i % 4 else "female"),
            study=Study(contrast_phase="arterial"),
            tumours=(Tumour(organ="kidney", side="left" if i % 2 else None, size_mm=20.0 + i % 30),),
        )
        for i in range(100)
    ]
    rows += [Prompt(patient=Patient(sex="female"), tumours=(Tumour(organ="uterus"),)) for _ in range(100)]
    drawn = sample_table(rows, 300, 0)
    kidneys = [prompt for prompt in drawn if prompt.tumours[0].organ == "kidney"]
    assert 115 < len(kidneys) < 185
    assert abs(np.mean([prompt.patient.sex == "female" for prompt in kidneys]) - 0.25) < 0.14
    assert abs(np.mean([prompt.tumours[0].site is None for prompt in kidneys]) - 0.5) < 0.17
    assert all(20 <= prompt.tumours[0].size_mm <= 49 for prompt in kidneys)
    assert all(prompt.patient.sex == "female" for prompt in drawn if prompt.tumours[0].organ == "uterus")
    assert {prompt.study.contrast_phase for prompt in kidneys} <= {"arterial", None}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_the_default_is_the_same_for_any_number_of_rows(mode):
    rows = default_distribution().sample(12, 4, mode)
    assert default_distribution().sample(5, 4, mode) == rows[:5]
    assert (default_distribution().sample(5, 4) == rows[:5]) == (mode == "match")


def test_balanced_sites_of_the_default():
    distribution = default_distribution()
    assert {"kidney_left", "kidney_right", "rectum", "lung_middle_lobe_right", "spleen"} <= set(distribution.strata)
    assert "thyroid_gland" not in distribution.strata
    rows = distribution.sample(3 * len(distribution.strata) + 1, 0, "balanced")
    counts = Counter(prompt.tumours[0].site for prompt in rows)
    assert set(counts) == set(distribution.strata)
    assert sorted(counts.values())[:-1] == [3] * (len(counts) - 1)


def test_rare_organs_of_the_default_come_more_often():
    """Lung against adrenal gland: incidence 310 to 1, drawn about the square root of that."""
    rows = default_distribution().sample(150, 1, "rare")
    organs = Counter(prompt.tumours[0].organ for prompt in rows if prompt.tumours)
    few = ("adrenal_gland", "spleen", "duodenum", "small_bowel", "gallbladder")
    cases = {organ: t.cases for organ, t in default_distribution().tumour.items() if t.default}
    weights = {organ: sum(np.sqrt(n) for n in by_sex.values()) for organ, by_sex in cases.items()}
    wanted = sum(weights[organ] for organ in few) / sum(weights.values())
    assert abs(sum(organs[organ] for organ in few) / organs.total() - wanted) < 4 * np.sqrt(wanted / 150)
    assert wanted > 3 * sum(sum(cases[organ].values()) for organ in few) / sum(sum(c.values()) for c in cases.values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nonsense_in_a_population_file_is_an_input_error_or_drawn(tmp_path_factory, data):
    shipped = files("prompts.sampling").joinpath("default_distribution.toml").read_text(encoding="utf-8")
    lines = [line for line in shipped.split("\n") if "=" in line and not line.startswith("#")]
    line = data.draw(st.sampled_from(lines))
    number = data.draw(st.sampled_from(["0", "-1", "1e9", "nan", "inf", "true", '"x"', "[]"]))
    broken = shipped.replace(line, re.sub(r"(?<![A-Za-z_])\d+(\.\d+)?", number, line), 1)
    path = tmp_path_factory.mktemp("population") / "p.toml"
    path.write_text(broken, encoding="utf-8")
    try:
        assert len(load_distribution(path).sample(2, 0, data.draw(st.sampled_from(MODES)))) == 2
    except InputError:
        return


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(InvalidValueError):
        sample_table([], 5, 0)
    with pytest.raises(LocationError):
        load_distribution(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("format = [")
    with pytest.raises(FileFormatError):
        load_distribution(tmp_path / "broken.toml")
    (tmp_path / "partial.toml").write_text("format = 1\nname = 'x'\n")
    with pytest.raises(FileFormatError, match="cohort"):
        load_distribution(tmp_path / "partial.toml")
