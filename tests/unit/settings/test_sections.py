"""Sections: frozen, answer like a dict, keep secrets to themselves, and equal the file."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import runpy
import traceback
from pathlib import Path
from typing import Any

import pytest

from stockdb import settings
from stockdb.errors import ConfigurationError
from stockdb.settings import (
    STANDARD_DATASETS,
    Cache,
    Connection,
    Dataset,
    Leaps,
    Logs,
    Performance,
    Section,
    Settings,
    Validation,
    load_settings,
)

ROOT = Path(__file__).resolve().parents[3]
CANARY = "-".join(["CANARY", "do", "not", "print"])  # joined: no source line shows it
SECRETS = ("access_key", "secret_key", "session_token")

SAMPLES: dict[str, Section] = {
    "Connection": Connection(),
    "Cache": Cache(),
    "Validation": Validation(),
    "Performance": Performance(),
    "Leaps": Leaps(),
    "Logs": Logs(),
    "Dataset": Dataset(key="stocks/{SYMBOL}.csv"),
}
every_section = pytest.mark.parametrize("section", SAMPLES.values(), ids=SAMPLES)


def signed() -> Connection:
    secrets: dict[str, Any] = dict.fromkeys(SECRETS, CANARY)
    return Connection(endpoint="host", **secrets)


def shown(error: BaseException) -> str:
    """All that a person or a log gets to see of an error."""
    parts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    return "".join([*parts, *traceback.format_exception(error)])


class TestSection:
    def test_every_section_is_tested(self) -> None:
        assert {kind.__name__ for kind in Section.__subclasses__()} == set(SAMPLES)

    @every_section
    def test_frozen(self, section: Section) -> None:
        for name in [*section.keys(), "nonsense"]:
            with pytest.raises(ConfigurationError, match="frozen"):
                setattr(section, name, getattr(section, name, None))
            with pytest.raises(ConfigurationError, match="frozen"):
                delattr(section, name)

    @every_section
    def test_answers_by_key(self, section: Section) -> None:
        assert section.keys() == list(type(section).model_fields)
        for name in section.keys():
            assert section[name] == getattr(section, name)
            assert section.get(name, "other") == getattr(section, name)
            assert name in section
        assert dict(section) == {name: section[name] for name in section.keys()}

    @every_section
    @pytest.mark.parametrize("name", ["nonsense", "", "model_fields", "keys", "__class__", 0, None])
    def test_unknown_key(self, section: Section, name: Any) -> None:
        with pytest.raises(KeyError):
            section[name]
        assert section.get(name) is None
        assert section.get(name, 7) == 7
        assert name not in section

    @every_section
    def test_unknown_setting(self, section: Section) -> None:
        with pytest.raises(ConfigurationError, match="nonsense: there is no such setting"):
            type(section)(**{**dict(section), "nonsense": CANARY})

    @every_section
    def test_says_what_each_setting_is(self, section: Section) -> None:
        text = type(section).__doc__ or ""
        assert [name for name in section.keys() if name not in text] == []

    @every_section
    def test_travels(self, section: Section) -> None:
        assert pickle.loads(pickle.dumps(section)) == section
        assert copy.deepcopy(section) == section
        again = pickle.loads(pickle.dumps(section))
        with pytest.raises(ConfigurationError, match="frozen"):
            setattr(again, section.keys()[0], None)

    def test_misspelt_setting_is_guessed(self) -> None:
        with pytest.raises(ConfigurationError, match=r"bucket:.*did you mean 'bucket_name'\?"):
            Connection(bucket="x")  # type: ignore[call-arg]

    def test_setting_names_are_unique_over_all_sections(self) -> None:
        """An explicit argument, and MINIO_<NAME>, find their section by the name alone."""
        names = [name for _, kind in Settings.NAMES.values() for name in kind.model_fields]
        assert sorted(names) == sorted(set(names))

    @pytest.mark.parametrize(
        ("kind", "name", "value"),
        [
            (Connection, "secure", "maybe"),
            (Connection, "bucket_name", 5),
            (Connection, "endpoint", 5),
            (Cache, "cache_ttl_seconds", -1),
            (Cache, "cache_ttl_seconds", "soon"),
            (Cache, "cache_max_bytes", 0),
            (Cache, "cache_dir", 5),
            (Validation, "policy", "ignore"),
            (Validation, "min_price", -1),
            (Validation, "required_columns", "close"),
            (Performance, "max_workers", 0),
            (Performance, "max_workers", 257),
            (Performance, "max_workers", 1.5),
            (Performance, "part_size", 1),
            (Leaps, "symbols", "AAPL"),
            (Leaps, "min_days_to_expiration", -1),
            (Logs, "log_level", "LOUD"),
            (Dataset, "kind", "prices"),
            (Dataset, "interval", "2m"),
        ],
    )
    def test_refused_by_name(self, kind: type[Section], name: str, value: Any) -> None:
        with pytest.raises(ConfigurationError, match=f"{kind.__name__} settings are wrong.*{name}"):
            kind(**{"key": "k", name: value} if kind is Dataset else {name: value})

    def test_a_tilde_is_the_home_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/trader")
        monkeypatch.setenv("USERPROFILE", "/home/trader")
        assert Cache(cache_dir="~/c").cache_dir == Path("/home/trader/c")  # type: ignore[arg-type]
        assert Connection(ca_file="~/ca.pem").ca_file == Path(  # type: ignore[arg-type]
            "/home/trader/ca.pem"
        )

    def test_dataset_interval_has_one_spelling(self) -> None:
        assert Dataset(key="k", interval="1wk").interval == "weekly"


class TestSecrets:
    def test_usable(self) -> None:
        connection = signed()
        assert connection.secret_key is not None
        assert connection.secret_key.get_secret_value() == CANARY
        assert connection.access_key == CANARY

    def test_absent_from_every_text(self) -> None:
        connection = signed()
        whole = Settings(connection=connection)
        texts = [
            *(form(item) for item in (connection, whole) for form in (repr, str, format, ascii)),
            f"{connection['secret_key']} {connection['session_token']!r}",
            repr(pickle.loads(pickle.dumps(connection))),
            repr(pickle.loads(pickle.dumps(whole))),
            repr(copy.deepcopy(whole)),
            connection.model_dump_json(include={"secret_key", "session_token"}),
            json.dumps(connection.model_dump(include={"secret_key"}), default=str),
            repr(list(connection.__repr_args__())),
        ]
        assert CANARY not in "".join(texts)

    def test_a_real_key_still_crosses_a_process(self) -> None:
        again = pickle.loads(pickle.dumps(Settings(connection=signed())))
        assert again.connection.secret_key.get_secret_value() == CANARY

    @pytest.mark.parametrize("name", SECRETS)
    @pytest.mark.parametrize("wrap", [lambda text: [text], lambda text: {text: text}, len])
    def test_absent_from_an_error_about_itself(self, name: str, wrap: Any) -> None:
        with pytest.raises(ConfigurationError, match=name) as caught:
            Connection(**{name: wrap(CANARY)})
        assert CANARY not in shown(caught.value)
        assert str(len(CANARY)) not in str(caught.value)

    @pytest.mark.parametrize("name", SECRETS)
    def test_absent_from_an_error_about_something_else(self, name: str) -> None:
        values: dict[str, Any] = {name: CANARY, "secure": CANARY, "nonsense": CANARY}
        with pytest.raises(ConfigurationError) as caught:
            Connection(**values)
        assert "secure" in str(caught.value) and "nonsense" in str(caught.value)
        assert CANARY not in shown(caught.value)

    @pytest.mark.parametrize("name", [*SECRETS, "endpoint"])
    def test_absent_when_a_frozen_setting_is_assigned(self, name: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            setattr(signed(), name, CANARY)
        assert CANARY not in shown(caught.value)

    def test_absent_from_the_errors_of_every_section(self) -> None:
        for name, section in SAMPLES.items():
            for setting in section.keys():
                if setting == "interval":  # shows what it does not know
                    continue
                value = {"wrong": [object(), CANARY]}
                with pytest.raises(ConfigurationError, match=f"{name} settings") as caught:
                    type(section)(**{**dict(section), setting: value})
                assert CANARY not in shown(caught.value)

    def test_absent_from_logs(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MINIO_SECRET_KEY", CANARY)
        Path(".env").write_text(f"{CANARY} is no assignment\nMINIO_SESSION_TOKEN={CANARY}\n")
        with caplog.at_level(logging.DEBUG):
            found = load_settings(access_key=CANARY)
            logging.getLogger("test").info("%s %r", found, found.connection)
            try:
                load_settings(secret_key=[CANARY])
            except ConfigurationError:
                logging.getLogger("test").exception("failed")
        assert "failed" in caplog.text
        assert CANARY not in caplog.text


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "minio_config.py"))


class TestFile:
    """minio_config.py repeats the defaults for its reader; it must not drift from them."""

    @pytest.mark.parametrize("title", [title for title, _ in Settings.NAMES.values()])
    def test_values_are_the_defaults(self, module: dict[str, Any], title: str) -> None:
        kind = {title: kind for title, kind in Settings.NAMES.values()}[title]
        assert type(module[title]) is kind
        assert module[title].model_dump() == kind().model_dump()
        assert module[title].model_fields_set, "the file must show what can be edited"

    def test_datasets_are_the_standard_ones(self, module: dict[str, Any]) -> None:
        assert list(module["DATASETS"]) == list(STANDARD_DATASETS)
        for name, dataset in module["DATASETS"].items():
            assert dataset == STANDARD_DATASETS[name], name

    def test_exports_what_the_contract_names(self, module: dict[str, Any]) -> None:
        for name in (
            "MINIO_CONFIG CACHE_CONFIG VALIDATION_CONFIG PERFORMANCE_CONFIG LEAPS_CONFIG DATASETS"
        ).split():
            assert name in module
        assert module["MINIO_CONFIG"]["bucket_name"] == "stockdb"
        assert module["CACHE_CONFIG"]["cache_ttl_seconds"] == 3600
        assert module["DATASETS"]["stocks"]["key"] == "stocks-2010-2025/{SYMBOL}.csv"

    def test_read_as_the_nearest_file_it_changes_nothing(self) -> None:
        found = load_settings(directory=ROOT)
        assert found.config_file == ROOT / "minio_config.py"
        for name, (_, kind) in Settings.NAMES.items():
            assert getattr(found, name).model_dump() == kind().model_dump()
        assert found.datasets == STANDARD_DATASETS

    def test_copies_are_never_read(self) -> None:
        for dataset in STANDARD_DATASETS.values():
            assert dataset.duplicate_of is None or dataset.duplicate_of in STANDARD_DATASETS


class TestSettings:
    def test_frozen(self) -> None:
        with pytest.raises(AttributeError):
            Settings().cache = Cache()  # type: ignore[misc]

    def test_datasets_of_one_are_not_those_of_another(self) -> None:
        mine = Settings().datasets
        mine["mine"] = Dataset(key="k")  # type: ignore[index]
        load_settings().datasets["mine"] = Dataset(key="k")  # type: ignore[index]
        assert "mine" not in STANDARD_DATASETS
        assert "mine" not in Settings().datasets
        assert "mine" not in load_settings().datasets

    def test_public_names(self) -> None:
        assert settings.__all__ == sorted(
            settings.__all__, key=lambda name: (not name.isupper(), name)
        )
        assert all(hasattr(settings, name) for name in settings.__all__)
        sections = {kind.__name__ for kind in Section.__subclasses__()}
        assert sections | {"Section", "Settings"} <= set(settings.__all__)
