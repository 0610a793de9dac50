"""One tree of exceptions, made from the library's own list of kinds."""

import copy
import pickle

import pytest

import xennet
from xennet import _xennet, errors

KINDS = list(errors.BY_CODE.values())


def test_there_is_a_class_for_each_kind_and_no_other():
    assert [(c.code, c.__name__, c.kind) for c in KINDS] == [kind[:3] for kind in _xennet.KINDS]
    assert set(errors.__all__) == {"XennetError", *(kind[1] for kind in _xennet.KINDS)}
    assert set(errors._RESEMBLES) < {c.__name__ for c in KINDS}
    for name in errors.__all__:
        assert name in xennet.__all__
        assert getattr(xennet, name) is getattr(errors, name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_a_class_is_under_the_one_base_and_resembles_a_builtin(kind):
    assert issubclass(kind, xennet.XennetError)
    builtin = [base for base in kind.__mro__[2:] if base.__module__ == "builtins"][0]
    assert builtin not in (Exception, BaseException, object)
    assert kind.__doc__.endswith(".")
    error = kind("a sentence")
    assert str(error) == "a sentence" and error.errno is None
    assert error.report() == "error: a sentence"
    with pytest.raises(builtin):
        raise error


def test_an_error_about_a_text_says_where():
    with pytest.raises(xennet.Invalid) as caught:
        xennet.VifSpec.parse("mac=00:16:3e:01:02,bridge=xenbr0")
    error = caught.value
    assert (error.kind, error.code) == ("invalid", 2)
    assert (error.line, error.column, error.span) == (1, 5, (4, 18))
    assert error.rule in str(error) and "\n" not in str(error)
    assert "mac=00:16:3e:01:02,bridge=xenbr0\n" in error.report() and "^^^" in error.report()
    assert (error.errno, error.step, error.state) == (None, None, None)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_error_can_be_sent_elsewhere(again):
    with pytest.raises(xennet.XennetError) as caught:
        xennet.Host.fake().attach(5, "bridge=xenbr9")
    same = again(caught.value)
    assert type(same) is xennet.BridgeNotFound
    assert str(same) == str(caught.value) and same.report() == caught.value.report()
    assert vars(same) == vars(caught.value)
    assert same.object == "xenbr9" and same.hint and same.state
