"""A few lengths stand for all rows: which ones, what they weigh, and how a workload carries them."""

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks import Lengths, Workload
from benchmarks.lengths import LengthShare, padded_lengths


def lengths_of(lengths):
    return [point.seq_len for point in lengths.points]


def shares_of(lengths):
    return [point.share for point in lengths.points]


def test_each_tile_of_16_tokens_is_a_point_at_its_mean():
    lengths = Lengths.of([8] * 3 + [12] * 3 + [16] * 3 + [20] * 2 + [33])
    assert lengths_of(lengths) == [12, 20, 33]
    assert shares_of(lengths) == pytest.approx([9 / 12, 2 / 12, 1 / 12])
    assert (lengths.shortest, lengths.longest) == (8, 33)


def test_lengths_within_one_tile_are_one_point():
    assert Lengths.of([17, 32, 29, 22]).points == ((25, 1.0),)
    assert lengths_of(Lengths.of([16, 17])) == [16, 17]


def test_of_too_many_groups_that_with_fewest_tokens_joins_its_lesser_neighbour():
    rows = [10] * 5 + [20] * 3 + [40] + [70]  # 50, 60, 40 and 70 tokens
    lengths = Lengths.of(rows, most=3)
    assert lengths_of(lengths) == [10, 25, 70]
    assert shares_of(lengths) == pytest.approx([0.5, 0.4, 0.1])
    assert lengths_of(Lengths.of(rows, most=4)) == [10, 20, 40, 70]
    assert lengths_of(Lengths.of(rows, most=2)) == [17, 70], "then 50 is least"


def test_a_group_with_hardly_a_token_is_no_point():
    assert lengths_of(Lengths.of([10] * 100 + [40])) == [10, 40]
    assert lengths_of(Lengths.of([10] * 300 + [40])) == [10]


def test_means_are_rounded_so_that_the_mean_of_all_is_met():
    assert lengths_of(Lengths.of([10, 11, 20, 21])) == [10, 21]
    assert Lengths.of([10, 11, 20, 21]).mean == 15.5


@pytest.mark.parametrize("seed", range(5))
def test_what_grows_with_the_length_or_its_tiles_is_hardly_off(seed):
    rows = np.random.default_rng(seed).gamma(3, 8, 2000).astype(int) + 3
    lengths = Lengths.of(rows)
    assert len(lengths.points) == 4
    assert sum(shares_of(lengths)) == pytest.approx(1)
    assert lengths.mean == pytest.approx(rows.mean(), rel=0.01)
    tiles = sum(share * -(-length // 16) for length, share in lengths.points)
    assert tiles == pytest.approx(np.mean(-(-rows // 16)), rel=0.03)


def test_an_empty_row_counts_as_one_token():
    assert Lengths.of([0, 0]).points == ((1, 1.0),)


def test_a_batch_is_as_long_as_its_longest_row():
    lengths, shares = padded_lengths(np.array([5, 5, 5, 9]), batch=2)
    assert lengths.tolist() == [5, 9]
    assert shares.tolist() == [9 / 16, 7 / 16]
    assert Lengths.of([5, 5, 5, 29], batch=2).points == ((5, 9 / 16), (29, 7 / 16))


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
