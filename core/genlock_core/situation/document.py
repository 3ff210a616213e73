"""The table as JSON, for those who cannot import it: the pages decide and speak by the same rows."""

from typing import Any

from genlock_core.situation.table import PUBLISHERS, TABLE
from genlock_core.situation.words import ENGINES, OFFERS, PROGRESS


def as_document() -> dict[str, Any]:
    """`states` in order, each with its words; those with `atPage` are the page's own to find out."""
    return {
        "states": [
            {
                "state": row.state.value,
                "atPage": row.holds is None,
                "headline": row.headline,
                "detail": row.detail,
                "toViewers": row.to_viewers or row.detail,
                "tone": row.tone.value,
                "offers": [offer.value for offer in row.offers],
            }
            for row in TABLE
        ],
        "offers": {offer.value: words for offer, words in OFFERS.items()},
        "publishers": sorted(offer.value for offer in PUBLISHERS),
        "progress": PROGRESS,
        "engines": ENGINES,
    }
