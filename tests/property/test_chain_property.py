"""One underlying out of a random day's file: every fast way against the csv module's full scan.

The constants of the search are made small, so that files of a few kilobytes take as many
rounds as real ones.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stockdb.core import planner, scan, search
from stockdb.core.cache import Cached
from stockdb.core.chains import Chain, ChainReader
from stockdb.core.days import Days, Place
from stockdb.core.discovery import Discovery
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.reader import ReadPolicy
from stockdb.errors import DataError, ObjectChangedError, SymbolNotFoundError, UnavailableError
from stockdb.settings import Dataset, load_settings
from tests.contract.memory import MemoryServer, MemoryStore

DATE = dt.date(2023, 1, 3)
KEY = "options-complete/2023-01-03options.csv"
DATASET = Dataset(
    key="options-complete/{YYYY-MM-DD}options.csv", kind="options", order="underlying"
)
COLUMNS = (
    "contract", "underlying", "expiration", "type", "strike", "style", "bid", "bid_size", "ask",
    "ask_size", "volume", "open_interest", "quote_date", "delta", "gamma", "theta", "vega",
    "implied_volatility",
)  # fmt: skip
#: Prefixes of one another, adjusted roots, separators: what a wrong comparison mixes up.
NAMES = ("A", "AA", "AAP", "AAPL", "AAPL1", "AB", "B", "BRK-B", "BRKB", "C", "Z", "ZZ", "ZZZ")
Rows = list[tuple[str, float]]  # contract and bid: the bid numbers the rows


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "SMALL", 0)
        patch.setattr(planner, "HEAD", 420)
        patch.setattr(search, "SLACK", 300)
        patch.setattr(search, "WINDOW", 96)
        patch.setattr(search, "_CHUNK", 1000)
        patch.setattr(scan, "BLOCK", 1500)
        patch.setattr(scan, "READ", 3000)
        yield


@dataclass
class Dialect:
    """How a file is written."""

    end: str = "\n"
    bom: bool = False
    quotes: float = 0.0
    blanks: float = 0.0
    last_end: bool = True
    longest: int = 20
    order: tuple[int, ...] = tuple(range(18))


dialects = st.builds(
    Dialect,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    quotes=st.sampled_from([0.0, 0.0, 0.1, 1.0]),
    blanks=st.sampled_from([0.0, 0.0, 0.05, 0.6]),
    last_end=st.booleans(),
    longest=st.sampled_from([1, 20, 400, 3000]),
    order=st.sampled_from([tuple(range(18)), (1, *range(2, 18), 0), (*range(2, 18), 0, 1)]),
)
groups = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([1, 1, 2, 3, 7, 40])),
    min_size=1,
    max_size=9,
    unique_by=lambda group: group[0],
)
seeds = st.integers(0, 2**32)


def record(number: int, name: str, longest: int, chance: random.Random) -> list[str]:
    """One row: its number is its bid, and its style is as long as it likes."""
    strike = 10 + number % 50
    style = "A" * chance.randint(1, longest)
    contract = f"O:{name}230120C{strike * 1000:08d}"
    return [
        contract, name, "2023-01-20", "call", str(strike), style, str(number), "13",
        f"{number + 0.5}", "", "", "0", "2023-01-03", "", "", "", "", "",
    ]  # fmt: skip


def text_of(names: Sequence[str], dialect: Dialect, seed: int) -> bytes:
    """Write one row for each name, in this order."""
    chance = random.Random(seed)
    sink = io.StringIO(newline="")
    plain = csv.writer(sink, lineterminator=dialect.end)
    quoted = csv.writer(sink, lineterminator=dialect.end, quoting=csv.QUOTE_ALL)
    plain.writerow([COLUMNS[i] for i in dialect.order])
    for number, name in enumerate(names):
        cells = record(number, name, dialect.longest, chance)
        if chance.random() < dialect.quotes:
            cells[5] += ",x"
            quoted.writerow([cells[i] for i in dialect.order])
        else:
            plain.writerow([cells[i] for i in dialect.order])
        while chance.random() < dialect.blanks:
            sink.write(dialect.end)
    text = sink.getvalue()
    return (b"\xef\xbb\xbf" if dialect.bom else b"") + (
        text if dialect.last_end else text.rstrip("\r\n")
    ).encode()


def by_csv_module(data: bytes, symbol: str) -> Rows:
    """The full scan that everything is held against."""
    records = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    return [(row["contract"], float(row["bid"])) for row in records if row["underlying"] == symbol]


def rows_of(chain: Chain) -> Rows:
    table = chain.table
    return list(zip(table["contract"].to_pylist(), table["bid"].to_pylist(), strict=True))


class DictCache:
    """A cache without a disk, which keeps everything and asks again where max_age is 0."""

    def __init__(self) -> None:
        self.held: dict[str, Entry] = {}

    def get(
        self, name: str, wanted: Freshness, fetch: Callable[..., Entry | None], *, wait: float
    ) -> Cached:
        held = self.held.get(name)
        if wanted.offline and held is None:
            raise UnavailableError("not held", retryable=False)
        if held is not None and (wanted.offline or wanted.max_age != 0):
            return Cached(held, "fresh", 0.0)
        fresh = fetch(held.metadata if held else None)
        if fresh is None:
            assert held is not None
            return Cached(held, "revalidated", 0.0)
        self.held[name] = fresh
        return Cached(fresh, "fetched", 0.0)


SETTINGS = load_settings(
    endpoint="http://127.0.0.1:9", access_key="dummy", secret_key="dummy-secret"
)


def reader_of(store: MemoryStore, config: Any = SETTINGS) -> ChainReader:
    cache: Any = DictCache()
    any_store: Any = store
    discovery = Discovery(config, any_store, cache)
    return ChainReader(config, any_store, cache, Days(config, any_store, cache, discovery))


def store_of(data: bytes, kind: type[MemoryStore] = MemoryStore) -> MemoryStore:
    store = kind(MemoryServer())
    store.make_bucket()
    store.put(KEY, data)
    return store


def ask(reader: ChainReader, symbol: str, *, verify: bool = False, max_age: Any = None) -> Chain:
    policy = ReadPolicy(max_age, False, False)
    return reader.chain(symbol, Place("options", DATASET, KEY, DATE), policy, verify=verify)


def spread(chosen: Sequence[tuple[str, int]]) -> list[str]:
    return [name for name, count in chosen for _ in range(count)]


def in_order(chosen: Sequence[tuple[str, int]]) -> list[str]:
    return spread(sorted(chosen, key=lambda group: group[0].encode()))


def find(data: bytes, symbol: str) -> Rows | None:
    """Ask the search alone."""
    layout = search.read_layout(data, ("underlying",), KEY, {})

    def read_many(ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        assert all(0 <= start < stop <= len(data) for start, stop in ranges)
        return [data[start:stop] for start, stop in ranges]

    found = search.find_run(read_many, layout, len(data), symbol.encode(), search.Known())
    if found is None:
        return None
    at, lines = found
    assert data[at : at + len(lines)] == lines
    return by_csv_module(layout.header + lines, symbol)


@settings(deadline=None, max_examples=150)
@given(groups, dialects, seeds, st.sampled_from(NAMES))
@example([("A", 1)], Dialect(last_end=False), 0, "A")
@example([("A", 40), ("B", 40)], Dialect(blanks=0.6), 0, "B")
@example([("A", 3), ("ZZ", 40)], Dialect(longest=3000), 0, "ZZ")
def test_the_search_finds_what_a_full_scan_finds(
    chosen: list[tuple[str, int]], dialect: Dialect, seed: int, symbol: str
) -> None:
    data = text_of(in_order(chosen), dialect, seed)
    expected = by_csv_module(data, symbol)
    assert (find(data, symbol) or []) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_PLAIN", 0)  # as a large run is cut
        assert (find(data, symbol) or []) == expected


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(groups, dialects, seeds, st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
def test_a_reader_gives_what_a_full_scan_gives(
    chosen: list[tuple[str, int]], dialect: Dialect, seed: int, symbols: list[str]
) -> None:
    """Whatever was asked before: search, then scan where one is absent, then index or twin."""
    data = text_of(in_order(chosen), dialect, seed)
    store = store_of(data)
    reader, verified = reader_of(store), reader_of(store)
    for symbol in symbols:
        expected = by_csv_module(data, symbol)
        for one, verify in ((reader, False), (verified, True)):
            if expected:
                assert rows_of(ask(one, symbol, verify=verify)) == expected
            else:
                with pytest.raises(SymbolNotFoundError):
                    ask(one, symbol, verify=verify)


def shuffled(names: list[str], chance: random.Random) -> list[str]:
    return chance.sample(names, len(names))


def unsorted_groups(names: list[str], chance: random.Random) -> list[str]:
    kinds = chance.sample(list(dict.fromkeys(names)), len(set(names)))
    return sorted(names, key=kinds.index)


def ten_displaced(names: list[str], chance: random.Random) -> list[str]:
    moved = list(names)
    for _ in range(10):
        moved.insert(chance.randrange(len(moved)), moved.pop(chance.randrange(len(moved))))
    return moved


DISORDERS = {
    "shuffled rows": shuffled,
    "grouped, unsorted": unsorted_groups,
    "ten displaced": ten_displaced,
}


def judge(data: bytes, symbol: str, seed: int) -> str:
    """Ask without proof, then with, then without again; say what the first answer was."""
    expected = by_csv_module(data, symbol)
    reader = reader_of(store_of(data))
    if not expected:
        for verify in (False, True):
            with pytest.raises(SymbolNotFoundError):
                ask(reader, symbol, verify=verify)
        return "absent, proved"
    first = ask(reader, symbol)
    if first.origin.grouping == "assumed":
        outcome = "right" if rows_of(first) == expected else "wrong"
    else:
        assert rows_of(first) == expected
        outcome = "right"
    outcome += f", {first.origin.grouping}"
    # A contradiction that was seen is remembered; what was assumed is corrected by a full read.
    assert rows_of(ask(reader, symbol, verify=True)) == expected
    after = ask(reader, symbol)
    assert (rows_of(after), after.origin.grouping) == (expected, "proved")
    other = random.Random(seed).choice(NAMES)
    if theirs := by_csv_module(data, other):
        found = ask(reader, other)
        assert (rows_of(found), found.origin.grouping) == (theirs, "proved")
    return outcome


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(groups, dialects, seeds, st.sampled_from(sorted(DISORDERS)), st.sampled_from(NAMES))
def test_a_file_out_of_order_is_never_wrong_unmarked_and_nothing_is_absent_unproved(
    chosen: list[tuple[str, int]], dialect: Dialect, seed: int, disorder: str, symbol: str
) -> None:
    names = DISORDERS[disorder](in_order(chosen), random.Random(seed))
    judge(text_of(names, dialect, seed), symbol, seed)


def test_how_often_each_outcome_happens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of 5 to 12 groups and a few hundred rows; every symbol of each is asked for."""
    # Full reads in one block: dozens of tiny ones would take most of the time.
    monkeypatch.setattr(scan, "BLOCK", 1 << 20)
    monkeypatch.setattr(scan, "READ", 1 << 20)
    counts: dict[str, Counter[str]] = {disorder: Counter() for disorder in DISORDERS}
    for seed in range(15):
        chance = random.Random(seed)
        chosen = [
            (name, chance.choice([1, 3, 10, 80, 200]))
            for name in chance.sample(NAMES, chance.randint(5, 12))
        ]
        for disorder, mix in DISORDERS.items():
            data = text_of(mix(in_order(chosen), chance), Dialect(), seed)
            for symbol, _ in chosen:
                counts[disorder][judge(data, symbol, seed)] += 1
    with capsys.disabled():
        for disorder, outcomes in counts.items():
            listed = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
            print(f"\n  {disorder}: {listed}", end="")
        print()
    assert all(sum(outcomes.values()) > 100 for outcomes in counts.values())
    assert all(outcomes["right, proved"] for outcomes in counts.values())  # by contradiction
    # Rows that are out of order where nobody looked: this is what the mark is for.
    assert counts["ten displaced"]["wrong, assumed"] > 0


