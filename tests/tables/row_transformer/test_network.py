import pytest
import torch

from factory.tables.row_transformer.network import Network, Shape, initial

SHAPE = Shape(vocabularies=(3, 5, 2, 4), hidden_size=16, layers=2, heads=2)


@pytest.fixture
def network():
    weights = initial(SHAPE, torch.Generator().manual_seed(1))
    return Network(SHAPE, {name: tensor + 0.3 * torch.sin(tensor * 997) for name, tensor in weights.items()})


def inputs(tokens, order):
    """Positions of one row: [1, columns] each."""
    offsets = SHAPE.offsets
    known = [offsets[-1], *(offsets[column] + tokens[column] for column in order[:-1])]
    return torch.tensor([known]), torch.tensor([[4, *order[:-1]]]), torch.tensor([order])


def test_the_kept_keys_and_values_change_nothing(network):
    rows = inputs([2, 4, 1, 0], [3, 0, 2, 1])
    whole, cache = network.hidden(*rows), []
    steps = [network.hidden(*(each[:, place : place + 1] for each in rows), cache) for place in range(4)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


def test_a_position_depends_on_all_earlier_cells_and_on_no_later_one(network):
    order = [3, 0, 2, 1]
    whole = network.hidden(*inputs([2, 4, 1, 0], order))
    for place, column in enumerate(order[:-1]):
        tokens = [2, 4, 1, 0]
        tokens[column] = (tokens[column] + 1) % SHAPE.vocabularies[column]
        changed = (network.hidden(*inputs(tokens, order)) - whole).abs().amax(dim=(0, 2)) > 1e-5
        assert changed.tolist() == [at > place for at in range(4)]


def test_losses_are_those_of_the_cells_one_by_one(network):
    tokens, order = [2, 4, 1, 0], [3, 0, 2, 1]
    states = network.hidden(*inputs(tokens, order))[0]
    one_by_one = [
        -torch.log_softmax(network.logits(states[order.index(column)], column), 0)[tokens[column]]
        for column in range(4)
    ]
    losses = network.losses(torch.tensor([tokens]), torch.tensor([order]))
    torch.testing.assert_close(torch.stack(losses), torch.stack(one_by_one))


def test_dropout_is_drawn_from_the_generator_that_is_handed_in(network):
    rows = inputs([2, 4, 1, 0], [3, 0, 2, 1])
    states = [network.hidden(*rows, None, 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
