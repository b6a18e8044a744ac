"""``python -m stockdb``: demo, doctor, ls, ingest, watch, compact, verify, cache."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

import stockdb
from minio_data_integration import MinIODataIntegration
from stockdb.errors import StockDBError
from stockdb.settings import load_settings
from stockdb.types import parse_age, parse_symbol

if TYPE_CHECKING:
    from stockdb.core.cache import DiskCache, NoCache
    from stockdb.scale.ingest import Ingested
    from stockdb.scale.updates import Update

__all__ = ["app", "main"]

#: What a shell expects of a program that Ctrl-C (signal 2) has ended.
_INTERRUPTED: Final = 130
#: And of one that a closed pipe (signal 13) has ended.
_UNREAD: Final = 141
#: A disk that is full, a quota, a file too large, a device that fails.
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
app = typer.Typer(
    help="Market data out of a MinIO bucket: look at it, check it, put your own files into it.",
    epilog=(
        "Begin with `demo`, which needs no server; then set MINIO_ENDPOINT, MINIO_ACCESS_KEY and "
        "MINIO_SECRET_KEY (in the environment, `.env` or `minio_config.py`) and ask `doctor`.\n\n"
        "Exit status: 0 all well, 1 an error or a finding, 2 a wrong argument, 130 interrupted, "
        "141 where nobody read on (`| head`). "
        "Results go to stdout, all else to stderr; with --json an error is on stdout, too."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(
    help="The copies that this machine keeps, so that nothing is fetched twice.",
    no_args_is_help=True,
)
app.add_typer(cache_app, name="cache")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line; errors of ours end it with their remedy and exit status 1."""
    warnings.showwarning = _warn
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without the letter shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        except StockDBError as error:
            _tell(error, as_json="--json" in sys.argv)
            sys.exit(1)
        finally:
            sys.stdout.flush()  # now: at the interpreter's end nobody can say what went wrong
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer and Rich make 1 of it
            _end_unread()
        if end.code == _INTERRUPTED:
            print("Interrupted: what was begun is undone, what was done stays.", file=sys.stderr)
        raise
    except BrokenPipeError:
        _end_unread()
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _drop_output()
        print(f"The output cannot be written: {error.strerror}.", file=sys.stderr)
        sys.exit(1)


def _tell(error: StockDBError, *, as_json: bool) -> None:
    kind = type(error).__name__
    print(f"{kind}: {error.message}\n  -> {error.remedy}", file=sys.stderr)
    if as_json:  # on one line, as an update of `watch` is
        print(json.dumps({"error": kind, "message": error.message, "remedy": error.remedy}))


def _end_unread() -> NoReturn:
    """End as a shell expects it of a program whose reader (`| head`) has seen enough."""
    _drop_output()
    sys.exit(_UNREAD)


def _drop_output() -> None:
    """Let what is left in stdout's buffer go nowhere, or the interpreter's end would fail of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        print(stockdb.__version__)
        raise typer.Exit


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Of the simulated bucket.", min=0)] = 20240131,
    keep: Annotated[
        bool,
        typer.Option(
            "--serve", help="No tour: keep the server running for your own tries, until Ctrl-C."
        ),
    ] = False,
) -> None:
    """Run the README's examples on an embedded server with simulated data."""
    if keep:
        from stockdb.app.serve import serve

        serve(seed)
    else:
        from stockdb.app.tour import tour

        tour(seed)


