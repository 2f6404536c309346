"""Networks: what they must ignore, what they must notice, and shapes that nothing divides."""

import pytest
import torch

from factory.models import synthesizer as synthesizer_module
from factory.models.autoencoder import Autoencoder, AutoencoderSize
from factory.models.blocks import Context, Conv3d
from factory.models.condition import Condition
from factory.models.facts import Facts
from factory.models.feature_generator import FeatureGenerator, FeatureGeneratorSize
from factory.models.injection import InjectionSize
from factory.models.mask_encoder import LabelEmbedding
from factory.models.slice_generator import SliceGenerator, SliceGeneratorSize
from factory.models.synthesizer import Synthesizer, SynthesizerSize
from factory.models.text_encoder import TextEncoder, TextSize
from factory.models.tokenizer import Tokenizer, vocabulary
from factory.models.unet import UNet, UNetSize
from factory.models.view import View
from factory.models.window import draw_window

UNET = UNetSize(width=8, multipliers=(1, 2), attention=1)
TEXT = TextSize(width=16, layers=1, heads=2)
TEXTS = ["a woman with one tumour of the liver, 31 mm", "a man"]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def awake(module: torch.nn.Module) -> torch.nn.Module:
    """The module with no parameter at zero, so that every path carries something."""
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module.eval()


def condition(texts: list[str] = TEXTS, keep: tuple[bool, ...] = (True, True)) -> Condition:
    ids = Tokenizer(vocabulary(TEXTS))(texts)
    size = torch.tensor([[4.0, 3.0, 3.0]] * len(texts))
    return Condition(ids, torch.tensor(keep), View(size, size * 10))


def synthesizer(queries: int = 4) -> Synthesizer:
    size = SynthesizerSize(UNET, TEXT, InjectionSize(queries, 1, 2), label_width=4)
    return awake(Synthesizer(size, 5, TextEncoder(TEXT, Tokenizer(vocabulary(TEXTS)).values)))


def labels(classes: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, classes, shape)


