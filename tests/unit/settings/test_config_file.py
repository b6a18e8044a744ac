"""What a minio_config.py may say, and what is refused: by name, never with a value."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from stockdb.errors import ConfigurationError
from stockdb.settings import (
    CONFIG_FILE,
    STANDARD_DATASETS,
    Connection,
    Dataset,
    load_settings,
)

CANARY = "-".join(["CANARY", "do", "not", "print"])  # joined: no source line shows it


class TestWhatAFileMaySay:
    def write(self, text: str) -> None:
        Path(CONFIG_FILE).write_text(text, encoding="utf-8")

    def test_plain_dicts(self) -> None:
        self.write(
            'MINIO_CONFIG = {"endpoint": "host:9000", "secret_key": "s", "secure": False}\n'
            'CACHE_CONFIG = {"cache_ttl_seconds": "60", "cache_dir": "c"}\n'
            'VALIDATION_CONFIG = {"required_columns": ["close"]}\n'
            'PERFORMANCE_CONFIG = {"max_workers": 2}\n'
            'LEAPS_CONFIG = {"symbols": ["SPY"]}\n'
            'LOG_CONFIG = {"log_level": "DEBUG"}\n'
            'DATASETS = {"mine": {"key": "x/{SYMBOL}.csv"}}\n'
        )
        found = load_settings()
        assert found.endpoint().url == "http://host:9000"
        assert found.connection.secret_key is not None
        assert found.connection.secret_key.get_secret_value() == "s"
        assert (found.cache.cache_ttl_seconds, found.cache.cache_dir) == (60.0, Path("c"))
        assert found.validation.required_columns == ("close",)
        assert found.performance.max_workers == 2
        assert found.leaps.symbols == ("SPY",)
        assert found.logs.log_level == "DEBUG"
        assert found.datasets == {"mine": Dataset(key="x/{SYMBOL}.csv")}

    def test_plain_dict_equals_section(self) -> None:
        values = "endpoint='host:9000', secret_key='s', secure=False, region='eu'"
        self.write(f"MINIO_CONFIG = dict({values})\n")
        plain_dict = load_settings().connection
        os.unlink(CONFIG_FILE)
        self.write(
            f"from stockdb.settings import Connection\n\nMINIO_CONFIG = Connection({values})\n"
        )
        os.utime(CONFIG_FILE, ns=(0, 1))
        assert load_settings().connection == plain_dict

    @pytest.mark.parametrize("text", ["", "DATASETS = None\n", "MINIO_CONFIG = None\n", "x = 1\n"])
    def test_what_it_leaves_out_keeps_the_standard(self, text: str) -> None:
        self.write(text)
        found = load_settings()
        assert found.datasets == STANDARD_DATASETS
        assert found.connection == Connection()

    def test_datasets_of_the_file_are_the_datasets(self) -> None:
        self.write(
            "from stockdb.settings import Dataset\n\n"
            'DATASETS = {"mine": Dataset(key="x/{SYMBOL}.csv", interval="1wk")}\n'
        )
        assert list(load_settings().datasets) == ["mine"]
        more = load_settings(datasets={"more": {"key": "k"}}).datasets
        assert list(more) == ["mine", "more"]

    def test_none_leaves_a_setting_to_its_default(self) -> None:
        self.write('MINIO_CONFIG = {"endpoint": None, "secret_key": None, "secure": None}\n')
        assert load_settings().connection == Connection()

    def test_it_may_compute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_BUCKET", "mine")
        self.write('import os\n\nMINIO_CONFIG = {"bucket_name": os.environ["MY_BUCKET"]}\n')
        assert load_settings().connection.bucket_name == "mine"

    BROKEN = {
        # what is wrong: text of the file, what the message must name
        "syntax": (f'MINIO_CONFIG = {{"secret_key": "{CANARY}"\nx = = 1\n', "line 2|line 1"),
        "unclosed string": (f'\n\nMINIO_CONFIG = {{"secret_key": "{CANARY}\n', "line 3"),
        "indentation": (f' MINIO_CONFIG = {{"secret_key": "{CANARY}"}}\n', "line 1"),
        "NUL": (f'MINIO_CONFIG = {{"secret_key": "{CANARY}\x00"}}\n', "SyntaxError"),
        "name": (f'KEY = "{CANARY}"\nMINIO_CONFIG = {{"secure": true}}\n', "line 2.*NameError"),
        "canary as a name": (f"x = {CANARY.replace('-', '_')}\n", "line 1.*NameError"),
        "import": (f"import nonsense_{CANARY.replace('-', '_')}\n", "line 1.*ModuleNotFound"),
        "environment": (f'import os\n\nkey = os.environ["{CANARY}"]\n', "line 3.*KeyError"),
        "file": (f'key = open("{CANARY}").read()\n', "line 1.*FileNotFoundError"),
        "index": (f'key = "{CANARY}".split()[1]\n', "line 1.*IndexError"),
        "number": (f'ttl = int("{CANARY}")\n', "line 1.*ValueError"),
        "assertion": (f'assert False, "{CANARY}"\n', "line 1.*AssertionError"),
        "own function": (
            f'def key():\n    raise RuntimeError("{CANARY}")\n\n\nkey()\n',
            "line 2.*RuntimeError",
        ),
        "typo in a dict": (
            f'MINIO_CONFIG = {{"secret_kye": "{CANARY}"}}\n',
            "MINIO_CONFIG.*secret_kye.*did you mean 'secret_key'",
        ),
        "typo in a section": (
            "from stockdb.settings import Connection\n\n"
            f'MINIO_CONFIG = Connection(secret_kye="{CANARY}")\n',
            "Connection.*secret_kye.*did you mean 'secret_key'",
        ),
        "setting of another section": (
            f'MINIO_CONFIG = {{"log_level": "{CANARY}"}}\n',
            "MINIO_CONFIG.*log_level",
        ),
        "section under another's name": (
            "from stockdb.settings import Logs\n\nMINIO_CONFIG = Logs(log_backups=1)\n",
            "MINIO_CONFIG.*log_backups",
        ),
        "wrong type of a number": (
            f'PERFORMANCE_CONFIG = {{"max_workers": "{CANARY}"}}\n',
            "PERFORMANCE_CONFIG.*max_workers",
        ),
        "wrong type of a bool": (f'MINIO_CONFIG = {{"secure": "{CANARY}"}}\n', "secure"),
        "wrong type of a secret": (
            f'MINIO_CONFIG = {{"secret_key": ["{CANARY}"]}}\n',
            "secret_key",
        ),
        "wrong choice": (f'VALIDATION_CONFIG = {{"policy": "{CANARY}"}}\n', "policy"),
        "out of range": ('CACHE_CONFIG = {"cache_ttl_seconds": -31337}\n', "cache_ttl_seconds"),
        "none where a value is needed": ('MINIO_CONFIG = {"bucket_name": None}\n', "bucket_name"),
        "endpoint with a password": (
            f'MINIO_CONFIG = {{"endpoint": "https://u:{CANARY}@host"}}\n',
            "MINIO_CONFIG.*endpoint",
        ),
        "section is a list": (f'MINIO_CONFIG = ["{CANARY}"]\n', "MINIO_CONFIG.*not list"),
        "section is a string": (f'MINIO_CONFIG = "{CANARY}"\n', "MINIO_CONFIG.*not str"),
        "setting named by a number": (f'MINIO_CONFIG = {{1: "{CANARY}"}}\n', "MINIO_CONFIG.*1:"),
        "title misspelt": (
            f'MINO_CONFIG = {{"secret_key": "{CANARY}"}}\n',
            "MINO_CONFIG.*Did you mean 'MINIO_CONFIG'",
        ),
        "title in the plural": ('LEAP_CONFIG = {"symbols": []}\n', "Did you mean 'LEAPS_CONFIG'"),
        "datasets misspelt": ("DATASET = {}\n", "DATASET'.*Did you mean 'DATASETS'"),
        "datasets are a list": (f'DATASETS = ["{CANARY}"]\n', "DATASETS.*list"),
        "dataset is a string": (f'DATASETS = {{"stocks": "{CANARY}"}}\n', "stocks.*not str"),
        "dataset with a typo": (
            f'DATASETS = {{"stocks": {{"key": "k", "intervall": "{CANARY}"}}}}\n',
            "stocks.*intervall.*did you mean 'interval'",
        ),
        "dataset of a wrong kind": (
            f'DATASETS = {{"stocks": {{"key": "k", "kind": "{CANARY}"}}}}\n',
            "stocks.*kind",
        ),
    }

    @pytest.mark.parametrize("case", BROKEN)
    def test_broken_names_file_and_setting_and_never_the_value(
        self, tmp_path: Path, case: str
    ) -> None:
        text, named = self.BROKEN[case]
        self.write(text)
        with pytest.raises(ConfigurationError, match=named) as caught:
            load_settings()
        error = caught.value
        everything = "".join(
            [str(error), repr(error), repr(error.values), *traceback.format_exception(error)]
        )
        assert str(tmp_path / CONFIG_FILE) in str(error)
        assert CANARY not in everything
        assert CANARY.replace("-", "_") not in everything
        assert "31337" not in everything
        assert "pydantic" not in str(error), "a trader need not know it"

    def test_a_mended_file_is_read(self) -> None:
        self.write("MINIO_CONFIG = {\n")
        with pytest.raises(ConfigurationError):
            load_settings()
        self.write('MINIO_CONFIG = {"region": "eu"}\n')
        assert load_settings().connection.region == "eu"

    def test_not_utf8(self) -> None:
        Path(CONFIG_FILE).write_bytes(f'MINIO_CONFIG = {{"region": "é{CANARY}"}}'.encode("latin-1"))
        with pytest.raises(ConfigurationError, match="SyntaxError") as caught:
            load_settings()
        assert CANARY not in str(caught.value)

    def test_a_name_of_the_users_own_is_fine(self) -> None:
        self.write(
            'OLD_MINIO_CONFIG = {"a": 1}\nBASE = {"region": "eu"}\nMINIO_CONFIG = {**BASE}\n'
        )
        assert load_settings().connection.region == "eu"


needs_owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no file owners here")


@needs_owners
class TestOwner:
    def give_away(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if os.getuid() == 0:
            os.chown(file, 54321, -1)
        else:  # a user cannot give a file away, but can look like somebody else
            monkeypatch.setattr(os, "getuid", lambda: 54321)

    @pytest.mark.parametrize("name", [CONFIG_FILE, ".env"])
    def test_another_users_file_is_refused_and_not_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        file = tmp_path / name
        file.write_text(f'MINIO_BUCKET_NAME="x"\nopen("{tmp_path}/ran", "w").close()\n')
        self.give_away(file, monkeypatch)
        with pytest.raises(ConfigurationError, match="belongs to another user") as caught:
            load_settings()
        assert str(file) in str(caught.value)
        assert not (tmp_path / "ran").exists()

    def test_above_the_working_directory_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / CONFIG_FILE).write_text("")
        self.give_away(tmp_path / CONFIG_FILE, monkeypatch)
        (tmp_path / "a").mkdir()
        monkeypatch.chdir(tmp_path / "a")
        with pytest.raises(ConfigurationError, match="belongs to another user"):
            load_settings()

    def test_behind_a_link_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "other.py").write_text("")
        (tmp_path / CONFIG_FILE).symlink_to(tmp_path / "other.py")
        self.give_away(tmp_path / "other.py", monkeypatch)
        with pytest.raises(ConfigurationError, match="belongs to another user"):
            load_settings()

    def test_own_and_roots_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / CONFIG_FILE).write_text('MINIO_CONFIG = {"region": "eu"}\n')
        assert load_settings().connection.region == "eu"
        if os.getuid() == 0:  # root's file, read by somebody else
            monkeypatch.setattr(os, "getuid", lambda: 54321)
            assert load_settings().connection.region == "eu"
