"""THE order of sources: explicit argument > environment > .env > nearest minio_config.py."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stockdb.errors import ConfigurationError
from stockdb.settings import (
    CONFIG_FILE,
    SOURCES,
    STANDARD_DATASETS,
    Connection,
    Dataset,
    Settings,
    load_settings,
)

CANARY = "-".join(["CANARY", "do", "not", "print"])  # joined: no source line shows it


def plain(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@dataclass
class Sources:
    """Puts one setting into any of the four sources."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    explicit: dict[str, Any]

    def put(self, level: str, title: str, name: str, value: Any) -> None:
        if level == "argument":
            self.explicit[name] = value
        elif level == "environment":
            self.monkeypatch.setenv(f"MINIO_{name.upper()}", str(value))
        elif level == ".env":
            (self.folder / ".env").write_text(f"MINIO_{name.upper()}={value}\n")
        else:
            assert level == CONFIG_FILE
            shown = str(value) if isinstance(value, Path) else value
            (self.folder / CONFIG_FILE).write_text(f"{title} = {{{name!r}: {shown!r}}}\n")

    def load(self) -> Settings:
        return load_settings(**self.explicit)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    return Sources(tmp_path, monkeypatch, {})


# kind of value: section, title in the file, setting, two values
KINDS: dict[str, tuple[str, str, str, Any, Any]] = {
    "str": ("connection", "MINIO_CONFIG", "bucket_name", "one", "two"),
    "optional str": ("connection", "MINIO_CONFIG", "endpoint", "one:9000", "two:9000"),
    "bool": ("connection", "MINIO_CONFIG", "secure", True, False),
    "bool with a default": ("cache", "CACHE_CONFIG", "cache_enabled", True, False),
    "float": ("cache", "CACHE_CONFIG", "cache_ttl_seconds", 0.0, 7200.5),
    "int": ("performance", "PERFORMANCE_CONFIG", "max_workers", 3, 16),
    "path": ("cache", "CACHE_CONFIG", "cache_dir", Path("/one"), Path("/two")),
    "path with a default": ("logs", "LOG_CONFIG", "log_dir", Path("/one"), Path("/two")),
    "secret": ("connection", "MINIO_CONFIG", "secret_key", "one#1$x", "two=2"),
    "hidden str": ("connection", "MINIO_CONFIG", "access_key", "one", "two"),
    "choice": ("validation", "VALIDATION_CONFIG", "policy", "drop", "flag"),
}


class TestOrder:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("level", SOURCES)
    @pytest.mark.parametrize("swapped", [False, True], ids=["one wins", "two wins"])
    def test_each_wins_over_all_below(
        self, sources: Sources, kind: str, level: str, swapped: bool
    ) -> None:
        section, title, name, one, two = KINDS[kind]
        winner, loser = (two, one) if swapped else (one, two)
        sources.put(level, title, name, winner)
        for below in SOURCES[SOURCES.index(level) + 1 :]:
            sources.put(below, title, name, loser)
        found = plain(getattr(sources.load(), section)[name])
        assert found == winner
        assert type(found) is type(winner)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_default_is_below_all(self, sources: Sources, kind: str) -> None:
        section, _, name, _, _ = KINDS[kind]
        assert getattr(sources.load(), section)[name] == Settings.NAMES[section][1]()[name]

    def test_sources_is_the_real_order(self, sources: Sources) -> None:
        """All four speak; whoever wins is silenced, until nobody is left."""
        remaining = {"argument", "environment", ".env", "minio_config.py"}
        for level in remaining:
            sources.put(level, "MINIO_CONFIG", "region", level)
        silence: dict[str, Callable[[], object]] = {
            "argument": sources.explicit.clear,
            "environment": lambda: sources.monkeypatch.delenv("MINIO_REGION"),
            ".env": (sources.folder / ".env").unlink,
            "minio_config.py": (sources.folder / "minio_config.py").unlink,
        }
        observed = []
        while remaining:
            winner = sources.load().connection.region
            observed.append(winner)
            remaining.remove(winner)
            silence[winner]()
        assert tuple(observed) == SOURCES
        assert sources.load().connection.region == "us-east-1"

    def test_each_setting_is_decided_on_its_own(self, sources: Sources) -> None:
        sources.put("argument", "", "bucket_name", "argument")
        sources.put("environment", "", "region", "environment")
        sources.put(".env", "", "endpoint", "dotenv")
        sources.put(CONFIG_FILE, "MINIO_CONFIG", "access_key", "file")
        found = sources.load().connection
        assert (found.bucket_name, found.region) == ("argument", "environment")
        assert (found.endpoint, found.access_key) == ("dotenv", "file")

    def test_none_as_an_argument_counts_as_not_given(self, sources: Sources) -> None:
        sources.put("environment", "", "secure", "false")
        sources.put(CONFIG_FILE, "MINIO_CONFIG", "bucket_name", "file")
        sources.explicit.update(secure=None, bucket_name=None)
        found = sources.load().connection
        assert (found.secure, found.bucket_name) == (False, "file")

    def test_false_zero_and_empty_count_as_given(self, sources: Sources) -> None:
        sources.put("environment", "", "cache_ttl_seconds", "60")
        sources.monkeypatch.setenv("MINIO_CACHE_ENABLED", "true")
        sources.monkeypatch.setenv("MINIO_ENDPOINT", "host")
        found = load_settings(cache_ttl_seconds=0, cache_enabled=False, endpoint="")
        assert found.cache.cache_ttl_seconds == 0
        assert found.cache.cache_enabled is False
        assert found.connection.endpoint == ""


