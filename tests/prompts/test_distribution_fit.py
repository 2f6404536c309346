"""Fitted distributions: what they recover, what they hide, how they are stored, and how rows are drawn."""

import re
import tomllib
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from manifests.anatomy import SEX_ORGANS
from manifests.errors import FileFormatError, InputError, InvalidValueError, UnknownNameError
from prompts.fidelity import quasi_identifiers
from prompts.mapping import apply_mapping, load_mapping
from prompts.sampling import MODES, fit, load_distribution, require_mode, sample_table, write_distribution
from prompts.sampling.columns import decode, encode
from prompts.sampling.files import to_toml
from prompts.sampling.fitted import Fitted
from prompts.sampling.numbers import off_grid
from prompts.schema import Patient, Prompt, Study, Tumour
from prompts.sources import read_table
from prompts.testing import prompts

STAGES = ("T1a", "T1b", "T2a", "T3")


def _person(random, index):
    """One row of a known model: stage follows size, M follows stage, weight follows height, height follows sex."""
    sex = "male" if random.random() < 0.6 else "female"
    height = random.normal(176 if sex == "male" else 163, 6)
    size = float(np.clip(random.lognormal(3.7, 0.6), 5, 200))
    stage = STAGES[int(np.clip(np.searchsorted([40, 70, 100], size) + (random.random() < 0.15), 0, 3))]
    metastatic = random.random() < (0.6 if stage == "T3" else 0.05)
    known = random.random() < 0.8
    return Prompt(
        patient=Patient(
            age_years=float(round(np.clip(random.normal(62, 11), 20, 90))),
            sex=sex,
            height_cm=float(round(height)) if known else None,
            weight_kg=float(round(0.9 * (height - 90) + random.normal(0, 5))) if known else None,
        ),
        study=Study(contrast_phase="arterial" if index % 3 else "portal_venous"),
        tumours=(
            Tumour(
                organ="kidney",
                side=("left", "right", None)[index % 3],
                size_mm=float(round(size)),
                t_stage=stage,
                m_stage="M1" if metastatic else "M0",
            ),
        ),
    )


@cache
def _known(n=300):
    random = np.random.default_rng(1)
    others = [
        Prompt(patient=Patient(sex="female", age_years=50.0 + i % 20), tumours=(Tumour(organ="uterus"),))
        for i in range(60)
    ]
    return (*(_person(random, index) for index in range(n)), *others)


@cache
def _fitted():
    return fit(_known(), "known")


@cache
def _drawn(mode="match", n=400):
    return _fitted().sample(n, 3, mode)


def _of(rows, organ="kidney"):
    return [row for row in rows if row.tumours and row.tumours[0].organ == organ]


def _column(rows, name):
    return np.array([np.nan if (value := encode(row).get(name)) is None else value for row in rows])


@settings(max_examples=60, deadline=None)
@given(prompts())
@example(Prompt(patient=Patient(sex="female"), absent_organs=("prostate", "gallbladder")))
def test_columns_hold_a_whole_prompt_but_for_organs_that_a_sex_never_has(prompt):
    never = {organ for sex, organ in SEX_ORGANS.items() if prompt.patient.sex not in (sex, None)}
    said = tuple(name for name in prompt.absent_organs if name not in never)
    assert decode(encode(prompt)) == prompt.model_copy(update={"absent_organs": said})


def test_strong_associations_are_recovered():
    """Against the known model itself: what it draws afresh has the same associations."""
    reference, drawn = _of(_known()), _of(_drawn())
    for one, other in (("height_cm", "weight_kg"), ("size_mm", "age_years")):
        rho = [
            stats.spearmanr(_column(rows, one), _column(rows, other), nan_policy="omit").statistic
            for rows in (reference, drawn)
        ]
        assert abs(rho[0] - rho[1]) < 0.12
    assert stats.spearmanr(_column(drawn, "height_cm"), _column(drawn, "weight_kg"), nan_policy="omit").statistic > 0.7
    for rows in (reference, drawn):
        late = [row.tumours[0].m_stage == "M1" for row in rows if row.tumours[0].t_stage == "T3"]
        early = [row.tumours[0].m_stage == "M1" for row in rows if row.tumours[0].t_stage == "T1a"]
        assert np.mean(late) > np.mean(early) + 0.35
    for stage in STAGES:
        median, found = (
            np.median([row.tumours[0].size_mm for row in rows if row.tumours[0].t_stage == stage])
            for rows in (reference, drawn)
        )
        assert 0.8 < found / median < 1.25
    for sex, low, high in (("male", 173, 179), ("female", 160, 166)):
        heights = [row.patient.height_cm for row in drawn if row.patient.sex == sex and row.patient.height_cm]
        assert low < np.mean(heights) < high


