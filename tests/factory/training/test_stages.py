"""The three stages by the command line on a toy dataset: trained, resumed, packed, and drawn from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from factory.cli import _engines, main
from factory.engines.guidegen import networks
from factory.engines.guidegen.config import AutoencoderConfig, LatentsConfig
from factory.engines.guidegen.sampling import Drawing, draw_ct
from factory.models.autoencoder import AutoencoderSize
from factory.models.feature_generator import FeatureGeneratorSize
from factory.models.injection import InjectionSize
from factory.models.slice_generator import SliceGeneratorSize
from factory.models.synthesizer import SynthesizerSize
from factory.models.text_encoder import TextSize
from factory.models.unet import UNetSize
from factory.testing import TOY_PRESET, make_request
from factory.training import facts, presets, starts, texts
from factory.training.autoencoder import by_structure
from factory.training.data import Cases
from factory.training.distributed import joined
from factory.training.masks import judged
from factory.training.presets import StagePreset
from factory.training.recipe import Recipe
from factory.training.short_texts import short_text
from factory.training.texts import prompt_of, text_for, whole_text_for
from manifests.anatomy import table_hash
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from prompts.lexicon import lexicon
from prompts.render import render
from prompts.schema import Prompt, Tumour

RECIPE = Recipe(batch=2, steps=2, save_every=1, validate_every=2, held_out=0.3)
UNET, TEXT, INJECTION = UNetSize(4, (1, 2), 1, 1), TextSize(8, 1, 1, 96), InjectionSize(2, 1, 1)
SIZES = {
    "masks": StagePreset(24.0, SynthesizerSize(UNET, TEXT, INJECTION, 4), RECIPE),
    "autoencoder": StagePreset(24.0, AutoencoderSize(4, (1, 2), 1, 2, "kl", 8, 2), RECIPE, (8, 8, 8)),
    "latents": StagePreset(24.0, FeatureGeneratorSize(UNET, TEXT, INJECTION, 2), RECIPE),
    "slices": StagePreset(24.0, SliceGeneratorSize(UNET, TEXT, INJECTION, 2, 2), RECIPE),
}


@pytest.fixture
def toy_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny networks, and texts in one wording: checked by beartype, paraphrases take seconds."""
    monkeypatch.setattr(texts, "paraphrase", lambda prompt, seed: f"{seed % 7}: {render(prompt)}")
    monkeypatch.setattr(texts, "_sites", tuple)
    monkeypatch.setattr(facts, "PROMPTS", 4)
    monkeypatch.setattr(facts, "WARM_STEPS", 2)
    monkeypatch.setattr(presets, "PRESETS", {stage: {"toy": size} for stage, size in SIZES.items()})


@pytest.fixture
def data(toy_run) -> Path:
    run = toy_run(4)
    list(run)
    return run.dataset.root


