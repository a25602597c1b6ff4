"""Sizes and lists in the film's sentences."""

import pytest

from devicelab.film.words import listed, many, size


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (4000, "4,000 bytes"),
        (99_999, "99,999 bytes"),
        (102_400, "100 KiB"),
        (4 * 2**20, "4 MiB"),
        (1023 * 2**20, "0.999 GiB"),
        (3 * 2**40, "3 TiB"),
    ],
)
def test_bytes_in_words(count, expected):
    assert size(count) == expected


def test_one_or_many():
    assert (many(1, "tensor"), many(1000, "tensor")) == ("1 tensor", "1,000 tensors")


def test_at_most_three_names():
    assert [listed(list(names)) for names in ("a", "ab", "abc", "abcd")] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b and 2 more",
    ]