class TestEnvironment:
    # The names of product.md, written out.
    NAMES = {
        "MINIO_ENDPOINT": ("http://127.0.0.1:9000", "connection", "endpoint", None),
        "MINIO_ACCESS_KEY": ("minioadmin", "connection", "access_key", None),
        "MINIO_SECRET_KEY": ("p#ss=w0rd", "connection", "secret_key", None),
        "MINIO_SECURE": ("false", "connection", "secure", False),
        "MINIO_BUCKET_NAME": ("mybucket", "connection", "bucket_name", None),
        "MINIO_CACHE_DIR": ("/var/cache/x", "cache", "cache_dir", Path("/var/cache/x")),
        "MINIO_CACHE_TTL_SECONDS": ("90", "cache", "cache_ttl_seconds", 90.0),
        "MINIO_LOG_DIR": ("/var/log/x", "logs", "log_dir", Path("/var/log/x")),
    }

    @pytest.mark.parametrize("variable", NAMES)
    @pytest.mark.parametrize("where", ["environment", ".env"])
    def test_contract_names(self, sources: Sources, variable: str, where: str) -> None:
        text, section, name, expected = self.NAMES[variable]
        if where == "environment":
            sources.monkeypatch.setenv(variable, text)
        else:
            Path(".env").write_text(f"{variable}={text}\n")
        assert plain(getattr(load_settings(), section)[name]) == (
            text if expected is None else expected
        )

    def test_default_bucket(self) -> None:
        assert load_settings().connection.bucket_name == "stockdb"

    @pytest.mark.parametrize("section", Settings.NAMES)
    def test_every_setting_has_a_variable(self, section: str, sources: Sources) -> None:
        kind = Settings.NAMES[section][1]
        for name, default in kind().model_dump().items():
            if name == "secure":
                text = "true"  # its default is None, and "x" is no boolean
            elif isinstance(default, tuple):
                text = '["x"]'
            else:
                text = "x" if default is None else str(default)
            sources.monkeypatch.setenv(f"MINIO_{name.upper()}", text)
        assert getattr(load_settings(), section).model_fields_set == set(kind.model_fields)

    @pytest.mark.parametrize("kind", KINDS)
    def test_empty_counts_as_unset(self, sources: Sources, kind: str) -> None:
        section, title, name, one, two = KINDS[kind]
        sources.put("environment", title, name, "")
        sources.put(".env", title, name, one)
        sources.put(CONFIG_FILE, title, name, two)
        assert plain(getattr(sources.load(), section)[name]) == one
        sources.put(".env", title, name, "")
        assert plain(getattr(sources.load(), section)[name]) == two

    @pytest.mark.parametrize(
        ("text", "value"),
        [("1", True), ("yes", True), ("on", True), ("TRUE", True), ("0", False), ("no", False)],
    )
    def test_booleans_as_people_write_them(self, sources: Sources, text: str, value: bool) -> None:
        sources.monkeypatch.setenv("MINIO_SECURE", text)
        assert load_settings().connection.secure is value

    def test_lists_are_json(self, sources: Sources) -> None:
        sources.monkeypatch.setenv("MINIO_SYMBOLS", '["AAPL", "SPY"]')
        assert load_settings().leaps.symbols == ("AAPL", "SPY")
        sources.monkeypatch.setenv("MINIO_SYMBOLS", f"AAPL,{CANARY}")
        with pytest.raises(ConfigurationError, match='symbols.*JSON: \\["AAPL"') as caught:
            load_settings()
        assert CANARY not in str(caught.value)

    def test_variables_of_a_minio_server_do_no_harm(self, sources: Sources) -> None:
        """A shell in which a server is started has these too."""
        noise = {
            "MINIO_ROOT_USER": "admin",
            "MINIO_ROOT_PASSWORD": CANARY,
            "MINIO_VOLUMES": "/data{1...4}",
            "MINIO_OPTS": "--console-address :9001",
            "MINIO_BROWSER": "off",
            "MINIO_DOMAIN": "example.com",
            "MINIO_SERVER_URL": "https://example.com",
            "MINIO_KMS_SECRET_KEY": CANARY,
            "MINIO_ROOT_USER_FILE": "access_key",
            "MINIO_CONFIG": "not a section",
            "MINIO_DATASETS": "{}",
        }
        expected = load_settings()
        for name, value in noise.items():
            sources.monkeypatch.setenv(name, value)
        Path(".env").write_text("".join(f"{name}={value}\n" for name, value in noise.items()))
        found = load_settings()
        assert (found.connection, found.datasets) == (expected.connection, expected.datasets)
        assert CANARY not in repr(found)

    def test_names_without_the_prefix_mean_nothing(self, sources: Sources) -> None:
        sources.monkeypatch.setenv("ENDPOINT", "x")
        Path(".env").write_text("BUCKET_NAME=x\nREGION=x\n")
        assert load_settings().connection == Connection()


