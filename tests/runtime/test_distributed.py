"""What processes agree on, as one that is alone sees it."""

import pytest
import torch

from iaat.errors import UserError
from iaat.runtime.distributed import ALONE, ElsewhereError, current


def test_a_process_of_its_own_is_alone():
    assert current() == ALONE
    assert (ALONE.main, ALONE.several) == (True, False)


def test_alone_everything_is_as_it_was():
    values = torch.tensor([1.0, 2.0])
    assert ALONE.sum_(values) is values
    assert ALONE.mean_(values) is values
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.all_gather(values) == [values]
    assert ALONE.all_gather_states({"a": 1}) == [{"a": 1}]
    assert ALONE.all_gather_dict({3: "x"}) == {3: "x"}
    assert ALONE.broadcast_text("x") == "x"
    assert ALONE.main_first(lambda: 5) == 5
    ALONE.raise_together(None)
    ALONE.check_same("anything", "it")


def test_alone_an_error_is_its_own():
    error = UserError("wrong")
    with pytest.raises(UserError, match="wrong") as raised:
        ALONE.raise_together(error)
    assert raised.value is error
    assert not isinstance(raised.value, ElsewhereError)

    def fail():
        raise OSError(28, "No space left on device", "file")

    with pytest.raises(OSError, match="No space"):
        ALONE.on_main(fail)
