import pytest

from devicelab import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9.8e-5, "98.0 µs"),
        (1.5, "1.50 s"),
        (0.0123, "12.3 ms"),
        (2.5e-7, "250 ns"),
        (0.0, "0 ns"),
        (3600.0, "3,600 s"),
        (float("nan"), "nan ns"),
    ],
)
def test_a_duration_is_shown_in_the_unit_that_suits_it(value, text):
    assert units.seconds(value) == text


def test_a_range_has_the_unit_of_the_value_it_belongs_to():
    assert units.span(9e-4, 1.46e-3, 1.19e-3) == "0.900 to 1.46"


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (4 * 2**20, "4.00 MiB"), (1536, "1.50 KiB"), (80 * 2**30, "80.0 GiB")]
)
def test_a_size_is_shown_in_powers_of_1024(count, text):
    assert units.size(count) == text