def test_missingness_is_kept_together():
    """Height and weight are unstated in the same rows; the side and the phase hang together."""
    drawn = _of(_drawn())
    unstated = [(row.patient.height_cm is None, row.patient.weight_kg is None) for row in drawn]
    assert np.mean([one != other for one, other in unstated]) < 0.04
    assert abs(np.mean([one for one, _ in unstated]) - 0.2) < 0.07
    assert all(row.patient.age_years is not None for row in drawn)
    unsided = [row.study.contrast_phase for row in drawn if row.tumours[0].side is None]
    assert np.mean([phase == "arterial" for phase in unsided]) > 0.9


@pytest.mark.parametrize("mode", MODES)
def test_rows_do_not_depend_on_how_many_are_drawn(mode):
    rows = _fitted().sample(12, 11, mode)
    assert _fitted().sample(5, 11, mode) == rows[:5]
    assert [_fitted().draw(11, index, mode) for index in (11, 7)] == [rows[11], rows[7]]
    assert _fitted().sample(5, 12, mode) != rows[:5]
    assert sample_table(_known()[200:260], 2, 11, mode) == sample_table(_known()[200:260], 3, 11, mode)[:2]


@pytest.mark.parametrize("mode", MODES)
def test_every_row_is_possible_and_no_patient(mode):
    patients = {quasi_identifiers(prompt) for prompt in _known()}
    ages = {prompt.patient.age_years for prompt in _known()}
    for row in _drawn(mode, 80 if mode != "match" else 400):
        assert quasi_identifiers(row) not in patients
        assert row.patient.age_years not in ages
        assert Prompt.model_validate_json(row.model_dump_json()) == row
        assert row.tumours[0].organ != "uterus" or row.patient.sex == "female"


@pytest.mark.parametrize("n", [40, 41, 42, 43])
def test_balanced_gives_equal_counts(n):
    """Sites: left, right and unstated side of the kidney is a third each, so unstated is no stratum of its own."""
    fitted = _fitted()
    assert fitted.strata == ("kidney_left", "kidney_right", "uterus")
    counts = Counter(row.tumours[0].site for row in fitted.sample(n, 0, "balanced"))
    assert set(counts) == set(fitted.strata)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_rare_levels_come_more_often_and_impossible_ones_do_not():
    def share(rows, stage):
        kidneys = _of(rows)
        return np.mean([row.tumours[0].t_stage == stage for row in kidneys])

    usual, rare = _drawn(), _drawn("rare", 250)
    smallest = min(STAGES, key=lambda stage: share(_known(), stage))
    assert share(rare, smallest) > 1.4 * share(usual, smallest)
    assert len(_of(rare, "uterus")) / 250 > 1.5 * len(_of(usual, "uterus")) / 400
    assert all(row.patient.sex == "female" for row in _of(rare, "uterus"))


def test_coverage_is_more_even_than_chance():
    """The share of organs in 128 rows: a Sobol sequence is off by hardly more than a row, chance by more."""
    wanted = 60 / 360
    rows = [len(_of(_fitted().sample(128, seed, "coverage"), "uterus")) / 128 for seed in range(2)]
    assert max(abs(share - wanted) for share in rows) < 1.6 / 128