@pytest.mark.parametrize("queries", [0, 4])
def test_padding_tokens_change_nothing(queries: int) -> None:
    net = synthesizer(queries)
    anatomy, lesions, t = labels(5, 2, 5, 7, 6), labels(2, 2, 5, 7, 6), torch.tensor([3, 900])
    both = net(anatomy, lesions, t, condition())
    alone = net(anatomy[1:], lesions[1:], t[1:], condition(TEXTS[1:], (True,)))
    for one, other in zip(both, alone, strict=True):
        torch.testing.assert_close(one[1:], other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("queries", [0, 4])
def test_every_condition_matters(queries: int) -> None:
    net = synthesizer(queries)
    anatomy, lesions, t = labels(5, 1, 5, 7, 6), labels(2, 1, 5, 7, 6), torch.tensor([100])
    told = condition(TEXTS[:1], (True,))
    base = net(anatomy, lesions, t, told)[0]
    view = View(told.view.spacing_mm * 2, told.view.extent_mm)
    others = {
        "text": net(anatomy, lesions, t, condition(TEXTS[1:], (True,)))[0],
        "no text": net(anatomy, lesions, t, told.without_text())[0],
        "step": net(anatomy, lesions, t + 500, told)[0],
        "spacing": net(anatomy, lesions, t, Condition(told.ids, told.keep, view))[0],
        "lesions": net(anatomy, 1 - lesions, t, told)[0],
    }
    for name, other in others.items():
        assert (other - base).abs().max() > 1e-4, name


def test_text_that_is_not_told_is_not_read() -> None:
    net = synthesizer()
    anatomy, lesions, t = labels(5, 1, 4, 4, 4), labels(2, 1, 4, 4, 4), torch.tensor([100])
    silent = [net(anatomy, lesions, t, condition([text], (False,)))[0] for text in TEXTS]
    torch.testing.assert_close(silent[0], silent[1], rtol=1e-5, atol=1e-5)


def test_recomputing_features_gives_the_same_gradients() -> None:
    nets = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        size = UNetSize(width=8, multipliers=(1, 2), attention=2, checkpointing=checkpointing)
        net = awake(UNet(size, 3, 2, 6, 5)).train()
        net(torch.ones(1, 3, 5, 6, 7), torch.ones(1, 6), [Context(torch.ones(1, 2, 5))] * 2).square().sum().backward()
        nets.append(net)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("bottleneck", ["kl", "vq"])
def test_masks_reach_every_level_of_the_autoencoder(bottleneck: str) -> None:
    """With the latents fixed, a lesion of one voxel changes the decoded CT; without the pyramid nothing does."""
    changed = {}
    for width in (0, 4):
        size = AutoencoderSize(8, (1, 2, 2), 1, 3, bottleneck, 32, width)
        net = awake(Autoencoder(size, 5))
        anatomy, lesions = labels(5, 1, 8, 8, 12), torch.zeros(1, 8, 8, 12, dtype=torch.long)
        latents = net.encode(torch.randn(1, 1, 8, 8, 12), anatomy, lesions)[2]
        assert latents.shape == (1, 3, 2, 2, 3)
        lesion = lesions.clone()
        lesion[0, 4, 4, 4] = 1
        changed[width] = (net.decode(latents, anatomy, lesions) - net.decode(latents, anatomy, lesion)).abs().max()
    assert changed[0] == 0
    assert changed[4] > 1e-4


def test_levels_of_hu_go_past_the_normalised_features() -> None:
    net = awake(Autoencoder(AutoencoderSize(8, (1, 2), 1, 2), 3))
    anatomy, none = labels(3, 1, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.long)
    latents = torch.ones(1, 2, 2, 2, 2)
    far, farther = (net.decode(latents * level, anatomy, none) for level in (1e6, 2e6))
    torch.testing.assert_close(
        farther - far, 1e6 * (net.coarse_out.weight.sum() + torch.zeros_like(far)), rtol=1e-3, atol=1
    )
    before = net.decode(latents, anatomy, none)
    net.usual.weight.data[1] += 0.25
    torch.testing.assert_close(net.decode(latents, anatomy, none) - before, 0.25 * (anatomy == 1)[:, None])
    before = net.decode(latents, anatomy, none + 1)
    net.usual.weight.data[3 + 1] += 0.5  # of lesions in that class
    torch.testing.assert_close(net.decode(latents, anatomy, none + 1) - before, 0.5 * (anatomy == 1)[:, None])


def test_a_codebook_gives_its_own_entries_and_trains_them() -> None:
    net = Autoencoder(AutoencoderSize(8, (1, 2), 1, 2, "vq", 16, 0), 2)
    nothing = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    entries, loss, latents = net.encode(torch.randn(1, 1, 4, 4, 4), nothing, nothing)
    table = net.bottleneck.entries.weight
    distance = torch.cdist(entries.movedim(1, -1).reshape(-1, 2), table)
    assert distance.min(1).values.max() < 1e-5
    torch.testing.assert_close(net.bottleneck.settle(latents), entries)
    loss.backward()
    assert table.grad.abs().sum() > 0


def test_the_generator_reads_masks_and_latents() -> None:
    size = FeatureGeneratorSize(UNET, TEXT, InjectionSize(0), mask_width=4)
    net = awake(FeatureGenerator(size, 5, (3, 1), TextEncoder(TEXT, torch.full((400,), torch.nan))))
    anatomy, lesions = labels(5, 2, 6, 8, 10), labels(2, 2, 6, 8, 10)
    z, t = torch.randn(2, 3, 3, 4, 5), torch.tensor([1, 500])
    base = net(z, t, net.encode_masks(anatomy, lesions, condition()), condition())
    assert base.shape == z.shape
    assert (net(z, t, net.encode_masks(anatomy, 1 - lesions, condition()), condition()) - base).abs().max() > 1e-4
    assert (net(z + 1, t, net.encode_masks(anatomy, lesions, condition()), condition()) - base).abs().max() > 1e-4


def test_structures_look_as_the_text_says() -> None:
    embedding = awake(LabelEmbedding(5, 3, 2))
    anatomy, none = labels(5, 2, 4, 4, 4), torch.zeros(2, 4, 4, 4, dtype=torch.long)
    facts = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    moved = embedding(anatomy, none, facts) - embedding(anatomy, none, torch.zeros(2, 2))
    slopes = embedding.by_fact.weight.view(5, 3, 2)
    expected = torch.stack([slopes[where] @ told for where, told in zip(anatomy, facts, strict=True)]).movedim(-1, 1)
    torch.testing.assert_close(moved, expected)


def test_patches_see_and_give_back_every_voxel() -> None:
    """A voxel's label reaches its own logits, at every place of a shape that patches do not divide."""
    net = synthesizer()
    lesions, t = torch.zeros(1, 5, 3, 6, dtype=torch.long), torch.tensor([2])
    base = net(torch.zeros_like(lesions), lesions, t, condition(TEXTS[:1], (True,)))[0]
    assert base.shape == (1, 5, 5, 3, 6)
    for place in ((4, 2, 5), (0, 0, 0), (1, 2, 3)):
        anatomy = torch.zeros_like(lesions)
        anatomy[(0, *place)] = 3
        changed = (net(anatomy, lesions, t, condition(TEXTS[:1], (True,)))[0] - base).abs().amax((0, 1))
        assert changed[place] > 2 * changed.median()


@pytest.mark.parametrize("at_once", [50, 1024])
def test_a_few_voxels_are_predicted_as_among_all(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("factory.diffusion.rows._FEW", at_once)
    net = synthesizer()
    anatomy, lesions, t = labels(5, 2, 5, 7, 6), labels(2, 2, 5, 7, 6), torch.tensor([3, 900])
    at = torch.randint(0, 5 * 7 * 6, (2, 40))
    some, every = net(anatomy, lesions, t, condition(), at), net(anatomy, lesions, t, condition())
    for one, logits in zip(some, every, strict=True):
        wanted = logits.flatten(2).gather(2, at[:, None].expand(-1, logits.shape[1], -1))
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("queries", [0, 4])
def test_an_encoder_learns_what_its_texts_say(queries: int) -> None:
    """From the facts alone, before any volume: which class bears a tumour, and that another is absent."""
    net = synthesizer(queries).conditioner
    ids = condition().ids
    tumour, present = torch.eye(5)[[1, 3]], 1 - torch.eye(5)[[2, 4]]
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        facts = net.read(ids)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits
        optimiser.zero_grad()
        (entropy(facts.tumour, tumour) + entropy(facts.present, present)).backward()
        optimiser.step()
    assert torch.equal(net.read(ids).tumour > 0, tumour > 0)
    assert torch.equal(net.read(ids).present > 0, present > 0)


def test_numbers_are_told_by_value() -> None:
    told = Tokenizer(vocabulary(["a man of 7 and 300 years, 8.5 cm"]))
    spelled = [told.words[number - 2] for number in told(["59 mm 300 mm 8.5"])[0].tolist()]
    assert spelled == ["59", "m", "m", "3", "0", "0", "m", "m", "8", ".", "5"]
    values = told.values
    assert len(values) == told.size
    assert {float(value) for value in values[~values.isnan()]} == {float(number) for number in range(251)}
    encoder = TextEncoder(TEXT, values)
    told_by_value = {number: encoder.values[told.words.index(str(number)) + 2] for number in (20, 21, 60, 180)}
    near = (told_by_value[20] - told_by_value[21]).norm()
    assert near < 0.5 * (told_by_value[20] - told_by_value[60]).norm()
    assert near < 0.5 * (told_by_value[20] - told_by_value[180]).norm()
    assert not encoder.values[told.words.index("man") + 2].any()


class Said(torch.nn.Module):
    """Facts that do not depend on the text."""

    def __init__(self, tumour: list[float]) -> None:
        super().__init__()
        chances = torch.tensor([tumour]).logit()
        self.said = Facts(torch.full_like(chances, 9.0), chances, chances, torch.zeros(1, 4), torch.zeros(1, 5))

    def forward(self, read: torch.Tensor) -> Facts:
        return self.said


def test_a_lesion_is_as_likely_as_its_structure_is_asked_to_bear_one() -> None:
    net, none = synthesizer(), torch.zeros(1, 2, 2, 2, dtype=torch.long)
    torch.nn.init.zeros_(net.lesion_head[2].weight)
    found = []
    for chance in (0.5, 0.05):
        net.conditioner.facts = Said([1e-6, chance, chance, chance, chance])
        anatomy, lesions = net(none, none, torch.tensor([500]), condition(TEXTS[:1], (True,)))
        bearing = (anatomy.softmax(1)[:, 1:] * chance).sum(1) + anatomy.softmax(1)[:, 0] * 1e-6
        torch.testing.assert_close((lesions[:, 1] - lesions[:, 0]).diff(dim=1), bearing.log().diff(dim=1))
        found.append((lesions[:, 1] - lesions[:, 0], bearing.log()))
    torch.testing.assert_close(found[0][0] - found[1][0], found[0][1] - found[1][1])


def test_a_lesion_that_shows_lies_where_one_was_asked() -> None:
    net, none = synthesizer(), torch.zeros(1, 2, 2, 2, dtype=torch.long)
    net.conditioner.facts = Said([1e-6, 1e-6, 1e-6, 0.9, 1e-6])
    anatomy, _ = net(none, none + 1, torch.tensor([500]), condition(TEXTS[:1], (True,)))
    assert (anatomy.argmax(1) == 3).all()


def test_what_reads_the_text_is_fixed_and_the_rest_learns() -> None:
    net = synthesizer()
    net.conditioner.settle()
    anatomy, lesions = labels(5, 2, 4, 4, 4), labels(2, 2, 4, 4, 4)
    sum(logits.square().mean() for logits in net(anatomy, lesions, torch.tensor([3, 900]), condition())).backward()
    learns = {name for name, one in net.named_parameters() if one.grad is not None and one.grad.any()}
    read = tuple(f"conditioner.{part}" for part in ("encoder", "facts", "injection.queries", "injection.decoder"))
    assert not [name for name in learns if name.startswith(read)]
    assert {"conditioner.injection.heads.0.weight", "conditioner.mix.0.weight", "anatomy_head.weight"} <= learns


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_convolution_is_torchs_with_and_without_gradient(kernel: int, stride: int) -> None:
    ours = Conv3d(6, 8, kernel, stride=stride, padding=kernel // 2)
    theirs = torch.nn.Conv3d(6, 8, kernel, stride=stride, padding=kernel // 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 5, 7, 9, 6).movedim(-1, 1)  # strided, as embeddings are
    wanted = theirs(x)
    assert torch.equal(ours(x), wanted)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), wanted, rtol=1e-5, atol=1e-5)


def test_patches_are_gathered_and_scattered_without_loss() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).view(2, 3, 4, 6, 8)
    gathered = synthesizer_module._gathered(x, 2)
    assert torch.equal(gathered[0, :8, 0, 0, 0], x[0, 0, :2, :2, :2].flatten())
    assert torch.equal(synthesizer_module._scattered(gathered, 2), x)


def test_critics_and_autoencoder_do_not_train_each_other() -> None:
    pytest.importorskip("monai")
    from factory.models.critics import Critics

    critics, real = Critics(8), torch.randn(2, 1, 16, 16, 16)
    made = torch.randn(2, 1, 16, 16, 16, requires_grad=True)
    deceived, own = critics.judge(real, made, 1)
    deceived.backward(retain_graph=True)
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critics.parameters())
    made.grad = None
    own.backward()
    assert made.grad is None
    assert all(parameter.grad is not None for parameter in critics.parameters())


