"""A text encoder from a local folder: frozen, not saved, and blind to padding."""

from pathlib import Path

import pytest
import torch

from factory.engines.guidegen.config import MasksConfig
from factory.engines.guidegen.networks import synthesizer
from factory.models.injection import InjectionSize
from factory.models.synthesizer import SynthesizerSize
from factory.models.text_encoder import FrozenEncoder, TextSize
from factory.models.unet import UNetSize
from manifests.anatomy import table_hash
from manifests.errors import FileFormatError, LocationError

pytestmark = pytest.mark.slow  # transformers takes seconds to import


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An encoder of one layer and five words, as Hugging Face saves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "man": 3, "woman": 4}
    rules = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=rules, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=5, **sizes)).save_pretrained(tmp_path)
    return tmp_path


def config(encoder: Path) -> MasksConfig:
    size = SynthesizerSize(UNetSize(4, (1, 2), 1, 1), TextSize(), InjectionSize(2, 1, 2), 4)
    return MasksConfig(anatomy_ids=(1,), anatomy_table=table_hash(), spacing_mm=24.0, encoder=encoder, size=size)


def test_it_is_frozen_and_no_part_of_the_weights(folder: Path) -> None:
    net, told = synthesizer(config(folder))
    assert isinstance(net.conditioner.encoder, FrozenEncoder)
    assert [name for name in net.state_dict() if "encoder" in name] == ["conditioner.encoder.nothing"]
    context = net.conditioner.encoder(told(["a man", "a"]), torch.tensor([True, True]))
    alone = net.conditioner.encoder(told(["a"]), torch.tensor([True]))
    assert context.tokens.shape == (2, 2, 16)
    assert context.present.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(context.tokens[1:, :1], alone.tokens)
    frozen = net.conditioner.encoder._model[0].parameters()
    assert not any(parameter.requires_grad for parameter in frozen)


def test_text_that_is_not_told_is_one_learned_token(folder: Path) -> None:
    net, told = synthesizer(config(folder))
    silent = net.conditioner.encoder(told(["a man", "a woman"]), torch.tensor([False, False]))
    assert silent.present.tolist() == [[True, False]] * 2
    torch.testing.assert_close(silent.tokens[0, 0], net.conditioner.encoder.nothing)


def test_a_folder_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(LocationError, match=r"no config\.json"):
        synthesizer(config(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileFormatError, match="safetensors"):
        synthesizer(config(tmp_path))
