"""Attributes that are in the images are read, those that are not are not; what is left out is said."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from downstream import attributes
from downstream.attributes import UNKNOWN, balanced_accuracy, read_attributes, target
from downstream.cli import bench_app
from downstream.looks import ORGANS, box_weights
from downstream.suspicion import Suspicion, samples_of
from manifests.anatomy import structure
from manifests.case import Arrays, Attributes, CaseRecord, Lesion
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from manifests.identity import make_case_id

pytest.importorskip("sklearn")
GRID = Grid((16, 16, 16), (6.0, 6.0, 6.0), (0.0, 0.0, 0.0))


def lesion(organ, size_mm, role="primary"):
    return Lesion(
        id=1, organ=organ, site=organ, size_mm=size_mm, volume_ml=1.0, center_mm_xyz=(0.0, 0.0, 0.0), role=role
    )


def world(path, cases, kind="synthetic"):
    """Cases whose phase shows as the brightness of a block; their sex shows nowhere."""
    dataset = Dataset.create(path, DatasetSpec(kind=kind, prompts={"name": path.name}))
    rng = np.random.default_rng(cases)
    for index in range(cases):
        case_id = make_case_id(prompt_id=path.name, spec="world", index=index, candidate=0)
        phase = ("native", "arterial")[index % 2]
        drawn = Attributes(sex=("male", "female")[int(rng.integers(2))], age_years=63.0, contrast_phase=phase)
        ct = rng.normal(-50, 20, GRID.shape_zyx)
        ct[4:12, 4:12, 4:12] += 150 * (phase == "arterial")
        empty = np.zeros(GRID.shape_zyx, np.uint8)
        record = CaseRecord(
            case_id=case_id, status="accepted", index=index, drawn=drawn, factory_version="0", anatomy_table="t"
        )
        dataset.save(record, Arrays(GRID, ct.astype(np.int16), empty, empty))
    return dataset


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """A training and a test dataset, and volumes no larger than they need."""
    folder = tmp_path_factory.mktemp("worlds")
    return world(folder / "train", 30), world(folder / "test", 24)


def test_what_is_in_the_images_is_read_and_what_is_not_is_not(worlds):
    scores = {score.attribute: score for score in read_attributes(*worlds)}
    assert list(scores) == ["sex", "contrast_phase"]  # one decade, no tumours: nothing to tell apart
    phase, sex = scores["contrast_phase"], scores["sex"]
    assert (phase.classes, phase.chance, phase.trained_on) == (("arterial", "native"), 0.5, 24)
    assert phase.accuracy.mean > 0.95
    assert phase.ceiling.mean > 0.95
    assert sex.accuracy.low < 0.6
    assert (phase.accuracy.n, phase.ceiling.n) == (24, 6)
    assert sum(map(sum, phase.confusion)) == 24
    assert sum(phase.right.values()) == phase.confusion[0][0] + phase.confusion[1][1]


def organs(path, cases, healthy=0):
    """Liver, spleen and a kidney; one of them has a bright spot, but for every so many cases, which have none."""
    dataset = Dataset.create(path, DatasetSpec(kind="synthetic", prompts={"name": path.name}))
    rng = np.random.default_rng(cases)
    boxes = {"liver": np.s_[2:8, 2:14, 2:14], "spleen": np.s_[9:14, 2:7, 2:7], "kidney_left": np.s_[9:14, 9:14, 9:14]}
    for index in range(cases):
        case_id = make_case_id(prompt_id=path.name, spec="organs", index=index, candidate=0)
        ct = rng.normal(-50, 20, GRID.shape_zyx)
        anatomy = np.full(GRID.shape_zyx, structure("body").id, np.uint8)
        for name, box in boxes.items():
            anatomy[box] = structure(name).id
            ct[box] += rng.normal(100, 30)
        spot = list(boxes)[index % 3]
        z, y, x = (part.start + int(rng.integers(1, part.stop - part.start - 3)) for part in boxes[spot])
        ill = not healthy or index % healthy > 0
        ct[z : z + 2, y : y + 2, x : x + 2] += 120 * ill
        organ = structure(spot).organ
        empty = np.zeros(GRID.shape_zyx, np.uint8)
        record = CaseRecord(
            case_id=case_id,
            status="accepted",
            index=index,
            lesions=(lesion(organ, 12),) if ill else (),
            factory_version="0",
            anatomy_table="t",
        )
        dataset.save(record, Arrays(GRID, ct.astype(np.int16), anatomy, empty))
    return dataset


def test_the_tumour_is_found_in_its_organ(tmp_path):
    (found,) = read_attributes(organs(tmp_path / "a", 60), organs(tmp_path / "b", 45))
    assert (found.attribute, found.classes) == ("tumour_organ", ("kidney", "liver", "spleen"))
    assert found.accuracy.mean > 0.9
    assert found.ceiling.mean > 0.8


def test_the_same_seed_reads_the_same(worlds):
    first, second = (read_attributes(*worlds, seed=3) for _ in range(2))
    assert first == second


def test_targets_come_from_what_was_drawn_then_from_what_was_asked():
    record = CaseRecord(
        case_id="0" * 32,
        status="accepted",
        index=0,
        requested=Attributes(sex="male", age_years=71.0),
        drawn=Attributes(age_years=39.9, contrast_phase="delayed"),
        lesions=(lesion("liver", 40, "metastasis"), lesion("colon", 20), lesion("kidney", 30)),
        factory_version="0",
        anatomy_table="t",
    )
    read = {name: target(record, name) for name in attributes.ATTRIBUTES}
    assert read == {"sex": "male", "age_decade": "30s", "contrast_phase": "delayed", "tumour_organ": "kidney"}
    empty = record.model_copy(update={"requested": Attributes(), "drawn": Attributes(), "lesions": ()})
    assert [target(empty, name) for name in attributes.ATTRIBUTES] == [None, None, None, "none"]


def test_balanced_accuracy_weighs_classes_equally():
    truth = np.array([0] * 90 + [1] * 10 + [UNKNOWN] * 5)
    constant = balanced_accuracy(truth, np.zeros(105, np.int64), seed=0)
    assert (constant.mean, constant.n) == (0.5, 100)
    answers = np.where(np.arange(105) % 2, truth, 1 - truth)
    interval = balanced_accuracy(truth, answers, seed=0)
    spread = math.sqrt(0.25 / 90 + 0.25 / 10) / 2  # of the mean of two binomial shares of one half
    assert interval.mean == 0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert math.isnan(balanced_accuracy(truth[100:], answers[100:], seed=0).mean)


def test_boxes_are_averaged_by_overlap():
    weights = box_weights(7, 4.0)  # 28 mm: four boxes of 6 mm, 4 mm dropped
    np.testing.assert_allclose(weights[:2], [[2 / 3, 1 / 3, 0, 0, 0, 0, 0], [0, 1 / 3, 2 / 3, 0, 0, 0, 0]], atol=1e-6)
    assert weights.shape == (4, 7)
    np.testing.assert_allclose(box_weights(9, 3.0) @ np.arange(9), [0.5, 2.5, 4.5, 6.5], atol=1e-6)
    np.testing.assert_array_equal(box_weights(3, 6.0), np.eye(3))
    np.testing.assert_array_equal(box_weights(1, 4.0), [[1]])


def test_datasets_that_share_cases_or_do_not_vary_are_refused(worlds, tmp_path):
    training, _ = worlds
    with pytest.raises(InvalidValueError, match="30 cases that are in the training dataset too"):
        read_attributes(training, training)
    with pytest.raises(InvalidValueError, match="no attribute with two classes"):
        read_attributes(world(tmp_path / "few", 6), training)


def test_the_command_prints_a_row_per_attribute_and_json(worlds):
    training, test = (str(dataset.root) for dataset in worlds)
    asked = ["alignment", test, "--train", training]
    refused = CliRunner().invoke(bench_app, asked)
    assert isinstance(refused.exception, InvalidValueError)  # the cases have no prompts
    real = world(worlds[1].root.with_name("real"), 6, kind="real")
    asked[1] = str(real.root)
    text = CliRunner().invoke(bench_app, asked)
    assert text.exit_code == 0, text.output
    assert "contrast_phase" in text.stdout
    data = json.loads(CliRunner().invoke(bench_app, [*asked, "--json"]).stdout)
    assert [row["attribute"] for row in data["image_prompt"]] == ["sex", "contrast_phase"]


def test_lesions_are_suspected_by_what_training_cases_show_and_where_nothing_was_learnt_nowhere():
    def case(spots, seed):
        rng = np.random.default_rng(seed)
        ct = rng.normal(60, 15, GRID.shape_zyx)
        anatomy, lesions = np.full(GRID.shape_zyx, structure("body").id, np.uint8), np.zeros(GRID.shape_zyx, np.uint8)
        anatomy[1:8, 1:15, 1:15], anatomy[9:15, 1:15, 1:15] = structure("liver").id, structure("spleen").id
        for z in spots:
            z, y, x = z, *rng.integers(2, 10, 2)
            lesions[z : z + 3, y : y + 3, x : x + 3] = 1
            ct[z : z + 3, y : y + 3, x : x + 3] -= 45
        return Arrays(GRID, ct.astype(np.int16), anatomy, lesions)

    learnt = Suspicion([samples_of(case([2], seed), seed) for seed in range(12)])  # in livers alone
    unseen = case([3], 99)
    blind = Arrays(GRID, unseen.ct, unseen.anatomy, np.zeros_like(unseen.lesions))
    found = learnt.of(blind)
    np.testing.assert_array_equal(found, learnt.of(unseen))  # the map of lesions is not looked at
    liver, spleen = ORGANS.index("liver"), ORGANS.index("spleen")
    assert found[liver, 0] > 2 > 0 > found[spleen, 0]
    assert np.expm1(found[liver, 5]) == pytest.approx(27, abs=14), "voxels of 3 x 3 x 3"
    assert np.isnan(np.delete(found, [liver, spleen], 0)).all()
    healthy = Suspicion([samples_of(case([], seed), seed) for seed in range(3)])
    assert not np.nan_to_num(healthy.of(blind))[:, 1:].any()


def test_the_threshold_for_none_parts_the_cases_best():
    from downstream.classifier import least_odds

    ill, healthy = np.array([3.0, 2.5, 2.2, 0.4]), np.array([1.0, 0.7])
    odds = np.full((6, 3), -2.0)
    odds[:4, 0], odds[4:, 1], odds[:, 2] = ill, healthy, -np.inf
    assert 1.0 < least_odds(odds, np.array([0, 0, 0, 0, 2, 2]), none=2) <= 2.2  # one of four missed, not one of two


@pytest.mark.parametrize(("least", "nones"), [(-np.inf, 0), (np.inf, 60)])
def test_none_is_said_below_the_threshold_and_nowhere_else(tmp_path, monkeypatch, least, nones):
    from downstream import classifier

    monkeypatch.setattr(classifier, "least_odds", lambda *_: least)
    (found,) = read_attributes(organs(tmp_path / "a", 80, healthy=4), organs(tmp_path / "b", 60, healthy=4))
    none = found.classes.index("none")
    assert sum(row[none] for row in found.confusion) == nones


def test_a_case_without_a_tumour_is_told_from_those_with_one(tmp_path):
    training, test = organs(tmp_path / "a", 80, healthy=4), organs(tmp_path / "b", 60, healthy=4)
    (found,) = read_attributes(training, test)
    assert found.classes == ("kidney", "liver", "none", "spleen")
    none = found.classes.index("none")
    assert found.confusion[none][none] > 0.6 * sum(found.confusion[none])
    assert found.accuracy.mean > 0.75