def call(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    assert not ended.value.code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("toy_size")
def test_from_a_dataset_to_cases_of_ones_own_weights(data: Path, tmp_path: Path, capsys) -> None:
    masks, coder, latents = (tmp_path / name for name in ("masks", "ae", "latents"))
    common = ("--data", data, "--preset", "toy")
    first = call(capsys, "train", "masks", *common, "--out", masks)
    assert first["scores"]["loss"] > 0
    assert {path.name for path in (masks / "pictures").iterdir()} == {"masks-00000002.png"}
    assert call(capsys, "train", "masks", *common, "--out", masks, "--steps", "3")["losses"]
    with pytest.raises(SystemExit) as ended:
        main(["train", "masks", *map(str, common), "--out", str(masks), "--seed", "1"])
    assert ended.value.code == 2
    assert "seed; need what it was started with" in capsys.readouterr().err
    assert call(capsys, "train", "autoencoder", *common, "--out", coder)["scores"]["error_hu"] > 0
    assert call(capsys, "train", "latents", *common, "--out", latents, "--autoencoder", coder)["scores"]["loss"] > 0
    call(capsys, "train", "pack", coder, "--out", tmp_path / "coder")
    alone = (*common, "--autoencoder", tmp_path / "coder", "--steps", "1", "--diffusion-steps", "9", "--no-masks")
    assert call(capsys, "train", "latents", *alone, "--out", tmp_path / "alone")["scores"]["loss"] > 0
    assert call(capsys, "train", "slices", *common, "--out", tmp_path / "slices")["scores"]["loss"] > 0
    packed = call(capsys, "train", "pack", masks, coder, latents, tmp_path / "slices", "--out", tmp_path / "weights")
    assert packed["stages"]["masks"]["step"] == 3
    assert "No patient was in the training data" in (tmp_path / "weights" / "README.md").read_text()
    # that they draw inside a build is tested beside the engine
    name = f"guidegen:{tmp_path / 'weights'}"
    assert _engines("guidegen", None, None, tmp_path / "weights") == (name, name)
    assert _engines(None, "phantom", "guidegen", tmp_path / "weights") == ("phantom", name)
    with pytest.raises(InvalidValueError, match="takes weights"):
        _engines("phantom", None, None, tmp_path / "weights")


@pytest.mark.parametrize("reads", ["masks", "text"])
def test_stage_three_may_be_told_one_of_masks_and_text(reads: str) -> None:
    """What it is not told changes nothing that it draws; what it is told does."""
    shared = {"anatomy_ids": (1, 2), "anatomy_table": table_hash(), "spacing_mm": 24.0, "steps": 4, "guidance": 2.0}
    size = replace(SIZES["latents"].size, mask_width=2 if reads == "masks" else 0)
    config = LatentsConfig(
        **shared,
        words=("a", "man", "woman"),
        size=size,
        reads_text=reads == "text",
        latent_channels=2,
        halvings=1,
        autoencoder_sha256="",
        latent_mean=(0.0, 0.0),
        latent_sd=(1.0, 1.0),
    )
    coder = AutoencoderConfig(
        **{name: shared[name] for name in list(shared)[:3]}, size=AutoencoderSize(4, (1, 2), 1, 2)
    )
    coder = coder.model_copy(update={"size": replace(coder.size, label_width=0)})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (net, told), decoder = networks.generator(config), networks.autoencoder(coder)
        for parameter in (*net.parameters(), *decoder.parameters()):
            parameter.data += 0.3 * torch.randn_like(parameter)
    grid, ones = Grid((4, 6, 6), (24.0,) * 3), np.ones((4, 6, 6), np.uint8)

    def draw(text: str, anatomy: np.ndarray) -> np.ndarray:
        drawing = Drawing(text, grid, [torch.Generator().manual_seed(0)], 2, 2.0)
        return draw_ct((decoder, net), told, config, drawing, (anatomy, 0 * ones))

    first, other_text, other_masks = draw("a man", ones), draw("a woman", ones), draw("a man", 2 * ones)
    assert np.array_equal(first, other_text) == (reads == "masks")
    assert np.array_equal(first, other_masks) == (reads == "text")


@pytest.mark.usefixtures("toy_size")
@pytest.mark.parametrize("start", [starts.start_masks, starts.start_slices])
def test_texts_teach_what_reads_them_and_cases_leave_it(data: Path, start) -> None:
    said = (None, starts.TextChoice()) if start is starts.start_masks else (None, starts.TextChoice(), "v")
    with joined() as team:
        stage, _ = start([data], SIZES["masks" if start is starts.start_masks else "slices"], RECIPE, said)(team)
        reader = stage.network.conditioner
        fresh = {name: tensor.clone() for name, tensor in reader.state_dict().items()}
        stage.warm_up(1)
        moved = {name for name, tensor in reader.state_dict().items() if not torch.equal(tensor, fresh[name])}
        assert {"facts.answer.1.weight", "injection.queries"} <= moved
        stage.settle()
        stage(stage.collate([stage.fetch(0, 1), stage.fetch(1, 2)]))["loss"].backward()
    learns = {name for name, parameter in reader.named_parameters() if parameter.grad is not None}
    assert {name.partition(".")[0] for name in learns} == {"mix", "injection"}
    assert {name for name in learns if name.startswith("injection")} == {
        f"injection.heads.0.{name}" for name, _ in reader.injection.heads[0].named_parameters()
    }


def test_a_dataset_of_one_case_is_too_small(toy_run) -> None:
    run = toy_run(1)
    list(run)
    with pytest.raises(InvalidValueError, match="at least two"):
        Cases([run.dataset.root], 24.0, 0.1, with_ct=False)


def test_held_out_cases_are_never_trained_on(data: Path) -> None:
    cases = Cases([data], 24.0, 0.3, with_ct=True)
    ids = [{record.case_id for _, record in part} for part in (cases.training, cases.held_out)]
    assert len(ids[0]) == 3
    assert len(ids[1]) == 1
    assert not ids[0] & ids[1]
    example = cases.load(cases.training[0])
    assert cases.load(cases.training[0]) is example
    assert example.ct.shape == example.anatomy.shape == example.grid.shape_zyx
    assert -1.1 < example.ct.min() < -0.9


def test_a_rib_counts_like_a_liver() -> None:
    anatomy = torch.zeros(2, 1, 3, 100, dtype=torch.long)
    anatomy[0, 0, 0, :7], anatomy[1, 0, 1, 4] = 5, 9
    off = torch.full((2, 1, 1, 3, 100), 2.0)
    off[:, 0][anatomy == 5], off[:, 0][anatomy == 9] = 30.0, 70.0
    assert by_structure(off, anatomy) == pytest.approx((2 + 30 + 70) / 3)


def test_judged_voxels_stand_for_all_of_them() -> None:
    """All voxels near a lesion are taken; sums over the weighed voxels are those over all, on average."""
    rng = np.random.default_rng(0)
    values, lesions = rng.random((12, 10, 9)), np.zeros((12, 10, 9), np.uint8)
    lesions[5, 5, 5] = 1
    sums = []
    for _ in range(200):
        at, weight = judged(lesions, rng)
        found = values[tuple(at.numpy().T)]
        sums.append(float(found @ weight.numpy()))
    assert {(5, 5, 5), (4, 5, 6), (7, 5, 5)} <= {tuple(place) for place in at.tolist()}
    assert weight.sum() == pytest.approx(values.size)
    assert np.mean(sums) == pytest.approx(values.sum(), rel=0.01)


def test_what_a_prompt_says_becomes_what_the_encoder_should_read() -> None:
    prompt = Prompt.model_validate(
        {
            "patient": {"sex": "male", "age_years": 75},
            "tumours": [{"organ": "kidney", "count": 2}],
            "absent_organs": ["spleen"],
            "enlarged_organs": ["prostate"],
        }
    )
    classes = {"uterus": 1, "prostate": 2, "kidney_left": 3, "kidney_right": 4, "spleen": 5}
    said = facts.said_of([prompt], classes, 6)
    assert said.present.tolist() == [[1, 0, 1, 1, 1, 0]]
    assert said.tumour.tolist() == [[0, 0, 0, 0.5, 0.5, 0]]
    assert said.enlarged.tolist() == [[0, 0, 1, 0, 0, 0]]
    assert said.phase.tolist() == [-1]
    assert said.numbers[0, [0, 2]].tolist() == [1, 1]
    assert said.numbers[0].isnan().tolist() == [False, True, False, True, True]


def test_texts_always_tell_the_organs_of_tumours() -> None:
    rng = np.random.default_rng(0)
    request = make_request(Prompt.model_validate({"tumours": [{"organ": "liver", "size_mm": 30}]}), TOY_PRESET.grid())
    said = {text_for(request.subject, rng) for _ in range(8)}
    assert len(said) > 4
    words = {*lexicon("words")["liver"], *lexicon("diagnosis")["liver"]}
    assert all(any(word in text.lower() for word in words) for text in said)


def test_image_stages_are_told_all_of_a_prompt() -> None:
    asked = {"patient": {"age_years": 47, "sex": "female"}, "study": {"contrast_phase": "native"}}
    prompt = Prompt.model_validate(asked | {"tumours": [{"organ": "liver", "size_mm": 30, "count": 1}]})
    rng = np.random.default_rng(0)
    said = {whole_text_for(prompt, rng).lower() for _ in range(12)}
    assert len(said) > 4
    phases = {"native", "unenhanced", "non-enhanced", "non-contrast", "noncontrast", "without", "plain"}
    assert all("47" in text and any(word in text for word in phases) for text in said), said


def test_lessons_have_rare_organs_strange_words_and_several_wordings() -> None:
    count = 40
    prompts, lessons = facts._written(count)
    assert len(prompts) == len(lessons) == count * facts.WORDINGS
    assert len(set(lessons)) > 0.9 * len(lessons)
    told = [prompts[number] for number in range(0, len(prompts), facts.WORDINGS)]
    assert sum(bool(prompt.absent_organs) for prompt in told) > 0.25 * count
    assert {"thyroid_gland", "adrenal_gland"} & {one.organ for prompt in told for one in prompt.tumours[:1]}
    prompt = Prompt.model_validate({"patient": {"sex": "male"}, "tumours": [{"organ": "prostate", "count": 1}]})
    rng = np.random.default_rng(0)
    varied = [facts._with_rare(prompt, rng) for _ in range(60)]
    assert prompt in varied  # what would contradict itself stays as it was, and most are left alone
    assert all(one.patient == prompt.patient and len(one.tumours) == 1 for one in varied)
    strange = [facts._among_strange("a man with cancer", rng) for _ in range(60)]
    assert 30 < strange.count("a man with cancer") < 55
    assert all([word for word in text.split() if word in ("a", "man", "with", "cancer")][:4] for text in strange)


def test_a_diagnosis_is_told_with_its_site_where_the_organ_has_several() -> None:
    rng, places = np.random.default_rng(0), lexicon("words")
    for organ, site in (("liver", "liver"), ("lung", "lung_upper_lobe_left")):
        said = [short_text(Prompt(tumours=(Tumour(organ=organ, site=site),)), rng).lower() for _ in range(60)]
        names = (*places[site], *(lexicon("diagnosis")[organ] if organ == "liver" else ()))
        assert all(any(name in text for name in names) for text in said)
        assert any(name in text for name in lexicon("diagnosis")[organ] for text in said)


def test_the_prompt_of_a_case_is_what_was_drawn(data: Path) -> None:
    record = Cases([data], 24.0, 0.3, with_ct=False).training[0][1]
    prompt = prompt_of(record)
    assert prompt.attributes() == record.drawn
