"""Times of questions."""

from __future__ import annotations

from eval.latency import latency_ms


def test_half_of_the_times_are_within_the_first_number_and_95_of_100_within_the_second():
    assert latency_ms(float(ms) for ms in range(101)) == {"p50": 50.0, "p95": 95.0}
    assert latency_ms([1.0, 2.0]) == {"p50": 1.5, "p95": 1.95}
