import re
from pathlib import Path

from manifests.validate import CODES

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def test_every_finding_stands_for_a_promise_and_every_promise_has_one():
    table = PAGE[PAGE.index("| promise |") :]
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", table.split("\n\n")[0])) == set(CODES)
    promised = {int(number) for number in re.findall(r"^(\d+)\. ", PAGE, re.MULTILINE)}
    listed = {int(number) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for number in row.split(",")}
    assert promised == listed == set(range(1, 21))
