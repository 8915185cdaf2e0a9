"""What tokens cost, as flags: no price is known here, and none is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli.flags import as_usage

if TYPE_CHECKING:
    from eval.answers.spending import Prices

_PANEL = "Cost"

PricePrompt = Annotated[
    float | None,
    typer.Option(min=0, help="Of a million prompt tokens.", rich_help_panel=_PANEL),
]
PriceCompletion = Annotated[
    float | None,
    typer.Option(min=0, help="Of a million completion tokens.", rich_help_panel=_PANEL),
]
PriceCached = Annotated[
    float | None,
    typer.Option(min=0, help="Of a million prompt tokens that are cached.", rich_help_panel=_PANEL),
]


def prices_asked(
    prompt: float | None, completion: float | None, cached: float | None
) -> Prices | None:
    """None where no flag is given. Raises typer.BadParameter for half a price."""
    from eval.answers.spending import prices_given

    with as_usage("--price-prompt"):
        return prices_given(prompt, completion, cached)