class TestDotEnv:
    def test_found_upwards(self, tmp_path: Path, sources: Sources) -> None:
        (tmp_path / ".env").write_text("MINIO_ENDPOINT=above\n")
        deep = tmp_path / "a" / "b"
        deep.mkdir(parents=True)
        sources.monkeypatch.chdir(deep)
        found = load_settings()
        assert (found.connection.endpoint, found.env_file) == ("above", tmp_path / ".env")
        (tmp_path / "a" / ".env").write_text("MINIO_ENDPOINT=nearer\n")
        found = load_settings()
        assert (found.connection.endpoint, found.env_file) == ("nearer", tmp_path / "a" / ".env")

    def test_none(self) -> None:
        assert load_settings().env_file is None

    def test_a_folder_of_that_name_is_not_a_file(self, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()
        assert load_settings().env_file is None

    @pytest.mark.parametrize(
        "line",
        [
            "MINIO_SECRET_KEY=a#b=c",
            "MINIO_SECRET_KEY='a#b=c'",
            'MINIO_SECRET_KEY="a#b=c"  # comment',
            "export MINIO_SECRET_KEY=a#b=c",
            "\ufeffMINIO_SECRET_KEY=a#b=c\r",
        ],
    )
    def test_usual_forms(self, line: str) -> None:
        Path(".env").write_bytes(f"{line}\n# comment\nOTHER=1\n".encode())
        assert plain(load_settings().connection.secret_key) == "a#b=c"

    @pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
    def test_not_utf8_names_the_file(self, tmp_path: Path, encoding: str) -> None:
        (tmp_path / ".env").write_bytes(f"MINIO_SECRET_KEY=é{CANARY}\n".encode(encoding))
        with pytest.raises(ConfigurationError, match="UTF-8") as caught:
            load_settings()
        assert str(tmp_path / ".env") in str(caught.value)
        assert CANARY not in str(caught.value)

    def test_a_wrong_value_names_the_setting_only(self) -> None:
        Path(".env").write_text(f"MINIO_MAX_WORKERS={CANARY}\n")
        with pytest.raises(ConfigurationError, match="max_workers") as caught:
            load_settings()
        assert CANARY not in str(caught.value)


class TestNearestFile:
    def test_found_upwards(self, tmp_path: Path, sources: Sources) -> None:
        (tmp_path / CONFIG_FILE).write_text('MINIO_CONFIG = {"endpoint": "above"}\n')
        deep = tmp_path / "a" / "b"
        deep.mkdir(parents=True)
        sources.monkeypatch.chdir(deep)
        found = load_settings()
        assert (found.connection.endpoint, found.config_file) == ("above", tmp_path / CONFIG_FILE)
        nearer = tmp_path / "a" / CONFIG_FILE
        nearer.write_text('MINIO_CONFIG = {"region": "eu"}\n')
        found = load_settings()
        assert found.config_file == nearer
        assert (found.connection.endpoint, found.connection.region) == (None, "eu"), "not merged"

    def test_directory_may_be_given(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / CONFIG_FILE).write_text('MINIO_CONFIG = {"region": "eu"}\n')
        (tmp_path / CONFIG_FILE).write_text('MINIO_CONFIG = {"region": "us"}\n')
        for directory in (tmp_path / "other", Path("other"), Path("other/../other")):
            assert load_settings(directory=directory).connection.region == "eu"
        (tmp_path / "other" / CONFIG_FILE).unlink()
        assert load_settings(directory=Path("other")).connection.region == "us"

    def test_a_relative_directory_is_searched_above_the_working_one(
        self, tmp_path: Path, sources: Sources
    ) -> None:
        (tmp_path / CONFIG_FILE).write_text('MINIO_CONFIG = {"region": "eu"}\n')
        (tmp_path / "work" / "sub").mkdir(parents=True)
        sources.monkeypatch.chdir(tmp_path / "work")
        for directory in (Path("."), Path("sub")):
            assert load_settings(directory=directory).config_file == tmp_path / CONFIG_FILE

    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A minio_config.py where pip puts it: on the path, not near the working directory."""
        site, work = tmp_path / "site-packages", tmp_path / "work"
        site.mkdir()
        work.mkdir()
        file = site / CONFIG_FILE
        file.write_text('MINIO_CONFIG = {"endpoint": "installed", "region": "installed"}\n')
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "minio_config", raising=False)
        monkeypatch.chdir(work)
        return file

    def test_installed_one_serves_where_there_is_no_other(self, installed: Path) -> None:
        found = load_settings()
        assert (found.connection.endpoint, found.config_file) == ("installed", installed)

    def test_installed_one_does_not_shadow_the_users(self, installed: Path) -> None:
        Path(CONFIG_FILE).write_text('MINIO_CONFIG = {"endpoint": "mine"}\n')
        found = load_settings().connection
        assert (found.endpoint, found.region) == ("mine", "us-east-1")

    def test_not_even_when_it_was_imported_already(
        self, installed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import importlib

        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "minio_config", None)  # so that its end restores what was
            del sys.modules["minio_config"]
            module = importlib.import_module("minio_config")
            assert module.MINIO_CONFIG["endpoint"] == "installed"
            (installed.parent.parent / CONFIG_FILE).write_text(
                'MINIO_CONFIG = {"endpoint": "up"}\n'
            )
            assert load_settings().connection.endpoint == "up"

    def test_no_file_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        found = load_settings()
        assert found.config_file is None
        assert found.connection == Connection()
        assert found.datasets == STANDARD_DATASETS

    def test_an_edited_file_is_read_again(self, tmp_path: Path) -> None:
        file = tmp_path / CONFIG_FILE
        for number, region in enumerate(["eu", "us"]):
            file.write_text(f'MINIO_CONFIG = {{"region": "{region}"}}\n')
            os.utime(file, ns=(0, 1_700_000_000_000_000_000 + number))
            assert load_settings().connection.region == region

    def test_reading_leaves_nothing_behind(self, tmp_path: Path) -> None:
        (tmp_path / CONFIG_FILE).write_text("MINIO_CONFIG = {}\n")
        path, modules, flag = list(sys.path), set(sys.modules), sys.dont_write_bytecode
        load_settings()
        assert [item.name for item in tmp_path.iterdir()] == [CONFIG_FILE]
        assert sys.path == path
        assert sys.dont_write_bytecode is flag
        assert not {name for name in set(sys.modules) - modules if "config" in name.split(".")[0]}


class TestConfigArgument:
    def test_path_replaces_the_nearest(self, tmp_path: Path, sources: Sources) -> None:
        sources.put(CONFIG_FILE, "MINIO_CONFIG", "region", "nearest")
        other = tmp_path / "other.py"
        other.write_text('MINIO_CONFIG = {"endpoint": "other", "bucket_name": "other"}\n')
        sources.monkeypatch.setenv("MINIO_BUCKET_NAME", "environment")
        for config in (other, str(other), "other.py", "./other.py"):
            found = load_settings(config)
            assert found.config_file == other, "absolute, so that a worker process finds it"
            assert found.connection.endpoint == "other"
            assert found.connection.region == "us-east-1"
            assert found.connection.bucket_name == "environment", "a file stays below"

    def test_same_relative_path_in_another_folder(self, tmp_path: Path, sources: Sources) -> None:
        for region in ("eu", "us"):
            folder = tmp_path / region
            folder.mkdir()
            (folder / "my.py").write_text(f'MINIO_CONFIG = {{"region": "{region}"}}\n')
            os.utime(folder / "my.py", ns=(0, 1))
            sources.monkeypatch.chdir(folder)
            assert load_settings("my.py").connection.region == region

    @pytest.mark.parametrize("config", ["missing.py", Path("missing.py"), ".", ""])
    def test_path_that_is_no_file(self, config: Any) -> None:
        with pytest.raises(ConfigurationError, match="No configuration file"):
            load_settings(config)

    def test_file_that_is_not_python(self) -> None:
        Path("settings.toml").write_text("x = 1\n")
        with pytest.raises(ConfigurationError, match="not a Python file"):
            load_settings("settings.toml")

    @pytest.mark.parametrize(
        "config",
        [
            {"bucket_name": "mapping", "max_workers": 2},
            {"MINIO_CONFIG": {"bucket_name": "mapping"}, "PERFORMANCE_CONFIG": {"max_workers": 2}},
            {"connection": {"bucket_name": "mapping"}, "max_workers": 2},
            {"MINIO_CONFIG": Connection(bucket_name="mapping"), "max_workers": 2, "region": None},
        ],
    )
    def test_mapping_counts_as_explicit(self, sources: Sources, config: dict[str, Any]) -> None:
        for level in SOURCES[1:]:
            sources.put(level, "MINIO_CONFIG", "bucket_name", level)
        found = load_settings(config)
        assert (found.connection.bucket_name, found.performance.max_workers) == ("mapping", 2)
        assert load_settings(config, bucket_name="argument").connection.bucket_name == "argument"
        assert load_settings(config, bucket_name=None).connection.bucket_name == "mapping"

    @pytest.mark.parametrize("name", ["datasets", "DATASETS"])
    def test_mapping_of_datasets(self, name: str) -> None:
        found = load_settings({name: {"mine": {"key": "k"}, "stocks": {"key": "mine"}}}).datasets
        assert found["mine"] == Dataset(key="k")
        assert found["stocks"].key == "mine"
        assert found["options"] == STANDARD_DATASETS["options"]

    def test_mapping_is_not_changed(self) -> None:
        config = {"MINIO_CONFIG": {"region": "eu"}, "datasets": {"mine": {"key": "k"}}}
        load_settings(config, region="us", datasets={"more": {"key": "k"}})
        assert config == {"MINIO_CONFIG": {"region": "eu"}, "datasets": {"mine": {"key": "k"}}}

    def test_settings_are_final_but_for_arguments(self, sources: Sources) -> None:
        ready = load_settings(bucket_name="ready", secret_key=CANARY, cache_dir="/ready")
        for level in SOURCES[1:]:
            sources.put(level, "MINIO_CONFIG", "bucket_name", level)
        assert load_settings(ready) == ready
        changed = load_settings(ready, bucket_name="argument", datasets={"x": {"key": "k"}})
        assert changed.connection.bucket_name == "argument"
        assert plain(changed.connection.secret_key) == CANARY
        assert changed.cache.cache_dir == Path("/ready")
        assert set(changed.datasets) == {*STANDARD_DATASETS, "x"}
        assert ready.connection.bucket_name == "ready"
        assert "x" not in ready.datasets

    @pytest.mark.parametrize("config", [5, True, ["endpoint"], object(), b"x"])
    def test_anything_else_is_refused(self, config: Any) -> None:
        with pytest.raises(ConfigurationError, match=type(config).__name__):
            load_settings(config)

    @pytest.mark.parametrize("through", ["argument", "mapping", "settings"])
    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"secret_kye": CANARY}, "'secret_kye'.*Did you mean 'secret_key'"),
            ({"zzz": CANARY}, "'zzz'.*minio_config.py"),
            ({"max_workers": CANARY}, "max_workers"),
            ({"secret_key": [CANARY]}, "secret_key"),
            ({"datasets": [CANARY]}, "DATASETS"),
            ({"datasets": {"mine": CANARY}}, "'mine'"),
            ({"datasets": {"mine": {"kee": CANARY}}}, "'mine'.*kee"),
        ],
    )
    def test_wrong_ones_are_named_without_value(
        self, through: str, given: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=named) as caught:
            if through == "argument":
                load_settings(**given)
            elif through == "mapping":
                load_settings(given)
            else:
                load_settings(Settings(), **given)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_section_counts_as_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_ENDPOINT", "elsewhere:9000")
    section = Connection(endpoint="here:9000", secret_key=CANARY)
    settings = load_settings(section, bucket_name="mine")
    assert settings.connection.endpoint == "here:9000"
    assert settings.connection.bucket_name == "mine"
    assert plain(settings.connection.secret_key) == CANARY