def test_no_stored_figure_describes_few_rows():
    """Every cell, set of cells and level of the file counts at least `min_count` rows of the table itself."""
    k, rows = 6, [*_known(), *(_person(np.random.default_rng(i), i) for i in range(3))]
    content = tomllib.loads(to_toml(fit(rows, "x", k)))
    for name, group in content["group"].items():
        flat = [encode(row) for row in rows if encode(row)["organs"] == name]

        def level(row, column):
            number = column.removesuffix(" stated")
            return str(row.get(column)) if number == column else ("unstated" if row[number] is None else "stated")

        def count(given, of, flat=flat):
            chosen = [row for row in flat if all(level(row, c) in levels for c, levels in given.items())]
            return sum(level(row, of[0]) in of[1] for row in chosen)

        for column, cells in group["category"].items():
            for key, stored in cells.items():
                assert stored >= k
                assert count({}, (column, re.split(r" \+ ", key))) >= k
        for pair in group.get("pair", []):
            for given_level, cells in pair["rows"].items():
                for key, stored in cells.items():
                    assert stored >= k
                    members = [member for part in key.split(" | ") for member in part.split(" + ")]
                    assert count({pair["given"]: given_level.split(" + ")}, (pair["of"], members)) >= k
        for column, number in group["number"].items():
            values = [row[column] for row in flat]
            assert not set(values) & set(number["quantiles"])
            assert sum(value <= number["quantiles"][0] for value in values if value is not None) >= 2
            for by, shifts in number.get("by", {}).items():
                for by_level, shift in shifts.items():
                    assert count({}, (by, by_level.split(" + "))) >= k
                    assert min([k, *shift.get("quarters", {}).values()]) >= k


def test_the_file_says_the_same(tmp_path):
    path = tmp_path / "known.toml"
    write_distribution(path, _fitted())
    again = load_distribution(path)
    assert again == _fitted()
    assert again.distribution_id == _fitted().distribution_id
    assert again.sample(10, 5) == _fitted().sample(10, 5)
    assert "no figure describes fewer than 5 rows" in path.read_text()


def test_a_row_without_numbers_is_drawn_only_if_common():
    common = [Prompt(patient=Patient(sex="male"), tumours=(Tumour(organ="kidney"),))] * 40
    rare = [Prompt(patient=Patient(sex="female", race="asian"), tumours=(Tumour(organ="kidney"),))] * 4
    rest = [
        Prompt(patient=Patient(sex="female", race="white", age_years=40.0 + i % 30), tumours=(Tumour(organ="kidney"),))
        for i in range(80)
    ]
    drawn = fit([*common, *rare, *rest], "x").sample(250, 0)
    unnumbered = Counter(quasi_identifiers(row) for row in drawn if row.patient.age_years is None)
    assert set(unnumbered) == {quasi_identifiers(common[0])}
    assert 40 < unnumbered.total() < 120


def test_several_tumours_and_rare_organs():
    """Rare combinations lose their last tumour; rare organs are pooled; both still give valid prompts."""
    two = Prompt(tumours=(Tumour(organ="kidney", site="kidney_left"), Tumour(organ="liver")), absent_organs=("spleen",))
    rows = [two] * 12
    rows += [Prompt(patient=Patient(age_years=60.0 + i % 9), tumours=(Tumour(organ="lung"),)) for i in range(30)]
    rows += [Prompt(tumours=(Tumour(organ="lung"), Tumour(organ="stomach")))] * 2
    rows += [
        Prompt(tumours=(Tumour(organ=organ),)) for organ in ("spleen", "duodenum", "gallbladder") for _ in range(2)
    ]
    rows += [Prompt()] * 6
    drawn = fit(rows, "x").sample(300, 0)
    found = Counter(tuple(tumour.organ for tumour in row.tumours) for row in drawn)
    assert found[("kidney", "liver")] > 20
    assert ("lung", "stomach") not in found
    assert {("spleen",), ("duodenum",), ("gallbladder",), ()} <= set(found)
    assert all("spleen" not in row.absent_organs for row in drawn if row.tumours and row.tumours[0].organ == "spleen")


@given(st.floats(0.1, 300), st.integers(1, 4))
def test_drawn_numbers_lie_off_the_grid(value, decimals):
    drawn = off_grid(value, decimals)
    assert abs(drawn - value) <= 1.01 * 10**-decimals
    assert round(drawn * 10**decimals) % 10 != 0


