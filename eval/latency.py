"""Times of questions as the two numbers that are told of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def latency_ms(times_ms: Iterable[float]) -> dict[str, float]:
    """The median, and what 95 of 100 stay within: `p50` and `p95`, in hundredths; of one at least.

    Between two times it is where it would be if they were a line, as numpy's percentile reckons.
    """
    times = list(times_ms)
    return {f"p{share}": round(float(np.percentile(times, share)), 2) for share in (50, 95)}
