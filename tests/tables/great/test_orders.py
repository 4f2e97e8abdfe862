"""Column orders."""

import pytest

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.great.orders import Orders, chosen_order, determining_order
from factory.tables.schema import Schema, table_of

from .small_tables import small_table

NAMES = ["a", "b", "c", "d", "e"]


def test_orders_differ_between_rows_and_epochs_and_are_the_same_again() -> None:
    orders = Orders(NAMES, None, seed=1)
    found = {(epoch, row): tuple(orders.of(epoch, row)) for epoch in range(5) for row in range(20)}
    assert len(set(found.values())) > 40
    assert all(sorted(order) == NAMES for order in found.values())
    assert found[3, 7] == tuple(Orders(NAMES, None, seed=1).of(3, 7))
    assert found != {place: tuple(Orders(NAMES, None, seed=-1).of(*place)) for place in found}


def test_a_fixed_order_holds_for_all_and_must_name_every_column_once() -> None:
    assert Orders(NAMES, NAMES[::-1], seed=1).of(4, 2) == NAMES[::-1]
    for wrong in (NAMES[1:], [*NAMES, "a"], [*NAMES, "z"]):
        with pytest.raises(UserError, match=r"great\.order: expected every column once"):
            Orders(NAMES, wrong, seed=1)


def test_what_determines_others_goes_first() -> None:
    schema = Schema(
        (
            Column(name="note", kind="text"),
            Column(name="noise", kind="category", categories=("p", "q")),
            Column(name="region", kind="category", categories=("north", "south")),
            Column(name="town", kind="category", categories=tuple("abcd")),
            Column(name="unique", kind="integer", low=0, high=10**6),
        )
    )
    rows = [
        {
            "note": "x",
            "noise": "pq"[at // 7 % 2],
            "town": "abcd"[at * 5 % 4],
            "region": ("north", "south")[at * 5 % 4 // 2],
            "unique": at * 7919 % 1000,
        }
        for at in range(400)
    ]
    order = determining_order(table_of(schema, rows))
    assert order.index("town") < order.index("region")
    assert order[0] == "town"
    assert order[-1] == "note"


def test_what_a_setting_stands_for() -> None:
    table = small_table()
    assert chosen_order("random", table) is None
    assert chosen_order(("n", "y", "x"), table) == ["n", "y", "x"]
    assert sorted(chosen_order("determining", table) or ()) == ["n", "x", "y"]
