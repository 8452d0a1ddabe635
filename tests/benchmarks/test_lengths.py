"""A few lengths stand for all rows: which ones, what they weigh, and how a workload carries them."""

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks import Lengths, Workload
from benchmarks.lengths import LengthShare, padded_lengths

ROWS = [2] * 6 + [4] * 3 + [6] * 2 + [12]  # 12 tokens in each of four lengths


def lengths_of(lengths):
    return [point.seq_len for point in lengths.points]


def shares_of(lengths):
    return [point.share for point in lengths.points]


def test_groups_hold_equally_many_tokens_and_stand_at_their_mean():
    quarters, halves = Lengths.of(ROWS, most=4), Lengths.of(ROWS, most=2)
    assert lengths_of(quarters) == [2, 4, 6, 12]
    assert shares_of(quarters) == pytest.approx([6 / 12, 3 / 12, 2 / 12, 1 / 12])
    assert lengths_of(halves) == [3, 8], "24 tokens in 9 rows and in 3: 2.67 and 8"
    assert shares_of(halves) == pytest.approx([9 / 12, 3 / 12])
    assert (halves.shortest, halves.longest) == (2, 12)


def test_one_group_stands_at_the_mean_of_all():
    assert Lengths.of(ROWS, most=1).points == ((4, 1.0),)


def test_what_is_linear_in_the_length_is_exact_but_for_rounding():
    rows = np.random.default_rng(0).gamma(3, 8, 2000).astype(int) + 3
    lengths = Lengths.of(rows)
    assert len(lengths.points) == 3
    assert sum(point.share for point in lengths.points) == pytest.approx(1)
    assert lengths.mean == pytest.approx(rows.mean(), abs=0.5)


def test_a_group_without_rows_is_no_point():
    few = Lengths.of([1] * 10 + [100])
    assert lengths_of(few) == [1, 100]
    assert shares_of(few) == pytest.approx([10 / 11, 1 / 11])


def test_rows_of_one_length_are_in_one_group():
    assert Lengths.of([8, 8, 8, 9]).points == ((8, 0.75), (9, 0.25))
    assert Lengths.of([7, 7, 7]).points == ((7, 1.0),)


def test_an_empty_row_counts_as_one_token():
    assert Lengths.of([0, 0]).points == ((1, 1.0),)


def test_a_batch_is_as_long_as_its_longest_row():
    lengths, shares = padded_lengths(np.array([5, 5, 5, 9]), batch=2)
    assert lengths.tolist() == [5, 9]
    assert shares.tolist() == [9 / 16, 7 / 16]
    assert Lengths.of([5, 5, 5, 9], batch=2).points == ((5, 9 / 16), (9, 7 / 16))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (((4, 0.5), (8, 0.4)), "adding up to 1"),
        (((8, 0.5), (4, 0.5)), "expected ascending ones from 2 to 9"),
        (((4, 0.5), (20, 0.5)), "expected ascending ones from 2 to 9"),
    ],
)
def test_what_is_no_distribution_is_refused(points, words):
    with pytest.raises(ValidationError, match=words):
        Lengths(points=points, shortest=2, longest=9)


MIX = Workload.over(Lengths(points=((4, 0.75), (20, 0.25)), shortest=2, longest=31), batch=2, threads=3)


def test_a_workload_over_lengths_is_plain_workloads_with_shares():
    assert MIX.seq_len == 8
    plain = [Workload(batch=2, seq_len=length, threads=3) for length in (4, 20)]
    assert MIX.points() == ((plain[0], 0.75), (plain[1], 0.25))
    assert str(MIX) == "batch 2, the data's own lengths (2 to 31 tokens, mean 8), 3 threads"
    assert MIX.lengths.in_words == "4 tokens (75 %) and 20 tokens (25 %)"


def test_a_workload_of_one_length_is_plain():
    plain = Workload.over(Lengths(points=((9, 1.0),), shortest=8, longest=10))
    assert plain == Workload(seq_len=9)
    assert plain.points() == ((plain, 1.0),)


def test_a_plain_workload_is_written_as_ever():
    assert Workload(seq_len=64).model_dump_json() == '{"batch":1,"seq_len":64,"threads":1}'
    assert Workload(seq_len=64).model_dump() == {"batch": 1, "seq_len": 64, "threads": 1}
    assert str(Workload(seq_len=64)) == "batch 1, 64 tokens, 1 thread"


def test_lengths_survive_json():
    again = Workload.model_validate_json(MIX.model_dump_json())
    assert again == MIX
    assert hash(again) == hash(MIX)
    assert again.lengths.points[0] == LengthShare(4, 0.75)


def test_the_sequence_length_of_a_mix_is_its_mean():
    with pytest.raises(ValidationError, match="got seq_len 9, expected the mean of the lengths, 8"):
        Workload(seq_len=9, lengths=MIX.lengths)
