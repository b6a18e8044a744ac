"""The error tree: what its docstring draws is what there is, and it survives a process."""

from __future__ import annotations

import builtins
import copy
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from stockdb import errors
from stockdb.core.columns import HeaderError
from stockdb.errors import StockDBError
from stockdb.types import parse_date

ROOT = Path(__file__).resolve().parents[2]

# The contract (product.md), written out here: name -> parent, built-in that it also is.
CONTRACT = {
    "ConfigurationError": ("StockDBError", ValueError),
    "UnavailableError": ("StockDBError", ConnectionError),
    "DeadlineError": ("StockDBError", TimeoutError),
    "AccessDeniedError": ("StockDBError", PermissionError),
    "CredentialsExpiredError": ("StockDBError", PermissionError),
    "ClockSkewError": ("StockDBError", PermissionError),
    "NotFoundError": ("StockDBError", FileNotFoundError),
    "SymbolNotFoundError": ("NotFoundError", KeyError),
    "DateNotFoundError": ("NotFoundError", KeyError),
    "IntegrityError": ("StockDBError", OSError),
    "ObjectChangedError": ("StockDBError", OSError),
    "ArchiveError": ("StockDBError", ValueError),
    "DataError": ("StockDBError", ValueError),
    "ValidationError": ("DataError", ValueError),
    "RangeError": ("StockDBError", ValueError),
}
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, StockDBError)
}
BELOW = [kind for kind in CLASSES.values() if kind is not StockDBError]
every_class = pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)

_DRAWN = re.compile(r"    ([│ ]*)[├└]── (\w+)\s+\((\w+)\)\s+(\S.*)")


def drawn() -> dict[str, tuple[str, str, bool]]:
    """Read the drawing: name -> parent, what stands in parentheses, whether retryable."""
    found: dict[str, tuple[str, str, bool]] = {}
    above = ["StockDBError"]
    for line in (errors.__doc__ or "").splitlines():
        match = _DRAWN.fullmatch(line)
        if match:
            depth = len(match[1]) // 4
            del above[depth + 1 :]
            found[match[2]] = (above[-1], match[3], match[4].endswith("retryable"))
            above.append(match[2])
    return found


class TestTree:
    def test_the_drawing_shows_every_class_under_its_parent(self) -> None:
        actual = {kind.__name__: kind.__bases__[0].__name__ for kind in BELOW}
        assert {name: parent for name, (parent, _, _) in drawn().items()} == actual

    def test_the_drawing_says_which_builtin_fits(self) -> None:
        for name, (_, fitting, _) in drawn().items():
            other = CLASSES.get(fitting) or getattr(builtins, fitting)
            assert issubclass(CLASSES[name], other), f"{name} is no {fitting}"

    def test_the_drawing_says_what_is_retryable(self) -> None:
        actual = {kind.__name__: kind.retryable for kind in BELOW}
        assert {name: retryable for name, (_, _, retryable) in drawn().items()} == actual

    @pytest.mark.parametrize("name", CONTRACT)
    def test_the_contract_holds(self, name: str) -> None:
        parent, builtin = CONTRACT[name]
        assert CLASSES[name].__bases__[0] is CLASSES[parent]
        assert issubclass(CLASSES[name], builtin)

    def test_all_is_complete_and_sorted(self) -> None:
        assert errors.__all__ == sorted(CLASSES)

    @every_class
    def test_documented(self, kind: type[StockDBError]) -> None:
        assert kind.__dict__.get("__doc__"), "the docstring would be the parent's"


