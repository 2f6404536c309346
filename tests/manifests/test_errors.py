"""The error tree: what the docstring draws is what the classes are, and messages survive."""

import pickle
import re

import pytest

from manifests import errors
from manifests.errors import DefectError, FactoryError, InputError, RetryError, StorageError

LEAVES = [getattr(errors, name) for name in errors.__all__ if not getattr(errors, name).__subclasses__()]


def test_the_docstring_draws_the_tree_that_is():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    assert drawn == set(errors.__all__) - {"FactoryError"}
    for line in errors.__doc__.splitlines():
        if match := re.search(r"── (\w+) .*\((\w+)\)$", line):
            builtin = __builtins__[match[2]] if isinstance(__builtins__, dict) else getattr(__builtins__, match[2])
            assert issubclass(getattr(errors, match[1]), builtin)


def test_every_leaf_lies_under_exactly_one_branch():
    for leaf in LEAVES:
        assert sum(issubclass(leaf, branch) for branch in (InputError, RetryError, DefectError)) == 1, leaf


@pytest.mark.parametrize("kind", LEAVES)
def test_four_parts_survive_text_and_pickling(kind):
    error = kind("row 3", got="-5 mm", need="a positive size", do="Correct the table.")
    copy = pickle.loads(pickle.dumps(error))
    for one in (error, copy):
        assert type(one) is kind
        assert str(one) == "row 3: got -5 mm; need a positive size. Correct the table."
        assert (one.what, one.got, one.need, one.do) == ("row 3", "-5 mm", "a positive size", "Correct the table.")


@pytest.mark.parametrize("kind", LEAVES)
def test_exit_codes_follow_the_branch(kind):
    assert kind.exit_code == (2 if issubclass(kind, InputError | StorageError) else 1)
    assert issubclass(kind, FactoryError)
