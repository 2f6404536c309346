"""The answer's schema and what counts as an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.llm.answer import Answer, AnswerError, answer_schema, empty_answer, parse_answer, vocabulary
from prompts.schema import tumour_organs

EMPTY = empty_answer().model_dump_json()


def objects(schema):
    """All object schemas inside one."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_the_schema_is_one_that_strict_servers_take():
    schema = answer_schema()
    found = list(objects(schema))
    assert len(found) == 3
    for entry in found:
        assert entry["additionalProperties"] is False
        assert entry["required"] == list(entry["properties"])
    text = json.dumps(schema)
    for word in ("$ref", "$defs", "default", "anyOf", "null", "minimum", "maximum", "minItems", "maxLength", "pattern"):
        assert f'"{word}"' not in text
    assert len(text) < 4500  # it is sent, and often paid, with each request


def test_the_openai_client_takes_the_model_as_strict():
    pydantic = pytest.importorskip("openai.lib._pydantic")
    strict = pydantic.to_strict_json_schema(Answer)
    assert set(strict["properties"]) == set(answer_schema()["properties"])


def test_each_vocabulary_can_say_that_nothing_is_stated():
    tumour = answer_schema()["properties"]["tumours"]["items"]["properties"]
    for name in ("organ", "site", "side", "size_unit", "t", "n", "m"):
        assert tumour[name]["enum"] == [*vocabulary(name), "not_stated"]
    assert set(tumour_organs()) < set(tumour["organ"]["enum"])


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "  \n{}",
        "\ufeff{}",
        "```json\n{}\n```",
        "Here it is:\n```\n{}\n```\nAnything else?",
        "<think>The report says {{nothing}}.</think>\n{}",
        "so it is empty</think>{}",
        "<think>x</think>```json\n{}```",
        "{} I hope that this helps.",
    ],
)
def test_what_surrounds_an_answer_is_no_part_of_it(form):
    text = form.replace("{{", "\x00").replace("}}", "\x01").replace("{}", EMPTY)
    assert parse_answer(text.replace("\x00", "{").replace("\x01", "}")) == empty_answer()


def changed(**fields):
    return json.dumps({**json.loads(EMPTY), **fields})


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("", "invalid_json", "object"),
        ("I cannot help with that.", "invalid_json", "object"),
        ("Sure: " + EMPTY, "invalid_json", "object"),
        (EMPTY[:-1], "invalid_json", "character"),
        ("[" + EMPTY + "]", "invalid_json", "object"),
        ('{"tumours":' * 5000, "invalid_json", "valid"),
        ("[" * 100_000, "invalid_json", "object"),
        ('{"age": ' + "9" * 5000 + "}", "invalid_json", "value"),
        (EMPTY[:-1] + ',"age":"5"}', "invalid_json", "value"),
        ("{}", "schema", "age_quote is missing"),
        (changed(sex="weiblich"), "schema", "sex is not one of the allowed values"),
        (changed(age=58), "schema", "age must be text"),
        (changed(age=float("nan")), "schema", "age must be text"),
        (changed(sex=None), "schema", "sex is not"),
        (changed(age_quote="\ud800"), "invalid_json", "value"),
        (changed(tumours={}), "schema", "tumours must be a list"),
        (changed(tumours=[[]]), "schema", "tumours.0 must be an object"),
        (changed(**{"John Smith, born 1950": 1}), "schema", "another name is no field of the answer"),
    ],
)
def test_what_is_no_answer_is_said_without_quoting_it(text, kind, says):
    with pytest.raises(AnswerError) as caught:
        parse_answer(text)
    assert caught.value.kind == kind
    assert says in caught.value.detail
    assert "John" not in caught.value.detail
    assert "weiblich" not in caught.value.detail


@given(st.text(max_size=300) | st.binary(max_size=100).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_free_text_is_an_answer_error_and_nothing_else(text):
    for body in (text, "{" + text, EMPTY[:-1] + text):
        if not body.startswith(EMPTY):
            with pytest.raises(AnswerError):
                parse_answer(body)
