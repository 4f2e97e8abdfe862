import pytest

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.gaussian_copula import GaussianCopula
from factory.tables.rules import Rules
from factory.tables.schema import Schema, table_of
from factory.tables.tvae import Tvae


@pytest.mark.parametrize("synthesizer", [GaussianCopula(), Tvae()], ids=["gaussian_copula", "tvae"])
def test_free_text_and_empty_tables_are_refused(synthesizer):
    schema = Schema((Column(name="stars", kind="integer", high=5), Column(name="review", kind="text")))
    for rows, told in (([{"stars": 1, "review": "so"}], "free text in 'review'.*`great`"), ([], "no rows")):
        with pytest.raises(UserError, match=told):
            synthesizer.fit(table_of(schema, rows), Rules(schema), seed=1, folder=None, say=lambda line: None)
