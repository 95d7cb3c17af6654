"""The table of targets, from figures made up by hand."""

import pytest
from benchmarks.cases import Case
from benchmarks.measure import Figure
from benchmarks.shapes import RAGGED, SHORT, parse
from benchmarks.summary import Results, rows

from gateflow.benchmarking.timing import Timing


def figure(cell, shape, mode="training", precision="fp32", share=None, **seconds):
    times = {name: Timing(value, value, value, 3) for name, value in seconds.items()}
    return Figure(Case(cell, shape, mode, precision), "native", "", times, {}, share, 0.0)


def row(results, start):
    (found,) = (row for row in rows(results) if row.what.startswith(start))
    return found


SMALL, LARGE = parse("2/3/4/5"), parse("64/100/512/512")


def test_geometric_mean_over_the_shapes_with_the_least_favourable():
    results = Results(
        [
            figure("gru", SMALL, ours=1.0, torch_nn=4.0),
            figure("gru", LARGE, ours=1.0, torch_nn=1.0),
            figure("gru", RAGGED, ours=1.0, torch_nn=100.0),  # ragged lengths have a row of their own
            figure("gru", SHORT, ours=1.0, torch_nn=100.0),
            figure("full_gru", SMALL, ours=1.0, torch_nn=100.0),
            figure("gru", SMALL, "inference", ours=1.0, torch_nn=100.0),
        ]
    )
    found = row(results, "GRU")
    assert found.reached == pytest.approx(2.0)
    assert (found.worst, found.where) == (1.0, f"training gru {LARGE.name} fp32")
    assert found.met


def test_nowhere_slower_looks_at_inference_too():
    results = Results(
        [figure("lstm", SMALL, ours=1, torch_nn=2), figure("lstm", SMALL, "inference", ours=1, torch_nn=0.9)]
    )
    found = row(results, "nowhere slower")
    assert (found.reached, found.met) == (0.9, False)
    assert row(results, "LSTM, peephole LSTM against torch.nn.LSTM").reached == 2


def test_share_and_bf16_count_where_products_are_large():
    results = Results(
        [
            figure("lstm", SMALL, share=0.1, ours=1.0),
            figure("lstm", LARGE, share=0.8, ours=1.0),
            figure("lstm", LARGE, precision="bf16", share=0.1, ours=1.0, ours_fp32=3.0, torch_nn=0.5),
            figure("lstm", SMALL, precision="bf16", share=0.1, ours=1.0, ours_fp32=1.0, torch_nn=9.0),
        ]
    )
    assert row(results, "share").reached == pytest.approx(0.8)
    assert row(results, "bf16 against our").reached == pytest.approx(3.0)
    assert row(results, "bf16 against torch").met is False


def test_where_less_is_better():
    results = Results(memory={"torch_nn": 100, "fast": 90, "lean": "Recurrent has no option 'memory'"})
    assert (row(results, "peak memory, fast").reached, row(results, "peak memory, fast").met) == (0.9, True)
    assert row(results, "peak memory, lean").met is None


def test_nothing_measured_is_not_met_and_not_missed():
    assert {row.met for row in rows(Results())} == {None}


def test_the_bound_is_what_the_peak_would_give():
    figures = [
        figure("gru", SMALL, share=0.5, ours=1.0, torch_nn=2.0),
        figure("gru", LARGE, share=0.8, ours=1.0, torch_nn=1.2),
    ]
    assert row(Results(figures), "GRU").bound == pytest.approx((4.0 * 1.5) ** 0.5)
    assert row(Results([figure("gru", SMALL, ours=1.0, torch_nn=2.0)]), "GRU").bound is None
