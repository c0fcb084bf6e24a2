import pytest

from deploy.local.stack import ROOT
from tests.chaos.broken import BREAKAGES, Breakage


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.name)
def test_what_is_to_be_broken_stands_in_the_tree_exactly_once(breakage: Breakage):
    for edit in breakage.edits:
        assert (ROOT / edit.path).read_text(encoding="utf-8").count(edit.old) == 1, edit.path
        assert edit.new != edit.old