def test_a_slice_sees_its_masks_and_the_slices_below_it() -> None:
    size = SliceGeneratorSize(UNET, TEXT, InjectionSize(0), mask_width=3, before=2)
    net = awake(SliceGenerator(size, 5, TextEncoder(TEXT, torch.full((400,), torch.nan))))
    told = condition(TEXTS[:1], (True,))
    masks, before, x = (
        (labels(5, 1, 3, 6, 7), labels(2, 1, 3, 6, 7)),
        torch.randn(1, 2, 6, 7),
        torch.randn(1, 1, 1, 6, 7),
    )
    places, t = torch.zeros(1, 6, 1, 6, 7), torch.tensor([40])

    def predict(*surroundings) -> torch.Tensor:
        return net(x, t, (net.surroundings(*surroundings), places), told)

    base = predict(masks, before, 5)
    assert (predict((masks[0], 1 - masks[1]), before, 5) - base).abs().max() > 1e-4
    assert (predict(masks, before + 1, 5) - base).abs().max() > 1e-4
    other = before.clone()
    other[:, 0] += 1  # the second slice below, which the lowest but one has not
    torch.testing.assert_close(predict(masks, other, 1), predict(masks, before, 1))
    torch.testing.assert_close(predict(masks, before, 0), predict(masks, other * 3, 0))


