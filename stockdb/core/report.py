"""What validation found, how people read it, and what a policy makes of it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import ConfigurationError, DataError, ValidationError

__all__ = ["Finding", "Policy", "Severity", "ValidationReport", "apply_policy"]

Severity = Literal["error", "warning", "info"]
Policy = Literal["flag", "drop", "raise"]
POLICIES: Final[tuple[Policy, ...]] = ("flag", "drop", "raise")

# Gravest first: the order in which people read, and what `bad_rows` calls "or graver".
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
ROWS_KEPT: Final = 20

_HEAD: Final = ("severity", "rule", "count", "first row", "last row", "what (first case)")
_RIGHT: Final = 2  # the one column that holds numbers
_COLOURS: Final = {"error": "#c62828", "warning": "#b26a00", "info": "inherit"}


def _no_rows() -> npt.NDArray[np.intp]:
    return np.empty(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Finding:
    """What one rule found.

    Attributes
    ----------
    rule : str
    severity : {'error', 'warning', 'info'}
    reason : str
        One plain sentence.
    count : int
        Rows found; for a rule about columns, the columns found.
    positions : ndarray of intp, shape (rows found,)
        Row numbers in the frame, ascending; empty for a rule about columns, or about rows
        that are not there.
    columns : tuple of str
        The columns that the rule looked at, or found.
    labels : Index, length (rows found)
        Dates, or (symbol, date) in a frame of several symbols, in the order of `positions`;
        for rows that are not there, their dates.
    data : dict of str to ndarray of float64, each of shape (rows found,)
        The cells of `columns` in those rows.
    frame_level : bool
        The frame as a whole is wrong (a column is missing, the order is): dropping rows
        does not heal it.
    """

    rule: str
    severity: Severity
    reason: str
    count: int
    positions: npt.NDArray[np.intp] = field(default_factory=_no_rows)
    columns: tuple[str, ...] = ()
    labels: pd.Index[Any] = field(default_factory=lambda: pd.Index([]))
    data: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    frame_level: bool = False

    @classmethod
    def about_columns(
        cls, rule: str, severity: Severity, reason: str, names: Iterable[str]
    ) -> Finding:
        """Build a finding about columns, not rows."""
        columns = tuple(names)
        return cls(rule, severity, reason, len(columns), columns=columns, frame_level=True)

    @property
    def rows(self) -> tuple[Any, ...]:
        """Labels of the first 20 rows found; `count` is the number of all."""
        return tuple(self.labels[:ROWS_KEPT])

    @property
    def values(self) -> dict[str, list[float]]:
        """Cells of the first 20 rows found, by column."""
        return {name: cells[:ROWS_KEPT].tolist() for name, cells in self.data.items()}

    def __repr__(self) -> str:
        return f"Finding({self.severity} {self.rule}, count={self.count}: {self.reason})"


@dataclass(frozen=True, eq=False)
class ValidationReport:
    """Everything that validation found in one frame, gravest first.

    It prints as a table, in a notebook too; ``if report:`` is refused as ambiguous,
    ask ``report.ok``.

    Attributes
    ----------
    findings : tuple of Finding
    rows_checked : int
    symbol : str or None
    """

    findings: tuple[Finding, ...]
    rows_checked: int
    symbol: str | None = None

    @classmethod
    def of(cls, findings: Iterable[Finding], rows: int, symbol: str | None) -> ValidationReport:
        """Build a report from findings in any order; equally grave ones keep theirs."""
        ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
        return cls(tuple(ordered), rows, symbol)

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == severity)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make rows, or the frame, unfit for use."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that deserve a look before the rows are used."""
        return self._of("warning")

    @property
    def infos(self) -> tuple[Finding, ...]:
        """Findings that are worth knowing and harm nothing."""
        return self._of("info")

    @property
    def ok(self) -> bool:
        """True where there is no error; warnings do not count."""
        return not self.errors

    def __bool__(self) -> bool:
        raise TypeError("The truth of a validation report is ambiguous; ask report.ok.")

    def bad_rows(self, severity: Severity = "error") -> npt.NDArray[np.bool_]:
        """Mark the rows with a finding of this severity or a graver one.

        Parameters
        ----------
        severity : {'error', 'warning', 'info'}

        Returns
        -------
        ndarray of bool, shape (rows_checked,)
            Findings about the frame as a whole mark no row.
        """
        mask = np.zeros(self.rows_checked, dtype=np.bool_)
        for grave in SEVERITIES[: SEVERITIES.index(severity) + 1]:
            for finding in self._of(grave):
                if not finding.frame_level:
                    mask[finding.positions] = True
        return mask

    def summary(self) -> dict[str, Any]:
        """Return the few numbers that go with a frame; JSON types only.

        Returns
        -------
        dict
            ``errors``, ``warnings``, ``infos``: how many findings of each severity;
            ``rules``: rule -> count of rows (or columns) found.
        """
        rules: dict[str, int] = {}
        for finding in self.findings:
            rules[finding.rule] = rules.get(finding.rule, 0) + int(finding.count)
        return {
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "infos": len(self.infos),
            "rules": rules,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per row found, and one per finding about the frame as a whole.

        Returns
        -------
        DataFrame
            Columns ``rule, severity, symbol, date, columns, value, reason``; ``value``
            is text, one number per name in ``columns``. ``date`` is NaT where a finding
            is not about rows.
        """
        lines = [line for finding in self.findings for line in self._lines(finding)]
        names = ["rule", "severity", "symbol", "date", "columns", "value", "reason"]
        frame = pd.DataFrame(lines, columns=names)
        return frame if lines else frame.astype({"date": "datetime64[ns]"})

    def _lines(self, finding: Finding) -> Iterator[tuple[Any, ...]]:
        names, reason = ", ".join(finding.columns), finding.reason
        if not len(finding.labels):
            yield finding.rule, finding.severity, self.symbol, pd.NaT, names, "", reason
        for number, label in enumerate(finding.labels):
            symbol, date = _split(label)
            value = ", ".join(f"{cells[number]:.12g}" for cells in finding.data.values())
            yield finding.rule, finding.severity, symbol or self.symbol, date, names, value, reason

    def __str__(self) -> str:
        if not self.findings:
            return self._title()
        table = [_HEAD, *map(_cells, self.findings)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [self._title()]
        for cells in table:
            padded = [
                cell.rjust(width) if number == _RIGHT else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append("  " + "  ".join(padded).rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<ValidationReport {self._title()}>"

    def _repr_html_(self) -> str:
        title = f"<p><b>{html.escape(self._title())}</b></p>"
        if not self.findings:
            return title
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in _HEAD)
        body = "".join(map(_html_row, self.findings))
        return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _title(self) -> str:
        name = self.symbol or "Bars"
        tally = ", ".join(
            f"{len(found)} {severity}{'s' if len(found) > 1 else ''}"
            for severity in SEVERITIES
            if (found := self._of(severity))
        )
        rows = f"{self.rows_checked:,} row{'' if self.rows_checked == 1 else 's'}"
        return f"{name}: {rows} checked, {tally or 'nothing found'}"


def _cells(finding: Finding) -> tuple[str, ...]:
    """One finding as the cells of the table that people read."""
    labels = finding.labels
    first, last = (_label(labels[0]), _label(labels[-1])) if len(labels) else ("", "")
    case = " ".join(f"{name}={_number(cells[0])}" for name, cells in finding.data.items())
    what = f"{finding.reason.rstrip('.')} ({case})." if case else finding.reason
    return finding.severity, finding.rule, f"{finding.count:,}", first, last, what


def _number(value: float) -> str:
    """Prices without the noise of their last digits, volumes with all of theirs."""
    return f"{value:,.8g}" if abs(value) < 1e6 else f"{value:,.12g}"


def _html_row(finding: Finding) -> str:
    colour = _COLOURS[finding.severity]
    styles = [f"text-align:left;color:{colour}"] + ["text-align:left"] * (len(_HEAD) - 1)
    styles[_RIGHT] = "text-align:right"
    cells = zip(styles, _cells(finding), strict=True)
    tags = "".join(f'<td style="{style}">{html.escape(cell)}</td>' for style, cell in cells)
    return f"<tr>{tags}</tr>"


def _split(label: Any) -> tuple[str, Any]:
    """Part a label into its symbol ('' in a frame of one symbol) and its date."""
    if isinstance(label, tuple):
        return " ".join(map(str, label[:-1])), label[-1]
    return "", label


def _label(label: Any) -> str:
    symbol, date = _split(label)
    if date is pd.NaT:
        text = "no date"
    elif date == date.normalize():
        text = f"{date:%Y-%m-%d}"
    else:
        text = date.isoformat(sep=" ", timespec="auto")
    return f"{symbol} {text}".lstrip()


def apply_policy(frame: pd.DataFrame, report: ValidationReport, policy: Policy) -> pd.DataFrame:
    """Do with a frame what the policy says about its report.

    Parameters
    ----------
    frame : DataFrame
        The frame that the report is about; it is not changed.
    report : ValidationReport
    policy : {'flag', 'drop', 'raise'}
        ``flag`` gives the frame as it is; ``drop`` the frame without the rows that have an
        error; ``raise`` refuses a frame with errors. Warnings never lead to anything.

    Returns
    -------
    DataFrame
        The same object where there is nothing to drop.

    Raises
    ------
    ValidationError
        Errors and policy ``raise``; under ``drop`` too, where the frame as a whole is wrong
        (a column is missing, the dates are not ascending). It carries the report.
    ConfigurationError
        No such policy.
    DataError
        The report is about another frame.
    """
    if policy not in POLICIES:
        raise ConfigurationError(
            f"{policy!r} is not a validation policy.", remedy=f"Choose one of {POLICIES}."
        )
    if len(frame) != report.rows_checked:
        raise DataError(
            f"The report is about {report.rows_checked:,} rows, the frame has {len(frame):,}.",
            remedy="Validate this frame and apply the policy to that report.",
        )
    if report.ok or policy == "flag":
        return frame
    if policy == "raise":
        raise _refusal(report, report.errors, None)
    whole = tuple(finding for finding in report.errors if finding.frame_level)
    if whole:
        remedy = "Dropping rows does not heal this: correct the columns, or sort by date."
        raise _refusal(report, whole, remedy)
    return frame.loc[~report.bad_rows()]


def _refusal(
    report: ValidationReport, findings: tuple[Finding, ...], remedy: str | None
) -> ValidationError:
    listed = "; ".join(f"{found.rule} ({found.count:,}): {found.reason}" for found in findings)
    name = report.symbol or "The frame"
    return ValidationError(
        f"{name} failed validation. {listed}", remedy=remedy, report=report, symbol=report.symbol
    )
