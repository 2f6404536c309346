"""Which source a prompt gets: never one that cannot satisfy it, mostly one that is alike."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.engines.bank.choosing import choose, coverage, required, unlabelled, weights
from factory.engines.bank.normal import range_ml, wanted_ml
from factory.engines.bank.resemblance import alike, log_volumes
from factory.engines.bank.sources import Source
from manifests.anatomy import group, structure, structures
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from prompts.schema import Patient, Prompt, Study, Tumour

TORSO = Grid((120, 60, 70), (6.0, 6.0, 6.0))
ALL = {entry.name: 100.0 for entry in structures() if entry.group != "undivided" and entry.name != "colon"}


def source(case_id: str, without: tuple[str, ...] = (), **known) -> Source:
    volumes = {name: ml for name, ml in ALL.items() if name not in without}
    blank = {"licence": None, "sex": "male", "age_years": 60.0, "height_cm": 175.0, "weight_kg": 75.0}
    fields = {"volumes_ml": volumes, "grid": TORSO, "whole": True, **blank, **known}
    return Source(case_id=case_id, patient_id=case_id, **fields)


def subject(sex: str = "male", region: str = "torso", **stated) -> Prompt:
    patient = Patient(sex=sex, age_years=60, height_cm=175, weight_kg=75)
    return Prompt(patient=patient, study=Study(region=region, contrast_phase="native"), **stated)


def drawn(sources: list[Source], prompt: Prompt, times: int = 200) -> Counter[str]:
    lacks = unlabelled(sources)
    return Counter(choose(sources, prompt, lacks, np.random.default_rng(i)).case_id for i in range(times))


def test_what_a_prompt_needs_excludes_sources_without_it() -> None:
    whole, spleenless = source("whole"), source("spleenless", ("spleen",))
    small = source("small", grid=Grid((30, 60, 70), (6.0, 6.0, 6.0)))
    tumour = Tumour(organ="kidney", site="kidney_left", count=1, size_mm=30)
    kidneyless = source("kidneyless", ("kidney_left",))
    assert set(drawn([whole, spleenless, small], subject())) == {"whole"}
    assert set(drawn([whole, kidneyless], subject(tumours=(tumour,)))) == {"whole"}
    assert set(drawn([whole, spleenless], subject(absent_organs=("spleen",)))) == {"whole", "spleenless"}
    assert set(drawn([whole, spleenless], subject(region="chest"))) == {"whole", "spleenless"}
    assert set(drawn([whole, spleenless], subject(region="chest", enlarged_organs=("spleen",)))) == {"whole"}


def test_a_bank_that_cannot_satisfy_a_prompt_says_why() -> None:
    bank = [source("a", ("kidney_left",)), source("b", ("kidney_left",)), source("c", ("liver",))]
    tumour = Tumour(organ="kidney", site="kidney_left", count=1, size_mm=30)
    with pytest.raises(InvalidValueError, match=r"among 3: 2 without kidney_left, 1 without liver"):
        choose(bank, subject(tumours=(tumour,)), frozenset(), np.random.default_rng(0))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["sex", "age_years", "height_cm", "weight_kg"]), st.integers(1, 4))
def test_a_source_that_differs_more_weighs_less(name: str, steps: int) -> None:
    near = source("near")
    if name == "sex":
        order = [near, replace(near, sex=None), replace(near, sex="female")]
    else:
        order = [replace(near, **{name: getattr(near, name) + 9.0 * i}) for i in range(steps + 1)]
    found = weights(order, subject())
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    assert all(0 < weight <= 1 for weight in found)


def test_draws_follow_the_weights() -> None:
    bank = [source("young", age_years=35.0), source("old", age_years=62.0), source("unknown", age_years=None)]
    times = 500
    counts = drawn(bank, subject(), times)
    shares = np.array(weights(bank, subject()))
    expected = times * shares / shares.sum()
    got = np.array([counts[one.case_id] for one in bank])
    assert (np.abs(got - expected) < 5 * np.sqrt(expected) + 5).all()


def test_what_no_source_labels_is_not_asked_for_unless_it_can_be_drawn() -> None:
    bank = [source("a", ("uterus", "gallbladder")), source("b", ("uterus",))]
    assert unlabelled(bank) == {"uterus"}
    assert unlabelled([*bank, source("few", whole=False)]) == frozenset()
    assert set(drawn(bank, subject("female"))) == {"b"}
    assert "uterus" in required("torso", "female")
    assert "prostate" not in required("chest", "male")


def test_coverage_is_a_share_of_the_region() -> None:
    assert coverage((-400.0, 400.0), "torso") == 1.0
    assert coverage((18.0, 500.0), "abdomen") == pytest.approx(0.5)
    assert coverage((200.0, 500.0), "abdomen") == 0.0


@given(
    st.sampled_from([e.name for e in structures() if e.volume_ml]),
    st.floats(0.1, 5000),
    st.sampled_from(["male", "female"]),
)
def test_volumes_are_brought_into_range_and_left_alone_inside_it(name: str, here: float, sex: str) -> None:
    entry, patient = structure(name), Patient(sex=sex, height_cm=175, weight_kg=75)
    span = range_ml(entry, patient)
    wanted = wanted_ml(entry, patient, here, enlarged=False)
    if span is None:
        assert wanted == here
        return
    assert span[0] <= wanted <= span[1]
    assert wanted == here or not span[0] <= here <= span[1]
    reference = entry.volume_ml.get(sex)
    assert reference is None or wanted_ml(entry, patient, here, enlarged=True) > reference


def test_regions_ask_for_groups_and_members() -> None:
    assert {entry.name for entry in group("colon")} >= {"colon", "colon_sigmoid"}
    segments = tuple(entry.name for entry in group("colon") if entry.name != "colon")
    plain = source("plain", segments)
    plain.volumes_ml["colon"] = 800.0
    assert set(drawn([plain], subject(), 3)) == {"plain"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(5, 900), min_size=3, max_size=12, unique=True), st.data())
def test_the_most_alike_source_is_the_one_with_the_same_volumes(livers: list[float], data) -> None:
    bank = [source(f"s{i}") for i in range(len(livers))]
    for one, liver in zip(bank, livers, strict=True):
        one.volumes_ml["liver"] = liver
    bank.append(source("other"))
    bank[-1].volumes_ml.clear()
    table = log_volumes(bank)
    row = data.draw(st.integers(0, len(livers) - 1))
    found = alike(np.nan_to_num(np.exp(table[row])), table, len(bank))
    assert found[0] == row
    assert found[-1] == len(livers)  # what shares no organ comes last
    away = [abs(np.log(livers[i] / livers[row])) for i in found[:-1]]
    assert np.allclose(away, sorted(away))