def test_numbers_and_unknown_words_are_spelled() -> None:
    tokenizer = Tokenizer(vocabulary(TEXTS))
    row = [tokenizer.words[number - 2] for number in tokenizer(["Liver 47 mm, zq"])[0]]
    assert row == ["liver", "47", "mm", ",", "z", "q"]
    assert tokenizer(["", "man"]).tolist() == [[1], [tokenizer.words.index("man") + 2]]


def test_windows_always_overlap_the_data() -> None:
    ct = torch.linspace(-1, 3, 64).view(4, 4, 4)
    for seed in range(200):
        shown = draw_window(ct, torch.Generator().manual_seed(seed))(ct)
        assert (shown.abs() < 1).any()


def test_coordinates_are_millimetres_from_the_centre() -> None:
    view = View(torch.tensor([[10.0, 2.0, 4.0]]), torch.tensor([[40.0, 8.0, 16.0]]))
    places = view.coordinates((6, 4, 4))  # two slices of padding
    assert places[0, 0, :4, 0, 0].tolist() == pytest.approx([-15 / 200, -5 / 200, 5 / 200, 15 / 200])
    assert places[0, 1, :, 0, 0].tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75, 1.25, 1.75])


def test_thin_volumes_are_convolved_in_single_precision_under_autocast() -> None:
    layer = Conv3d(2, 3, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        thin, thick = layer(torch.ones(1, 2, 2, 4, 4)), layer(torch.ones(1, 2, 3, 4, 4))
    assert (thin.dtype, thick.dtype) == (torch.float32, torch.bfloat16)