def test_small_tables_are_refused_or_fitted():
    kidney = Prompt(patient=Patient(age_years=60), tumours=(Tumour(organ="kidney"),))
    for rows, k in (([], 5), ([kidney], 5), ([kidney] * 4, 5), ([kidney] * 9, 1)):
        with pytest.raises(InvalidValueError, match=r"min-count|fit"):
            fit(rows, "x", k)
    drawn = fit([kidney] * 6, "x").sample(5, 0)
    assert all(row.tumours == kidney.tumours and row.patient.age_years != 60 for row in drawn)
    healthy = fit([Prompt(patient=Patient(sex="male"))] * 5, "x")
    assert healthy.sample(3, 0) == [Prompt(patient=Patient(sex="male"))] * 3
    with pytest.raises(InvalidValueError, match="no tumour site"):
        healthy.sample(3, 0, "balanced")
    with pytest.raises(InvalidValueError):
        healthy.sample(-1, 0)
    with pytest.raises(UnknownNameError, match="match, balanced, rare, coverage"):
        require_mode("uniform")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("male = ", "martian = "),
        ("[group.kidney]", "[group.kidney]\nheart = 1"),
        ("format = 1", "format = 7"),
        ("quantiles = [", "quantiles = [999999.5, "),
        ("T1a = ", "T9 = "),
        ('"kidney_left"', '"brain"'),
        ("min_count = 5", "min_count = -5"),
        ("mean = ", "mean = nan #"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, old, new):
    text = to_toml(_fitted())
    assert old in text or old == '"kidney_left"'
    (tmp_path / "bad.toml").write_text(
        text.replace(old, new, 1) if old in text else text.replace("kidney_left", "brain")
    )
    with pytest.raises(FileFormatError, match="distribution"):
        load_distribution(tmp_path / "bad.toml")


@cache
def _small_text():
    return to_toml(fit(_known()[240:], "small"))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_drawn_from(tmp_path_factory, data):
    """Mutations of a real file: characters, numbers and lines; never anything but an input error."""
    text = _small_text()
    for _ in range(data.draw(st.integers(1, 3))):
        lines = text.split("\n")
        place = data.draw(st.integers(16, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "number", "cut", "letter"]))
        if kind == "drop":
            del lines[place]
        elif kind == "double":
            lines.insert(place, lines[place])
        elif kind == "number":
            lines[place] = re.sub(
                r"\d+(\.\d+)?", data.draw(st.sampled_from(["0", "-1", "1e9", "0.5", "nan"])), lines[place], count=1
            )
        elif kind == "cut":
            lines[place] = lines[place][: len(lines[place]) // 2]
        else:
            at = data.draw(st.integers(0, max(len(lines[place]) - 1, 0)))
            lines[place] = lines[place][:at] + data.draw(st.characters(codec="utf-8")) + lines[place][at + 1 :]
        text = "\n".join(lines)
    path = tmp_path_factory.mktemp("fuzz") / "d.toml"
    path.write_bytes(text.encode())
    try:
        assert len(load_distribution(path).sample(1, 0)) == 1
    except InputError:
        return


@settings(max_examples=5, deadline=None)
@given(st.lists(prompts(), min_size=1, max_size=6), st.integers(2, 4))
def test_any_table_is_fitted_or_refused(rows, min_count):
    """Prompts at the ends of their ranges, with every field, three times each."""
    try:
        fitted = fit(rows * 3, "any", min_count)
    except InvalidValueError:
        return
    assert Fitted.model_validate(tomllib.loads(to_toml(fitted))) == fitted
    assert [len(fitted.sample(1, 0, mode)) for mode in ("match", "rare", "coverage")] == [1, 1, 1]


def test_what_a_sex_never_has_is_not_learnt_as_absent():
    rows = [Prompt(patient=Patient(sex="male"), absent_organs=("uterus", "gallbladder"))] * 12
    drawn = fit(rows, "men", 4).sample(5, 0)
    assert {prompt.absent_organs for prompt in drawn} == {("gallbladder",)}


@pytest.mark.real
def test_no_drawn_row_is_a_patient_of_kits19(real_data, tmp_path):
    table = real_data / "tables" / "kits19_clinical.json"
    if not table.is_file():
        pytest.skip(f"no {table}")
    patients = [prompt for _, prompt in apply_mapping(load_mapping("kits19"), read_table(table)).prompts]
    known = {quasi_identifiers(prompt) for prompt in patients}
    assert len(known) > 180
    path = tmp_path / "kits.toml"
    write_distribution(path, fit(patients, "kits19"))
    for mode in MODES:
        for rows in (load_distribution(path).sample(60, 1, mode), sample_table(patients, 30, 2, mode)):
            assert not known & {quasi_identifiers(row) for row in rows}