class TestMessage:
    @every_class
    def test_says_what_happened_and_what_to_do(self, kind: type[StockDBError]) -> None:
        error = kind('It\'s "broken"\nhere.')
        assert str(error) == f'It\'s "broken"\nhere. {kind.default_remedy}'
        assert error.remedy == kind.default_remedy
        assert kind.default_remedy.endswith(".")

    @every_class
    def test_own_remedy_replaces_the_default(self, kind: type[StockDBError]) -> None:
        assert str(kind("Broken.", remedy="Mend it.")) == "Broken. Mend it."
        assert str(kind("Broken.", remedy="")) == "Broken."

    @pytest.mark.parametrize("name", ["SymbolNotFoundError", "DateNotFoundError"])
    def test_key_errors_do_not_show_a_repr(self, name: str) -> None:
        with pytest.raises(KeyError) as caught:
            raise CLASSES[name]("No 'XYZ'.", remedy="Look.")
        assert str(caught.value) == "No 'XYZ'. Look."
        assert f"{caught.value}" == "No 'XYZ'. Look."

    def test_values_are_attributes(self) -> None:
        error = errors.SymbolNotFoundError("No.", symbol="XYZ", suggestions=("XYL",), extra=1)
        assert (error.symbol, error.suggestions, error.values["extra"]) == ("XYZ", ("XYL",), 1)
        assert error.extra == 1  # type: ignore[attr-defined]
        assert error.key is None

    @every_class
    def test_values_reach_the_attributes_that_a_builtin_has(self, kind: type[StockDBError]) -> None:
        error = kind("No.", filename="a.csv", errno=5)
        assert (error.filename, error.errno) == ("a.csv", 5)  # type: ignore[attr-defined]
        assert str(error).startswith("No.")

    def test_one_error_can_differ_in_retryable(self) -> None:
        assert not errors.UnavailableError("No.", retryable=False).retryable
        assert errors.UnavailableError("No.").retryable


def loaded(kind: type[StockDBError]) -> StockDBError:
    return kind("Broken 'é'.", remedy="Mend.", symbol="XYZ", key="a/b.csv", line=7, part={"n": 1})


def assert_unchanged(error: BaseException, kind: type[StockDBError]) -> None:
    assert type(error) is kind
    assert error.message == "Broken 'é'."
    assert error.remedy == "Mend."
    assert error.values == {"symbol": "XYZ", "key": "a/b.csv", "line": 7, "part": {"n": 1}}
    assert (error.symbol, error.key) == ("XYZ", "a/b.csv")
    assert error.line == 7  # type: ignore[attr-defined]
    assert str(error) == "Broken 'é'. Mend."
    assert error.args == ("Broken 'é'. Mend.",)
    assert error.retryable == kind.retryable


class TestProcesses:
    def test_every_class_crosses_a_process_unchanged(self) -> None:
        """Each is raised in another interpreter, caught there and sent back."""
        program = (
            "import pickle, sys\n"
            "caught = []\n"
            "for error in pickle.load(sys.stdin.buffer):\n"
            "    try:\n"
            "        raise error\n"
            "    except Exception as seen:\n"
            "        caught.append(seen)\n"
            "pickle.dump(caught, sys.stdout.buffer)\n"
        )
        there = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps([loaded(kind) for kind in CLASSES.values()]),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
        )
        assert there.returncode == 0, there.stderr.decode()
        back = pickle.loads(there.stdout)
        assert len(back) == len(CLASSES)
        for error, kind in zip(back, CLASSES.values(), strict=True):
            assert_unchanged(error, kind)

    def test_a_worker_pool_raises_it_here(self) -> None:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            error = pool.submit(parse_date, "tomorrow").exception(timeout=60)
        assert type(error) is errors.RangeError
        assert error.values == {"value": "tomorrow"}
        assert "date 'tomorrow' is not a date" in str(error)

    @every_class
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle_protocols(self, kind: type[StockDBError], protocol: int) -> None:
        assert_unchanged(pickle.loads(pickle.dumps(loaded(kind), protocol)), kind)

    @every_class
    def test_copies(self, kind: type[StockDBError]) -> None:
        assert_unchanged(copy.copy(loaded(kind)), kind)
        assert_unchanged(copy.deepcopy(loaded(kind)), kind)

    @every_class
    def test_keep_what_was_learnt_after_they_were_raised(self, kind: type[StockDBError]) -> None:
        error = kind("Broken.", key="a.csv")
        error.symbol, error.retryable = "XYZ", True
        error.add_note("Seen twice.")
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert (other.symbol, other.retryable, other.key) == ("XYZ", True, "a.csv")
            assert other.__notes__ == ["Seen twice."]
            assert other.values == {"key": "a.csv"} and str(other) == str(error)

    def test_those_that_never_leave_the_library_cross_too(self) -> None:
        """As the cause of an error that does."""
        error = pickle.loads(pickle.dumps(HeaderError("no close", "Add it.")))
        assert (type(error), str(error)) == (HeaderError, "no close")
        assert (error.message, error.remedy) == ("no close", "Add it.")
