"""Every picture of options: volatility, payoffs, scenarios; figures are returned, nothing is shown.

Needs matplotlib, of the extra ``plot``.
"""

from stockdb.options._plot_positions import payoff_curve, plot_payoff, plot_scenarios
from stockdb.options._plot_volatility import (
    new_figure,
    plot_smile,
    plot_surface,
    plot_term_structure,
)

__all__ = [
    "new_figure",
    "payoff_curve",
    "plot_payoff",
    "plot_scenarios",
    "plot_smile",
    "plot_surface",
    "plot_term_structure",
]
