"""Where each setting comes from, decided in one place.

Precedence, highest first: explicit argument, environment (``MINIO_*``), ``.env``, the
nearest ``minio_config.py``, the defaults of the sections. :data:`SOURCES` is that order.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from pydantic import ValidationError

from stockdb.errors import ConfigurationError
from stockdb.settings.endpoint import Endpoint, parse_endpoint
from stockdb.settings.sections import (
    Cache,
    Connection,
    Dataset,
    Leaps,
    Logs,
    Performance,
    Section,
    Validation,
    configuration_error,
)

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

CONFIG_FILE: Final = "minio_config.py"
SOURCES: Final = ("argument", "environment", ".env", CONFIG_FILE)
S = TypeVar("S", bound=Section)


def standard_datasets() -> dict[str, Dataset]:
    """Copy the datasets of a ``stockdb`` bucket; built when first asked for."""
    from stockdb.settings.datasets import STANDARD_DATASETS

    return dict(STANDARD_DATASETS)


@dataclass(frozen=True)
class Settings:
    """All sections, as one object that travels to worker processes.

    Attributes
    ----------
    config_file : pathlib.Path or None
        The ``minio_config.py`` that was read.
    env_file : pathlib.Path or None
        The ``.env`` that was read.
    """

    connection: Connection = field(default_factory=Connection)
    cache: Cache = field(default_factory=Cache)
    validation: Validation = field(default_factory=Validation)
    performance: Performance = field(default_factory=Performance)
    leaps: Leaps = field(default_factory=Leaps)
    logs: Logs = field(default_factory=Logs)
    datasets: Mapping[str, Dataset] = field(default_factory=standard_datasets)
    config_file: Path | None = None
    env_file: Path | None = None

    NAMES: ClassVar[dict[str, tuple[str, type[Section]]]] = {
        "connection": ("MINIO_CONFIG", Connection),
        "cache": ("CACHE_CONFIG", Cache),
        "validation": ("VALIDATION_CONFIG", Validation),
        "performance": ("PERFORMANCE_CONFIG", Performance),
        "leaps": ("LEAPS_CONFIG", Leaps),
        "logs": ("LOG_CONFIG", Logs),
    }

    def endpoint(self) -> Endpoint:
        """Return the endpoint, or raise the one error that says how to configure it."""
        text = self.connection.endpoint
        if text is None or not text.strip():
            raise ConfigurationError(
                "No MinIO endpoint is configured.",
                remedy=(
                    "Set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY in the "
                    "environment or in .env, or edit minio_config.py. To try it without a "
                    "server: `python -m stockdb demo --serve` keeps an embedded one with "
                    "simulated data."
                ),
            )
        return parse_endpoint(text, self.connection.secure)


def load_settings(
    config: Settings | Mapping[str, Any] | str | Path | None = None,
    *,
    directory: Path | None = None,
    **explicit: Any,
) -> Settings:
    """Put the settings together from all sources.

    Parameters
    ----------
    config : Settings, mapping, section, path or None
        Ready settings; a mapping of setting names (or of ``MINIO_CONFIG`` style names
        to sections), or one section such as ``MINIO_CONFIG``, that counts as explicit; or
        the ``minio_config.py`` to read instead of the nearest one.
    directory : pathlib.Path, optional
        Where the search for ``.env`` and ``minio_config.py`` starts, going upwards; the
        working directory by default.
    **explicit
        Any setting of any section by name (``endpoint=``, ``cache_dir=``,
        ``max_workers=``, ``datasets=`` ...); None counts as not given.

    Raises
    ------
    ConfigurationError
        Unknown name, value of the wrong kind, unreadable file; never shows a value.
    """
    given = {name: value for name, value in explicit.items() if value is not None}
    if isinstance(config, Settings):
        return _override(config, given)
    chosen: Path | None = None
    if isinstance(config, (str, Path)):
        chosen = Path(config).expanduser().resolve()
        if not chosen.is_file():
            raise ConfigurationError(f"No configuration file at {str(chosen)!r}.")
    elif isinstance(config, (Mapping, Section)):
        given = {**_flatten(_values(config)), **given}
    elif config is not None:
        raise ConfigurationError(
            f"config is {type(config).__name__}, which holds no settings.",
            remedy="Give a mapping of settings, a section such as MINIO_CONFIG, the path of a "
            "minio_config.py, or Settings.",
        )
    start = (directory or Path.cwd()).resolve()
    module, path = _config_module(chosen or _nearest(start, CONFIG_FILE))
    env_file = _nearest(start, ".env")
    datasets = given.pop("datasets", None)
    by_section = _route(given)
    sections: dict[str, Any] = {
        name: _layer(kind, by_section[name], _section_of(module, title, kind, path), env_file)
        for name, (title, kind) in Settings.NAMES.items()
    }
    held = getattr(module, "DATASETS", None)
    held = standard_datasets() if held is None else _datasets(held, path)
    return Settings(
        datasets={**held, **_datasets(datasets or {}, None)},
        config_file=path,
        env_file=env_file,
        **sections,
    )


def _override(settings: Settings, given: dict[str, Any]) -> Settings:
    datasets = {**settings.datasets, **_datasets(given.pop("datasets", {}), None)}
    by_section = _route(given)
    values: dict[str, Any] = {
        name: kind(**{**_values(getattr(settings, name)), **by_section[name]})
        for name, (_, kind) in Settings.NAMES.items()
    }
    return Settings(
        datasets=datasets,
        config_file=settings.config_file,
        env_file=settings.env_file,
        **values,
    )


def _flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Accept both ``{'endpoint': ...}`` and ``{'MINIO_CONFIG': {...}}``."""
    titles = {title for title, _ in Settings.NAMES.values()} | set(Settings.NAMES)
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if name in titles:
            flat.update(_values(value))
        else:
            flat["datasets" if name == "DATASETS" else name] = value
    return {name: value for name, value in flat.items() if value is not None}


