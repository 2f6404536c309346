"""A tiny model that has learnt two reports, for all tests of local models and servers."""

import pytest

from prompts.llm.answer import Answer, empty_answer
from tests.prompts.llm.tiny_model import make_tiny_model

GERMAN = (
    "61-jährige Patientin. CT Abdomen in portalvenöser Phase: 4,2 x 3,1 cm große Raumforderung der linken Niere, cT1b."
)
ENGLISH = "A 58-year-old man with a 3 cm tumour of the liver."


def answers() -> dict[str, Answer]:
    """The right answers about the two reports."""
    unstated = {"site": "not_stated", "side": "not_stated", "count": "not_stated"}
    unstated |= {"t": "not_stated", "n": "not_stated", "m": "not_stated", "stage_quote": ""}
    kidney = unstated | {"quote": "Raumforderung der linken Niere", "organ": "kidney", "side": "left", "t": "T1b"}
    kidney |= {"size_quote": "4,2 x 3,1 cm", "size": "4.2", "size_unit": "cm", "stage_quote": "cT1b"}
    liver = unstated | {"quote": "tumour of the liver", "organ": "liver"}
    liver |= {"size_quote": "3 cm", "size": "3", "size_unit": "cm"}
    german = {"age_quote": "61-jährige", "age": "61", "age_unit": "years", "sex_quote": "Patientin", "sex": "female"}
    german |= {"phase_quote": "portalvenöser Phase", "phase": "portal_venous"}
    german |= {"region_quote": "CT Abdomen", "region": "abdomen", "tumours": [kidney | {"status": "present"}]}
    english = {"age_quote": "58-year-old", "age": "58", "age_unit": "years", "sex_quote": "man", "sex": "male"}
    english |= {"tumours": [liver | {"status": "present"}]}
    plain = empty_answer().model_dump()
    return {
        GERMAN: Answer.model_validate(plain | german),
        ENGLISH: Answer.model_validate(plain | english),
    }


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of a model that answers two reports, and its answers."""
    known = answers()
    texts = {report: answer.model_dump_json() for report, answer in known.items()}
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), texts), known
