"""Patches straight from the store: the same voxels as the arrays, whatever worker reads them."""

import numpy as np
import pytest
import torch

from downstream.patches import PatchDataset, PatchOptions
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.schemes import paint, scheme

KITS = PatchOptions(patch_zyx=(8, 8, 8), scheme="kits", samples=12, seed=3, foreground=0.5, wanted=("tumour",))


def with_options(**changes):
    return PatchOptions(**({name: getattr(KITS, name) for name in KITS.__slots__} | changes))


def same(first, second):
    return all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key]
        for a, b in zip(first, second, strict=True)
        for key in a
    )


@pytest.mark.parametrize("patch", [(8, 8, 8), (30, 8, 40)])
def test_a_patch_is_that_part_of_the_case_with_air_around_it(box_dataset, patch):
    dataset = box_dataset(4)
    records = {record.case_id: record for record in dataset.accepted()}
    for item in PatchDataset(dataset, with_options(patch_zyx=patch)):
        arrays, record = dataset.read(item["case_id"]), records[item["case_id"]]
        around = [(size, size) for size in patch]
        region = tuple(slice(int(s) + n, int(s) + 2 * n) for s, n in zip(item["start_zyx"], patch, strict=True))
        ct = np.pad(arrays.ct, around, constant_values=-1024)[region]
        painted = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme("kits"))
        assert item["image"].dtype == torch.int16
        assert np.array_equal(item["image"][0].numpy(), ct)
        assert np.array_equal(item["label"][0].numpy(), np.pad(painted, around)[region])


def test_cases_take_turns_and_epochs_differ(box_dataset):
    patches = PatchDataset(box_dataset(4), KITS)
    cases = [item["case_id"] for item in patches]
    assert all(len(set(cases[turn : turn + 4])) == 4 for turn in (0, 4, 8))
    starts = [[tuple(item["start_zyx"].tolist()) for item in patches.epoch(number)] for number in (0, 1)]
    assert starts[0] == [tuple(item["start_zyx"].tolist()) for item in patches]
    assert starts[0] != starts[1]
    assert len(set(starts[0] + starts[1])) > 12
    with pytest.raises(IndexError):
        patches[12]


def test_the_share_of_patches_with_a_wanted_label(box_dataset):
    dataset = box_dataset(2)
    tumour = scheme("kits").labels["tumour"]

    def share(foreground):
        options = with_options(foreground=foreground, samples=40, patch_zyx=(4, 4, 4))
        return np.mean([bool((item["label"] == tumour).any()) for item in PatchDataset(dataset, options)])

    assert share(1.0) == 1.0
    assert share(0.0) < 0.3
    assert 0.3 < share(0.5) < 0.8


def test_patches_reach_the_whole_case(box_dataset):
    options = with_options(samples=150, foreground=0.0)
    starts = np.array([item["start_zyx"].tolist() for item in PatchDataset(box_dataset(1), options)])
    assert (starts.min(axis=0) == 0).all()
    assert (starts.max(axis=0) == np.array([22, 18, 26]) - 8).all()


def test_cases_without_a_wanted_label_give_patches_too(box_dataset):
    dataset = box_dataset(3)
    without = [record.case_id for record in dataset.accepted() if not record.lesions]
    items = list(PatchDataset(dataset, with_options(foreground=1.0), without))
    assert {item["case_id"] for item in items} == set(without)


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with one core
def test_workers_read_the_same_patches(box_dataset, start_method):
    patches = PatchDataset(box_dataset(3), KITS)
    alone = list(patches)  # the parent has decoded and cached before it forks
    loader = torch.utils.data.DataLoader(patches, batch_size=None, num_workers=2, multiprocessing_context=start_method)
    assert same(alone, list(loader))
    assert same(alone, list(PatchDataset(box_dataset(3), KITS)))


def test_batches_collate(box_dataset):
    batch = next(iter(torch.utils.data.DataLoader(PatchDataset(box_dataset(2), KITS), batch_size=4)))
    assert batch["image"].shape == batch["label"].shape == (4, 1, 8, 8, 8)
    assert batch["start_zyx"].shape == (4, 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"patch_zyx": (8, 0, 8)}, InvalidValueError, "patch_zyx"),
        ({"samples": 0}, InvalidValueError, "samples"),
        ({"foreground": 1.5}, InvalidValueError, "foreground"),
        ({"scheme": "nonsense"}, UnknownNameError, "label scheme"),
        ({"wanted": ("liver",)}, UnknownNameError, "labels of kits"),
    ],
)
def test_bad_options_are_refused(box_dataset, changes, error, message):
    with pytest.raises(error, match=message):
        PatchDataset(box_dataset(1), with_options(**changes))


def test_an_empty_dataset_or_a_strange_case_is_refused(box_dataset):
    with pytest.raises(InvalidValueError, match="no case"):
        PatchDataset(box_dataset(0), KITS)
    with pytest.raises(UnknownNameError, match="stranger"):
        PatchDataset(box_dataset(1, "one"), KITS, ["stranger"])
