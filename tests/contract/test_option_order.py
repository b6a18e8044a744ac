"""Days as large as real searches see them, in and out of order, in every dialect of CSV."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import DataError, SymbolNotFoundError
from tests.contract.test_option_chains import (
    DAY,
    HEADER,
    KEY,
    SPECIAL,
    generate,
    listed,
    origin_of,
    scan,
)

Client = Callable[..., MinIODataIntegration]
Lines = list[str]


@pytest.fixture(scope="module")
def ordered() -> tuple[Lines, dict[str, int]]:
    """Some 9 MB, sorted; no constant of the search is changed for it."""
    data, counts = generate(100_000, 300)
    return data.decode().splitlines(keepends=True)[1:], counts


def name_of(line: str) -> str:
    return line.split(",", 2)[1]


def unsorted(lines: Lines, chance: random.Random) -> Lines:
    return chance.sample(lines, len(lines))


def grouped(lines: Lines, chance: random.Random) -> Lines:
    names = list(dict.fromkeys(map(name_of, lines)))
    place = {name: i for i, name in enumerate(chance.sample(names, len(names)))}
    return sorted(lines, key=lambda line: place[name_of(line)])


def ten_displaced(lines: Lines, chance: random.Random) -> Lines:
    moved = list(lines)
    for _ in range(10):
        moved.insert(chance.randrange(len(moved)), moved.pop(chance.randrange(len(moved))))
    return moved


@pytest.mark.parametrize("disorder", [unsorted, grouped, ten_displaced])
def test_a_file_that_is_not_in_the_order_it_declares(
    ordered: Any,
    make_bucket: Callable[..., str],
    client_factory: Client,
    capsys: pytest.CaptureFixture[str],
    disorder: Callable[[Lines, random.Random], Lines],
) -> None:
    lines, counts = ordered
    data = (HEADER + "".join(disorder(lines, random.Random(3)))).encode()
    rows = scan(data)
    bucket = make_bucket({KEY: data})
    asked = [*SPECIAL, max(counts, key=lambda n: counts[n]), min(counts, key=lambda n: counts[n])]
    outcomes: Counter[str] = Counter()
    for symbol in dict.fromkeys(asked):
        client = client_factory(bucket)  # one that knows nothing
        frame = client.get_option_chain(symbol, DAY)
        grouping = origin_of(client, frame).grouping
        right = listed(frame) == rows[symbol]
        assert right or grouping == "assumed", symbol
        outcomes[f"{'right' if right else 'wrong'}, {grouping}"] += 1
    with capsys.disabled():
        print(f"\n  {disorder.__name__}:", ", ".join(f"{n} {what}" for what, n in outcomes.items()))
    client = client_factory(bucket)
    for symbol in dict.fromkeys(asked):  # the first by a full read, the others by what it taught
        frame = client.get_option_chain(symbol, DAY, verify=True)
        assert listed(frame) == rows[symbol]
    with pytest.raises(SymbolNotFoundError):
        client.get_option_chain("AAQ", DAY)
    for symbol in dict.fromkeys(asked):  # and without asking for proof, now that there is one
        frame = client.get_option_chain(symbol, DAY)
        assert (listed(frame), origin_of(client, frame).grouping) == (rows[symbol], "proved")


DIALECTS: dict[str, Callable[[str], str]] = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "bom": lambda text: "\ufeff" + text,
    "a quoted field": lambda text: text.replace(",A,", ',"A",'),
    "no last end": lambda text: text.removesuffix("\n"),
    "all of them": lambda text: "\ufeff" + text.replace(",A,", ',"A",').replace("\n", "\r\n")[:-2],
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_are_searched_and_read_in_full_alike(
    ordered: Any, make_bucket: Callable[..., str], client_factory: Client, dialect: str
) -> None:
    lines, _ = ordered
    plain = HEADER + "".join(line for line in lines if not line.startswith("O:A2"))  # ",A," alone
    rows = scan(plain.encode())
    bucket = make_bucket({KEY: DIALECTS[dialect](plain).encode()})
    client = client_factory(bucket)
    for verify, strategies in ((False, {"search"}), (True, {"scan", "twin"})):
        for symbol in ("AA", "AAPL", "AAPL1", "BRK.B", "ZZZZ"):
            frame = client.get_option_chain(symbol, DAY, verify=verify)
            assert listed(frame) == rows[symbol]
            assert origin_of(client, frame).strategy in strategies


@pytest.mark.parametrize("verify", [False, True])
def test_a_truncated_last_line(
    ordered: Any, make_bucket: Callable[..., str], client_factory: Client, verify: bool
) -> None:
    lines, _ = ordered
    text = HEADER + "".join(lines)
    rows = scan(text.encode())
    client = client_factory(make_bucket({KEY: text[:-40].encode()}))
    frame = client.get_option_chain("AAPL", DAY, verify=verify)
    assert listed(frame) == rows["AAPL"]
    with pytest.raises(DataError) as caught:
        client.get_option_chain(name_of(lines[-1]), DAY, verify=verify)
    assert caught.value.line == len(lines) + 1