@app.command()
def doctor(json_output: Json = False) -> None:
    """Check the connection with your settings: what is wrong, and what to do about it.

    Name, port, TLS, clock, credentials and bucket, one after the other; also
    which file the settings came from, and where logs and cache are.
    """
    settings = load_settings()
    files = {
        "config_file": str(settings.config_file) if settings.config_file else None,
        "env_file": str(settings.env_file) if settings.env_file else None,
    }
    if not json_output:  # first of all: what follows may fail for what that file lacks
        print(f"  settings from  {files['config_file'] or 'the defaults (no minio_config.py)'}")
        if files["env_file"]:
            print(f"             and {files['env_file']}")
    with MinIODataIntegration(settings) as minio:
        report = minio.check_connection()
        kept = minio.get_cache_stats()
        folders = {
            "log_file": str(minio.log_file) if minio.log_file else None,
            "cache_dir": kept["directory"] or None,
            "cache_problem": kept["problem"] or None,
        }
    if json_output:
        print(json.dumps({**report.to_dict(), **files, **folders}, indent=2))
    else:
        print(f"  log            {folders['log_file'] or 'nowhere: the folder cannot be written'}")
        print(f"  cache          {folders['cache_dir'] or 'off'}")
        if folders["cache_problem"]:
            print(f"                 cannot be used ({folders['cache_problem']}): nothing is kept;")
            print("                 set MINIO_CACHE_DIR to a folder that can be written")
        print(report)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def ls(
    dataset: Annotated[
        str | None, typer.Argument(help="A dataset's name; all datasets without one.")
    ] = None,
    json_output: Json = False,
) -> None:
    """List the datasets, or the objects of one."""
    with MinIODataIntegration() as minio:
        if dataset is None:
            table = minio.list_datasets().reset_index()
            rows = json.loads(table.to_json(orient="records"))
            text = table.to_string(index=False, na_rep="")
        else:
            files = minio.list_files(dataset)
            rows = [{"key": f.key, "size": f.size, "etag": f.etag} for f in files]
            text = "\n".join(f"{f.size:>14,}  {f.key}" for f in files) or "nothing there"
    print(json.dumps(rows, indent=2) if json_output else text)