class Replacing(MemoryStore):
    """Puts another version in place before the n-th range is read, so many times."""

    before = 3
    times = 1
    later: Sequence[bytes] = ()

    def get_range(self, *args: Any, **kwargs: Any) -> Any:
        self.before -= 1
        if self.before == 0 and self.times:
            self.times -= 1
            self.before = 3
            self.put(KEY, self.later[self.times % len(self.later)])
        return super().get_range(*args, **kwargs)


@settings(deadline=None, max_examples=60)
@given(groups, groups, seeds, st.integers(2, 8), st.booleans())
def test_a_file_replaced_in_mid_search_gives_one_version_or_a_typed_error(
    before: list[tuple[str, int]],
    after: list[tuple[str, int]],
    seed: int,
    moment: int,
    for_ever: bool,
) -> None:
    old = text_of(in_order(before), Dialect(), seed)
    new = [text_of(in_order(after), Dialect(), seed + n) for n in (1, 2)]
    store = store_of(old, Replacing)
    assert isinstance(store, Replacing)
    store.before, store.times, store.later = moment, 99 if for_ever else 1, new
    symbol = after[0][0]
    possible = [by_csv_module(version, symbol) for version in (old, *new)]
    try:
        assert rows_of(ask(reader_of(store), symbol)) in possible
    except SymbolNotFoundError:
        assert [] in possible
    except ObjectChangedError:
        assert for_ever  # one replacement is worth one more try


