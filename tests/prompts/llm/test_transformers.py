"""A real local model: from a folder to a grounded prompt, and folders that are none."""

import asyncio
import shutil
import sys
from dataclasses import replace

import pytest

from manifests.errors import FileFormatError, LocationError, MissingDependencyError
from prompts.grounding import ground, verify
from prompts.llm.chat import FatalChatError, RefusedRequestError
from prompts.llm.conversation import converse
from prompts.llm.instructions import RequestSettings, first_request
from prompts.llm.transformers_chat import TransformersChat
from prompts.schema import Patient, Prompt, Study, Tumour
from tests.prompts.llm.conftest import ENGLISH, GERMAN

pytest.importorskip("torch")
pytest.importorskip("transformers")

PROMPTS = {
    GERMAN: Prompt(
        patient=Patient(age_years=61, sex="female"),
        study=Study(contrast_phase="portal_venous", region="abdomen"),
        tumours=(Tumour(organ="kidney", side="left", size_mm=42, t_stage="T1b"),),
    ),
    ENGLISH: Prompt(patient=Patient(age_years=58, sex="male"), tumours=(Tumour(organ="liver", size_mm=30),)),
}


@pytest.fixture(scope="module")
def model(tiny_model):
    return TransformersChat(tiny_model[0])


def ask(model, report, **settings):
    return first_request(report, model.name, model.endpoint, RequestSettings(**settings))


@pytest.mark.parametrize("report", PROMPTS, ids=["german", "english"])
def test_a_report_becomes_its_prompt(model, tiny_model, report):
    outcome = asyncio.run(converse(ask(model, report), model.complete))
    assert (outcome.failure, outcome.requests) == (None, 1)
    assert outcome.answer == tiny_model[1][report]
    found = ground(report, outcome.answer)
    assert found.prompt == PROMPTS[report]
    assert found.dropped == ()
    assert verify(report, found) == ()


def test_tokens_are_counted_and_length_is_told(model):
    whole = asyncio.run(model.complete(ask(model, ENGLISH)))
    cut = asyncio.run(model.complete(ask(model, ENGLISH, max_output_tokens=3)))
    assert (whole.finish, cut.finish) == ("stop", "length")
    assert cut.usage.output == 3 < whole.usage.output
    assert whole.usage.input == cut.usage.input > len(ENGLISH)
    assert whole.text.startswith(cut.text)
    assert whole.model == model.name


def test_the_loop_stays_free_and_requests_take_turns(model):
    async def run():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        done = await asyncio.gather(*(model.complete(ask(model, report)) for report in (GERMAN, ENGLISH, GERMAN)))
        ticking.cancel()
        return done, ticks

    done, ticks = asyncio.run(run())
    assert done[0].text == done[2].text != done[1].text
    assert ticks > 10


def test_what_a_local_model_cannot_do_is_said(model):
    request = ask(model, ENGLISH)
    with pytest.raises(FatalChatError, match="greedily"):
        asyncio.run(model.complete(replace(request, temperature=0.5)))
    with pytest.raises(FatalChatError, match="asks for other"):
        asyncio.run(model.complete(replace(request, model="other")))
    with pytest.raises(RefusedRequestError, match="context"):
        asyncio.run(model.complete(ask(model, "long " * 2000)))


def test_the_name_is_the_content(model, tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model[0], tmp_path / "copy")
    assert TransformersChat(copy).name == model.name
    config = copy / "generation_config.json"
    config.write_text(config.read_text().replace("{", '{"top_k": 7,', 1))
    assert TransformersChat(copy).name != model.name


def test_folders_that_hold_no_model(tiny_model, tmp_path):
    with pytest.raises(LocationError, match="no such folder"):
        TransformersChat(tmp_path / "none")
    with pytest.raises(FileFormatError, match="no safetensors"):
        TransformersChat(tmp_path)
    for name, content in (("model.safetensors", b"xx"), ("config.json", b"{}"), ("tokenizer.json", b"{")):
        broken = shutil.copytree(tiny_model[0], tmp_path / name)
        (broken / name).write_bytes(content)
        with pytest.raises(FileFormatError, match="causal language model"):
            TransformersChat(broken)


def test_without_the_package_the_error_names_it(tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"ct-factory\[transformers\]"):
        TransformersChat(tiny_model[0])