@app.command(
    epilog="python -m stockdb ingest ~/bars --dry-run   says what would happen\n\n"
    "python -m stockdb ingest quotes.parquet --dataset stocks --symbol BRK.B"
)
def ingest(
    path: Annotated[str, typer.Argument(help="A CSV or Parquet file, or a folder of them.")],
    dataset: Annotated[
        str | None, typer.Option(help="Where it belongs, where the file's name does not say.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Of a file that is not named like it.")] = None,
    date: Annotated[
        str | None, typer.Option(help="Of a day's file that is not named like it: YYYY-MM-DD.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where the bucket holds other bytes.")
    ] = False,
    accept_findings: Annotated[
        bool, typer.Option("--accept-findings", help="Also what the validation rules refuse.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Put your own files into the bucket: validated, never over what is there unasked.

    AAPL.csv is bars of a symbol, 2024-01-03options.csv a day of chains,
    splits.csv, dividends.csv and treasury.csv are reference tables.
    Run it again to go on where it stopped.
    """
    quiet = json_output or not sys.stdout.isatty()
    with MinIODataIntegration() as minio:
        found = minio.ingest(
            path,
            dataset=dataset,
            symbol=symbol,
            date=date,
            replace=replace,
            accept_findings=accept_findings,
            dry_run=dry_run,
            progress=quiet and sys.stderr.isatty(),
            on_file=None if json_output else _print_file,
        )
    if found.attrs["stockdb"]["conditional_writes"] is False:
        print(
            "note: this server does not keep two writers apart; be the only one.", file=sys.stderr
        )
    if json_output:
        print(found.to_json(orient="records", indent=2))
    else:
        _summarise(len(found), "files", found["state"], "no .csv or .parquet files there")
    if found["state"].isin(["conflict", "invalid", "failed"]).any():
        raise typer.Exit(1)


def _print_file(file: Ingested) -> None:
    text = f"{file.state:<10}  {file.rows:>9,} rows  {file.key or file.path}"
    if file.reason:
        text += f"\n  {file.path}: {file.reason}\n  -> {file.remedy}"
    for finding in filter(None, file.findings.split("; ")):
        text += f"\n  {finding}"
    print(text, flush=True)


def _summarise(count: int, unit: str, states: Any, nothing: str) -> None:
    listed = ", ".join(f"{number} {state}" for state, number in states.value_counts().items())
    print(f"{count} {unit}: {listed or nothing}")


@app.command(epilog="python -m stockdb watch AAPL MSFT --json | jq .kind")
def watch(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Symbols; none watches the days of options.")
    ] = None,
    interval: Annotated[str, typer.Option(help="daily, weekly, 5m ...")] = "daily",
    poll_seconds: Annotated[
        float, typer.Option(help="How often the server is asked.", min=0.1)
    ] = 15.0,
    json_output: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each update.")
    ] = False,
) -> None:
    """Print new and changed rows as they arrive in the bucket, until Ctrl-C."""

    async def follow() -> None:
        chosen = interval if symbols else "options"
        with MinIODataIntegration() as minio:
            async with minio.watch(symbols, chosen, poll_seconds=poll_seconds) as updates:
                if sys.stderr.isatty():
                    what = ", ".join(symbols) if symbols else "the days of options"
                    print(f"Watching {what}; Ctrl-C ends.", file=sys.stderr)
                async for update in updates:
                    print(_as_line(update) if json_output else update, flush=True)

    asyncio.run(follow())


def _as_line(update: Update) -> str:
    def rows(frame: Any) -> Any:
        return json.loads(frame.reset_index().to_json(orient="records", date_format="iso"))

    values = {
        "kind": update.kind,
        "symbol": update.symbol,
        "at": update.at.isoformat(),
        "new": rows(update.new),
        "changed": rows(update.changed),
        "removed": [stamp.isoformat() for stamp in update.removed],
        "etag": update.etag,
        "date": None if update.date is None else update.date.isoformat(),
        "key": update.key,
        "reason": update.reason,
    }
    return json.dumps(values)


@app.command()
def compact(
    since: Annotated[str | None, typer.Option(help="First date, YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(help="Last date, included.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Write columnar twins of the options files, which make every machine's chain reads cheap.

    Into the place that CACHE_CONFIG names, never over an original; days that
    have one are left alone.
    """
    with MinIODataIntegration() as minio:
        days = minio.compact_options(
            since, until, dry_run=dry_run, on_day=None if json_output else _print_day
        )
    if json_output:
        print(days.to_json(orient="records", date_format="iso", indent=2))
    else:
        made = days[days["state"] == "written"]
        _summarise(len(days), "days", days["state"], "no options files in the range")
        if len(made):
            before, after = int(made["source_bytes"].sum()), int(made["twin_bytes"].sum())
            print(f"{before:,} bytes of files, {after:,} bytes of twins written")
    if (days["state"] == "failed").any():
        raise typer.Exit(1)


def _print_day(day: Any) -> None:
    text = f"{day.date or ''!s:<10}  {day.state:<8}  {day.source_bytes:>13,} bytes  {day.key}"
    if day.state == "written":
        text += f"  -> {day.twin_bytes:,} bytes, {day.rows:,} rows, {day.seconds:.1f} s"
    print(text + (f"  {day.reason}" if day.reason else ""), flush=True)


@app.command()
def verify(json_output: Json = False) -> None:
    """Check every byte of every cache entry; what is damaged is fetched anew when it is read."""
    with _busy("Checking the cache"):
        found = _cache().check()
    problems = [{"path": str(problem.path), "reason": problem.reason} for problem in found]
    if json_output:
        print(json.dumps(problems, indent=2))
    else:
        for problem in problems:
            print(f"{problem['reason']}: {problem['path']}")
        print(f"{len(problems)} problems found")
    if problems:
        raise typer.Exit(1)


def _cache() -> DiskCache | NoCache:
    """Open what this machine keeps: that needs no server, nor the name of one."""
    from stockdb.core.cache import open_cache

    return open_cache(load_settings().cache)


def _busy(what: str) -> AbstractContextManager[object]:
    """Show that something is being done, where somebody looks."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(f"{what} ...")


@cache_app.command("stats")
def cache_stats(json_output: Json = False) -> None:
    """Show what the cache holds and what it saved."""
    _print(_cache().statistics(), json_output)


@cache_app.command("clear")
def cache_clear(
    older_than_days: Annotated[
        float | None, typer.Option(help="Only what was not confirmed for longer.", min=0)
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol's.")] = None,
    json_output: Json = False,
) -> None:
    """Remove cache entries."""
    result = _cache().clear(
        older_than=parse_age(older_than_days, "older_than_days", seconds=86400.0),
        symbol=None if symbol is None else parse_symbol(symbol),
    )
    _print(
        {
            "removed_entries": result.entries,
            "removed_bytes": result.bytes,
            "remaining_entries": result.remaining_entries,
            "remaining_bytes": result.remaining_bytes,
        },
        json_output,
    )


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        if value == "":
            continue
        shown = f"{value:,}" if isinstance(value, int) else value
        shown = f"{value:.1%}" if name == "hit_ratio" else shown
        print(f"{name:<18} {shown}")