def test_one_replacement_costs_one_restart_and_the_rows_are_the_new_ones() -> None:
    old, new = (text_of(in_order([(n, 40) for n in NAMES]), Dialect(), seed) for seed in (1, 2))
    store = store_of(old, Replacing)
    assert isinstance(store, Replacing)
    store.later = [new + b"\n"]
    chain = ask(reader_of(store), "AAPL1")
    assert chain.origin.etag == store.stat(KEY).etag
    assert rows_of(chain) == by_csv_module(new, "AAPL1")


def test_a_file_that_never_rests_is_an_error() -> None:
    data = text_of(in_order([(n, 40) for n in NAMES]), Dialect(), 1)
    store = store_of(data, Replacing)
    assert isinstance(store, Replacing)
    store.later, store.times = [data + b"\n", data + b"\n\n"], 99
    with pytest.raises(ObjectChangedError):
        ask(reader_of(store), "AAPL1")


@settings(deadline=None, max_examples=100)
@given(groups, st.sampled_from(["\n", "\r\n"]), seeds, st.integers(1, 200), st.booleans())
def test_a_truncated_last_line_gives_right_rows_or_a_typed_error(
    chosen: list[tuple[str, int]], end: str, seed: int, cut: int, verify: bool
) -> None:
    names = in_order(chosen)
    whole = text_of(names, Dialect(end=end), seed)
    last_line = len(whole.rstrip(b"\r\n")) - whole.rstrip(b"\r\n").rfind(b"\n") - 1
    data = whole.rstrip(b"\r\n")[: -min(cut, last_line - 3)]  # "O:" and a letter are left
    reader = reader_of(store_of(data))
    intact = data.rpartition(b"\n")[2].count(b",") == 17  # cut within the last, blank, field
    for symbol in sorted({*names[:1], *names[-1:], "AAPL"}):
        expected = by_csv_module(whole, symbol)
        for _ in range(2):  # what is kept must not forget the line
            if symbol == names[-1] and not intact:
                with pytest.raises(DataError) as caught:
                    ask(reader, symbol, verify=verify)
                assert caught.value.line == len(names) + 1 or "none of" in caught.value.message
            elif expected:
                try:
                    assert rows_of(ask(reader, symbol, verify=verify)) == expected
                except DataError as error:  # what is left of the line may be this one's too
                    assert error.line == len(names) + 1 or "none of" in error.message
            else:
                with pytest.raises((SymbolNotFoundError, DataError)):
                    ask(reader, symbol, verify=verify)