def _values(section: Any) -> dict[str, Any]:
    if isinstance(section, Section):
        return {name: section[name] for name in section.model_fields_set}
    if isinstance(section, Mapping):
        return {str(name): value for name, value in section.items()}
    raise ConfigurationError(f"A section is a mapping, not {type(section).__name__}.")


def _route(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort explicit settings into their sections; names are unique over all of them."""
    routed: dict[str, dict[str, Any]] = {name: {} for name in Settings.NAMES}
    home = {
        setting: name for name, (_, kind) in Settings.NAMES.items() for setting in kind.model_fields
    }
    for setting, value in given.items():
        if setting not in home:
            near = difflib.get_close_matches(setting, home, 1)
            raise ConfigurationError(
                f"There is no setting {setting!r}.",
                remedy=f"Did you mean {near[0]!r}?" if near else "See minio_config.py for names.",
            )
        routed[home[setting]][setting] = value
    return routed


def _nearest(directory: Path, name: str) -> Path | None:
    """Find a file in this directory or the closest one above it."""
    trusted = _trusted_owners(directory)
    for folder in (directory, *directory.parents):
        path = folder / name
        try:
            if not path.is_file():
                continue
            owner, shared = path.stat().st_uid, bool(folder.stat().st_mode & 0o002)
        except OSError:  # a parent that may not be read ends nothing: look further up
            continue
        # The file is executed (or holds secrets), so another user's must not be picked
        # up by walking into a shared folder.
        if trusted and owner not in (trusted[:2] if shared else trusted):
            raise ConfigurationError(
                f"{str(path)!r} belongs to another user and is not read.",
                remedy="Remove it, own it, or start from another folder.",
            )
        return path
    return None


def _trusted_owners(directory: Path) -> list[int]:
    """Root, this user, and whoever owns the folder that the program was started in.

    The last is how a checkout looks that is mounted into a container. In a folder that
    anybody may write to it counts for nothing. Empty where files have no owners.
    """
    if not hasattr(os, "getuid"):
        return []
    try:
        here = directory.stat().st_uid
    except OSError:
        here = 0
    return [0, os.getuid(), here]


def _config_module(path: Path | None) -> tuple[ModuleType | None, Path | None]:
    """Execute the nearest configuration file, or else the installed one."""
    if path is None:
        spec = importlib.util.find_spec("minio_config")
        if spec is None or spec.origin is None:
            return None, None
        path = Path(spec.origin)
    return _execute(path, path.stat().st_mtime_ns), path


@functools.lru_cache(maxsize=8)
def _execute(path: Path, _mtime_ns: int) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_stockdb_minio_config", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except ConfigurationError as error:
        raise ConfigurationError(f"{str(path)!r}: {error.message}", remedy=error.remedy) from None
    except Exception as error:  # whatever a user's own code can raise
        line = _line(error, path)
        where = f" (line {line})" if line else ""
        raise ConfigurationError(
            f"{str(path)!r} cannot be read{where}: {type(error).__name__}.",
            remedy="Correct the file; the one in the repository shows the form.",
        ) from None
    finally:
        sys.dont_write_bytecode = writes
    _refuse_misspelt_sections(module, path)
    return module


def _line(error: Exception, path: Path) -> int | None:
    """Find the line of the file that failed; its text is never shown, it may be a secret."""
    if isinstance(error, SyntaxError):
        return error.lineno
    steps = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in steps if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else None


def _refuse_misspelt_sections(module: ModuleType, path: Path) -> None:
    """Refuse ``MINO_CONFIG = ...``, which would silently count for nothing."""
    known = [*(title for title, _ in Settings.NAMES.values()), "DATASETS"]
    for name, value in vars(module).items():
        if name not in known and isinstance(value, (Section, Mapping)):
            near = difflib.get_close_matches(name, known, 1, 0.9)
            if near:
                raise ConfigurationError(
                    f"{str(path)!r}: there is no section {name!r}.",
                    remedy=f"Did you mean {near[0]!r}?",
                )


def _section_of(
    module: ModuleType | None, title: str, kind: type[Section], path: Path | None
) -> dict[str, Any]:
    """Return what the file says for one section: an object of ours or a plain dict."""
    section = getattr(module, title, None)
    if section is None:
        return {}
    try:
        values = _values(section)
        kind(**values)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{title} in {str(path)!r}: {error.message}", remedy=error.remedy
        ) from None
    return {name: value for name, value in values.items() if value is not None}


def _datasets(given: Any, path: Path | None) -> dict[str, Dataset]:
    where = f" in {str(path)!r}" if path else ""
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"DATASETS{where} is {type(given).__name__}, not a mapping of names to datasets."
        )
    result = {}
    for name, value in given.items():
        try:
            result[name] = value if isinstance(value, Dataset) else Dataset(**_values(value))
        except ConfigurationError as error:
            raise ConfigurationError(
                f"Dataset {name!r}{where}: {error.message}", remedy=error.remedy
            ) from None
    return result


def _layer(
    kind: type[S], explicit: dict[str, Any], from_file: dict[str, Any], env_file: Path | None
) -> S:
    """Merge the sources of one section in the order of :data:`SOURCES`."""
    # Imported here: it costs a tenth of a second that `import` should not pay.
    from pydantic_settings import (
        BaseSettings,
        InitSettingsSource,
        SettingsConfigDict,
        SettingsError,
    )

    class Layered(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix="MINIO_",
            env_file=env_file,
            env_ignore_empty=True,
            extra="ignore",
            hide_input_in_errors=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file_source = InitSettingsSource(settings_cls, init_kwargs=from_file)
            return init_settings, env_settings, dotenv_settings, file_source

    # A class of its own per call, because the file's values are its lowest source.
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in kind.model_fields.items()
    }
    from pydantic import create_model

    layered = create_model(kind.__name__, __base__=Layered, **fields)
    try:
        merged = layered(**explicit)
    except ValidationError as error:
        raise configuration_error(kind, error) from None
    except SettingsError as error:  # it names the setting, not the value
        raise ConfigurationError(
            f"{kind.__name__} settings are wrong: {error}.",
            remedy='A list in the environment or in .env is JSON: ["AAPL", "MSFT"].',
        ) from None
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"{str(env_file)!r} cannot be read: {type(error).__name__}.",
            remedy="Save it as plain UTF-8 text that your user may read.",
        ) from None
    return kind(**{name: getattr(merged, name) for name in merged.model_fields_set})
