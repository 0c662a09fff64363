from __future__ import annotations

import pytest

from mirage_ros.nodes.statistics import RateMeter, StageTimer


def test_percentiles_of_the_recent_runs() -> None:
    timer = StageTimer(window=100)
    for value in [9.0] * 50 + [k / 100 for k in range(100)]:
        timer.add("read", value)
    timer.add("write", 2.0)
    read, write = timer.summaries()
    assert (read.stage, read.count, write.stage, write.count) == ("read", 150, "write", 1)
    assert read.p50 == pytest.approx(0.495)
    assert read.p99 == pytest.approx(0.9801)


def test_measure_records_even_when_the_body_fails() -> None:
    timer = StageTimer()
    with pytest.raises(KeyError), timer.measure("fail"):
        raise KeyError
    assert timer.summaries()[0].count == 1


def test_rate_over_a_sliding_span() -> None:
    now = [0.0]
    meter = RateMeter(span_s=2.0, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 0.1
        meter.tick()
    assert meter.rate == pytest.approx(10.0)
    now[0] = 2.5
    assert meter.rate == pytest.approx(6 / 2.0)
    now[0] = 60.0
    assert meter.rate == 0.0
    assert meter.total == 10
