from hypothesis import given
from hypothesis import strategies as st

from genlock_worker.engines.diffusion.execution.buckets import ROWS, Bucket, largest_first, smallest


@given(st.integers(1, 40), st.sets(st.sampled_from(ROWS)))
def test_a_batch_takes_the_smallest_bucket_that_holds_it(rows: int, there: set[int]) -> None:
    taken = smallest(rows, there)
    if taken is None:
        assert all(held < rows for held in there)
    else:
        assert taken in there
        assert taken >= rows
        assert not [held for held in there if rows <= held < taken]


def test_no_batch_has_more_than_a_quarter_of_its_rows_for_nothing() -> None:
    taken = [(rows, smallest(rows, ROWS)) for rows in range(1, 17)]
    assert [held for _, held in taken] == [1, 2, 4, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16, 16, 16, 16]
    assert all(held is not None and (held - rows) * 4 <= held for rows, held in taken)


def test_the_largest_of_all_sizes_is_captured_first() -> None:
    buckets = largest_first([(60, 104), (64, 64), (104, 60), (60, 104)])
    assert buckets[:2] == (Bucket(16, 60, 104), Bucket(16, 104, 60))
    assert len(buckets) == 3 * len(ROWS), "a size that is there twice counts once"
    areas = [bucket.area for bucket in buckets]
    assert areas == sorted(areas, reverse=True)
    assert buckets[-1] == Bucket(1, 64, 64)


@given(st.lists(st.tuples(st.sampled_from([8, 16, 60]), st.sampled_from([8, 104])), max_size=5))
def test_every_size_has_every_bucket_once(sizes: list[tuple[int, int]]) -> None:
    buckets = largest_first(sizes)
    assert sorted(buckets) == sorted({Bucket(rows, *size) for size in sizes for rows in ROWS})
