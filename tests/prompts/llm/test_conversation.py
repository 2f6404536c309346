"""Conversations with a scripted model: how they end, what they ask, and how often."""

import asyncio

import pytest

from prompts.llm.answer import empty_answer
from prompts.llm.chat import Completion, TransientChatError, Usage
from prompts.llm.conversation import Failure, converse
from prompts.llm.instructions import RequestSettings, first_request

GOOD = empty_answer().model_dump_json()
FIRST = first_request("A 58-year-old man.", "m", "local", RequestSettings(max_output_tokens=100))


class Script:
    """A model that gives prepared completions and remembers its requests."""

    def __init__(self, *turns):
        self.turns, self.requests = list(turns), []

    async def __call__(self, request):
        self.requests.append(request)
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        text, finish = turn if isinstance(turn, tuple) else (turn, "stop")
        return Completion(text, finish, Usage(10, 10), "m", 0.0)


def talk(script, repairs=2):
    return asyncio.run(converse(FIRST, script, repairs))


def test_a_good_answer_takes_one_request():
    script = Script(GOOD)
    outcome = talk(script)
    assert (outcome.answer, outcome.failure, outcome.requests) == (empty_answer(), None, 1)
    assert script.requests == [FIRST]


@pytest.mark.parametrize("wrong", ["no JSON", "{}", GOOD[:-5], GOOD.replace("not_stated", "unknown")])
def test_a_wrong_answer_is_repaired(wrong):
    script = Script(wrong, GOOD)
    outcome = talk(script)
    assert (outcome.answer, outcome.requests) == (empty_answer(), 2)
    asked = script.requests[1].messages
    assert asked[:2] == FIRST.messages
    assert [message.role for message in asked[2:]] == ["assistant", "user"]
    assert asked[2].content == wrong
    assert script.requests[1].key != FIRST.key


def test_repairs_are_bounded_and_do_not_grow():
    script = Script("{}", "x", "{}", "never asked")
    outcome = talk(script)
    assert outcome.answer is None
    assert outcome.requests == len(script.requests) == 3
    assert outcome.failure.kind == "schema"
    assert {len(request.messages) for request in script.requests[1:]} == {4}
    assert talk(Script("x"), repairs=0).failure.kind == "invalid_json"


@pytest.mark.parametrize(("finish", "kind"), [("refusal", "refusal"), ("content_filter", "filtered")])
def test_a_refusal_is_an_end_and_its_words_are_not_repeated(finish, kind):
    outcome = talk(Script(("I will not read about A 58-year-old man.", finish)))
    assert (outcome.answer, outcome.requests) == (None, 1)
    assert outcome.failure.kind == kind
    assert "58" not in outcome.failure.detail


def test_a_truncated_answer_gets_twice_the_length_once():
    script = Script((GOOD[:50], "length"), GOOD)
    assert talk(script).answer == empty_answer()
    assert [request.max_output_tokens for request in script.requests] == [100, 200]
    assert script.requests[1].messages == FIRST.messages
    outcome = talk(Script((GOOD[:50], "length"), (GOOD[:90], "length")))
    assert (outcome.failure, outcome.requests) == (Failure("truncated", "no end within 200 tokens"), 2)


def test_the_length_stays_doubled_through_a_repair():
    script = Script(("", "length"), "x", GOOD)
    assert talk(script).requests == 3
    assert [request.max_output_tokens for request in script.requests] == [100, 200, 200]


def test_a_repeated_conversation_asks_the_same_requests():
    turns = (("", "length"), "x", "{}", GOOD)
    first, second = Script(*turns), Script(*turns)
    talk(first)
    talk(second)
    assert [request.key for request in first.requests] == [request.key for request in second.requests]
    assert len({request.key for request in first.requests}) == 4


def test_errors_of_the_transport_pass_through():
    with pytest.raises(TransientChatError):
        talk(Script("x", TransientChatError("closed")))
