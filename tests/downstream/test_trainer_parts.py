"""Parts of the fast trainer: folding loses nothing, Muon's step is orthogonal and learns, rare labels weigh more."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from downstream.predictor import continued, predictor_of  # noqa: E402
from downstream.trainers.batches import Batches, Case  # noqa: E402
from downstream.trainers.folded import FOLD, Folded, fold, unfold  # noqa: E402
from downstream.trainers.muon import Muon, orthogonal  # noqa: E402
from downstream.trainers.squeeze import squeeze  # noqa: E402


def test_folding_keeps_every_voxel_and_its_place():
    image = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    folded = fold(image)
    assert folded.shape == (2, 24, 2, 3, 4)
    assert torch.equal(unfold(folded), image)
    assert set(folded[0, :8, 0, 0, 0].tolist()) == set(image[0, 0, :2, :2, :2].flatten().tolist())


def test_a_folded_network_sees_blocks_and_answers_voxels():
    class Inner(torch.nn.Module):
        decoder = "heads"

        def forward(self, x):
            assert x.shape == (1, FOLD, 2, 2, 2)
            return [x, x[..., :1, :1, :1]]

    network = Folded(Inner())
    image = torch.randn(1, 1, 4, 4, 4)
    fine, coarse = network(image)
    assert network.decoder == "heads"
    assert torch.equal(fine, image)
    assert torch.equal(coarse, image[..., :2, :2, :2])


def test_squeezed_values_part_soft_tissues_and_keep_their_order():
    measured = {"mean": -267.0, "std": 452.0}
    hu = torch.tensor([-1000.0, -100.0, 40.0, 60.0, 140.0, 250.0, 1200.0])
    air, fat, muscle, liver, marrow, bone, dense = squeeze(measured)((hu - measured["mean"]) / measured["std"]).tolist()
    assert muscle == pytest.approx(0.0, abs=1e-5)
    assert liver == pytest.approx(0.2, rel=0.01), "a hundred HU are one, within soft tissue"
    assert air + 1 < fat < -1.1
    assert marrow + 0.5 < bone < dense < bone + 2


def test_cases_are_squeezed_as_they_are_read():
    class Stored:
        def load_case(self, name):
            values = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 2, 2, 2)
            return values, np.zeros((1, 2, 2, 2), np.int8), None, {"class_locations": {}}

    measured = {"mean": 0.0, "std": 400.0}
    plain, squeezed = Case.load(Stored(), "a"), Case.load(Stored(), "a", squeeze(measured))
    expected = squeeze(measured)(torch.linspace(-1, 1, 8).reshape(1, 2, 2, 2)).half()
    assert torch.equal(squeezed.image, expected)
    assert not torch.equal(squeezed.image, plain.image)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_the_step_is_nearly_orthogonal_and_keeps_directions(shape):
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    found = orthogonal(left @ torch.diag(torch.linspace(1, 0.05, len(values))) @ right)
    across = left.T @ found @ right.T
    assert torch.diagonal(across).min() > 0.6
    assert torch.diagonal(across).max() < 1.3
    assert (across - torch.diag(torch.diagonal(across))).abs().max() < 1e-4
    assert torch.equal(orthogonal(torch.zeros(shape)), torch.zeros(shape))


def small_network():
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.ReLU())
    network = torch.nn.Sequential(body, torch.nn.Conv3d(6, 2, 1))
    names = [(name.replace("1.weight", "seg_layers.weight"), one) for name, one in network.named_parameters()]
    return network, names


def losses(network, optimiser, steps):
    image = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    target = (image[:, 0] > 0).long()
    found = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(image), target)
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    return found


def test_kernels_and_the_rest_are_told_apart_and_both_learn():
    network, names = small_network()
    optimiser = Muon(names, lr=5e-3, weight_decay=0.0)
    assert [len(group["params"]) for group in optimiser.param_groups] == [1, 3]
    found = losses(network, optimiser, 40)
    assert found[-1] < 0.5 * found[0]


def test_training_goes_on_from_its_state_as_if_unbroken():
    network, names = small_network()
    whole = losses(network, Muon(names, lr=5e-3, weight_decay=1e-3), 12)
    network, names = small_network()
    first = Muon(names, lr=5e-3, weight_decay=1e-3)
    begun = losses(network, first, 5)
    second = Muon(names, lr=1.0, weight_decay=0.0)
    second.load_state_dict(first.state_dict())
    assert begun + losses(network, second, 7) == whole


def test_shares_of_labels_are_counted_over_all_cases():
    def case(value, count):
        labels = torch.zeros((1, 4, 4, 4), dtype=torch.uint8)
        labels.view(-1)[:count] = value
        return Case(labels.half(), labels, ())

    batches = Batches([case(1, 16), case(2, 8)], (4, 4, 4), 1, 0, torch.device("cpu"))
    assert batches.frequencies(4).tolist() == pytest.approx([104 / 128, 16 / 128, 8 / 128, 1e-6])


def test_an_image_smaller_than_a_patch_is_continued_by_its_border():
    seen = []

    def slide(image):
        seen.append(image)
        return torch.cat([image, 2 * image])

    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    torch.testing.assert_close(continued(slide, (4, 3, 7), image), torch.cat([image, 2 * image]))
    assert seen[0].shape == (1, 4, 3, 7)
    assert set(seen[0].unique().tolist()) == set(range(24)), "no value that the image has not"
    torch.testing.assert_close(seen[0][0, 0, :, 1:5], image[0, 0])


def test_scans_are_squeezed_before_they_are_segmented(monkeypatch):
    predicting = pytest.importorskip("nnunetv2.inference.predict_from_raw_data")

    class Slides:
        def __init__(self, **_):
            pass

        def manual_initialization(self, network, *_):
            self.predict_sliding_window_return_logits = network

    monkeypatch.setattr(predicting, "nnUNetPredictor", Slides)
    trainer = SimpleNamespace(
        output_folder="",
        load_checkpoint=lambda _: None,
        set_deep_supervision_enabled=lambda _: None,
        device=torch.device("cpu"),
        network=torch.nn.Identity(),
        plans_manager=None,
        configuration_manager=SimpleNamespace(patch_size=(2, 2, 2)),
        dataset_json={},
        squeeze=squeeze({"mean": 0.0, "std": 400.0}),
    )
    image = torch.linspace(-1, 1, 27).reshape(1, 3, 3, 3)
    with torch.enable_grad():  # which predictor_of switches off
        found = predictor_of(trainer).predict_sliding_window_return_logits(image)
    torch.testing.assert_close(found, trainer.squeeze(image))
    twice = SimpleNamespace(**{**vars(trainer), "network": torch.nn.Conv3d(1, 1, 1)})
    torch.nn.init.constant_(twice.network.weight, 3.0)
    torch.nn.init.zeros_(twice.network.bias)
    with torch.enable_grad():
        mean = predictor_of(trainer, twice).predict_sliding_window_return_logits(image)
    torch.testing.assert_close(mean, 2 * trainer.squeeze(image))


def test_thin_volumes_are_convolved_in_single_precision(monkeypatch):
    autocast = pytest.importorskip("downstream.trainers.autocast")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    layer = torch.nn.Conv3d(192, 192, 3, padding=1)
    for _ in range(8):
        _ = torch.full((192 * 192 * 27 // 2,), 1e30)  # what memory may hold that is used next
        with autocast.autocast_cpu(torch.device("cpu")):
            thin, thick = layer(torch.ones(2, 192, 2, 2, 16)), layer(torch.ones(1, 192, 3, 3, 3))
        assert (thin.dtype, thick.dtype) == (torch.float32, torch.bfloat16)
        thin.square().mean().backward()
        assert float(layer.weight.grad.abs().max()) < 1e3
        layer.weight.grad = None


def test_a_loss_that_is_no_number_ends_the_training_with_weights_unharmed():
    trainers = pytest.importorskip("downstream.trainers.nnUNetTrainerTransfer")
    network = torch.nn.Conv3d(1, 1, 1)
    before = network.weight.detach().clone()
    trainer = SimpleNamespace(
        device=torch.device("cpu"),
        network=torch.nn.Sequential(network),
        optimizer=torch.optim.SGD(network.parameters(), 1.0),
        loss=lambda outputs, _: outputs[0].sum() * float("nan"),
        current_epoch=6,
        _targets=lambda labels: [labels],
    )
    with pytest.raises(FloatingPointError, match="step 7: loss nan"):
        trainers.nnUNetTrainerTransfer._step(trainer, torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4))
    assert torch.equal(network.weight, before)


def test_rare_labels_weigh_more_at_first_and_like_all_others_at_last():
    trainers = pytest.importorskip("downstream.trainers.nnUNetTrainerTransfer")
    frequencies = torch.tensor([0.9, 0.0999, 0.0001])
    first, half, last = (trainers._weights(frequencies, left) for left in (1.0, 0.5, 0.0))
    assert first.tolist() == sorted(first.tolist())
    assert first[1] / first[0] == pytest.approx(9.009**0.5, rel=1e-3)
    assert half[1] / half[0] == pytest.approx(9.009**0.25, rel=1e-3)
    assert float(first[2]) == pytest.approx(30.0), "at most"
    assert last.tolist() == pytest.approx([1.0] * 3)
