"""``python -m stockdb``: demo, doctor, ls, cache, compact, verify."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from minio_data_integration import MinIODataIntegration
from stockdb.errors import StockDBError
from stockdb.settings import load_settings
from stockdb.types import parse_symbol

__all__ = ["app", "main"]

app = typer.Typer(
    help="Market data out of a MinIO bucket.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="The local cache.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line; errors of ours end it with their remedy and exit status 1."""
    try:
        app()
    except StockDBError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        print(f"  -> {error.remedy}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(141)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Of the simulated bucket.")] = 20240131,
) -> None:
    """Run the README's examples on an embedded server with simulated data."""
    from stockdb.app.tour import tour

    tour(seed)


@app.command()
def doctor(json_output: Json = False) -> None:
    """Check the connection with your settings, and say which file they came from."""
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
        folders = {
            "log_file": str(minio.log_file) if minio.log_file else None,
            "cache_dir": minio.get_cache_stats()["directory"] or None,
        }
    if json_output:
        print(json.dumps({**report.to_dict(), **files, **folders}, indent=2))
    else:
        print(f"  log            {folders['log_file'] or 'nowhere: the folder cannot be written'}")
        print(f"  cache          {folders['cache_dir'] or 'off'}")
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


@app.command()
def compact(
    since: Annotated[str | None, typer.Option(help="First date, YYYY-MM-DD.")] = None,
    until: Annotated[str | None, typer.Option(help="Last date, included.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    json_output: Json = False,
) -> None:
    """Write columnar twins of the options files, for all machines; never over an original."""
    with MinIODataIntegration() as minio:
        days = minio.compact_options(
            since, until, dry_run=dry_run, on_day=None if json_output else _print_day
        )
    if json_output:
        print(days.to_json(orient="records", date_format="iso", indent=2))
    else:
        counts = days["state"].value_counts().to_dict()
        listed = ", ".join(f"{count} {state}" for state, count in counts.items())
        made = days[days["state"] == "written"]
        print(f"{len(days)} days: {listed or 'no options files in the range'}")
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
    """Check every byte of every cache entry."""
    with MinIODataIntegration() as minio:
        problems = [
            {"path": str(problem.path), "reason": problem.reason} for problem in minio.check_cache()
        ]
    if json_output:
        print(json.dumps(problems, indent=2))
    else:
        for problem in problems:
            print(f"{problem['reason']}: {problem['path']}")
        print(f"{len(problems)} problems found")
    if problems:
        raise typer.Exit(1)


@cache_app.command("stats")
def cache_stats(json_output: Json = False) -> None:
    """Show what the cache holds and what it saved."""
    with MinIODataIntegration() as minio:
        _print(minio.get_cache_stats(), json_output)


@cache_app.command("clear")
def cache_clear(
    older_than_days: Annotated[
        float | None, typer.Option(help="Only what was not confirmed for longer.", min=0)
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol's.")] = None,
    json_output: Json = False,
) -> None:
    """Remove cache entries."""
    with MinIODataIntegration() as minio:
        result = minio.clear_cache(
            older_than_days=older_than_days,
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
        shown = f"{value:,}" if isinstance(value, int) else value
        shown = f"{value:.1%}" if name == "hit_ratio" else shown
        print(f"{name:<18} {shown}")
