import pytest

from devicelab import waste
from devicelab.errors import InputError


def test_an_hour_on_a_device_ten_times_slower_costs_ten_hours_of_the_price():
    result = waste(4, slower=10, currency="$")
    assert waste(4.0, slower=10.0, currency="$") == result
    assert (result.cost, result.wasted) == (40, 36)
    formula = "1.00 h of work x 10.0 times slower x 4.00 $ an hour = 40.0 $, of which 36.0 $ are wasted."
    assert str(result) == formula and formula in result._repr_html_()


def test_the_currency_may_be_left_out_and_is_escaped():
    assert "x 2.00 an hour = 6.00," in str(waste(2, 3))
    assert "<b>" not in waste(1, 2, currency="<b>")._repr_html_()


def test_on_the_right_device_nothing_is_wasted():
    assert waste(5, slower=1, hours=3).wasted == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"price_per_hour": -1, "slower": 2}, "price_per_hour must be between 0.0 and"),
        ({"price_per_hour": 1, "slower": 0.5}, "slower must be between 1.0 and 1,000,000,000, but it is 0.5"),
        ({"price_per_hour": 1, "slower": 2, "hours": -3}, "hours must be between 0.0 and"),
        ({"price_per_hour": "4 $", "slower": 2}, "price_per_hour must be a number, but it is '4 [$]'"),
        ({"price_per_hour": float("nan"), "slower": 2}, "price_per_hour must be a number, but it is nan"),
    ],
)
def test_unusable_numbers_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        waste(**arguments)
