"""A word language model as PyTorch's tutorials train one, from raw text to a saved model that is loaded and tested.

With torch's layers and with ours: only where `RNN`, `GRU` and `LSTM` come from differs.
"""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn

import gateflow

TEXT = "the cat sat on the mat and the dog sat on the log and the cat saw the dog and the dog saw the cat ".split() * 12
WORDS = sorted(set(TEXT))
STEPS, COLUMNS = 7, 4
KINDS = ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"]


class RNNModel(nn.Module):
    def __init__(self, layers, kind, size=12, num_layers=2, dropout=0.0):
        super().__init__()
        self.drop, self.encoder = nn.Dropout(dropout), nn.Embedding(len(WORDS), size)
        if kind in ("LSTM", "GRU"):
            self.rnn = getattr(layers, kind)(size, size, num_layers, dropout=dropout)
        else:
            nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[kind]
            self.rnn = layers.RNN(size, size, num_layers, nonlinearity=nonlinearity, dropout=dropout)
        self.decoder = nn.Linear(size, len(WORDS))
        self.kind, self.size, self.num_layers = kind, size, num_layers
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)

    def forward(self, words, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(words)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, len(WORDS))
        return nn.functional.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, rows):
        weight = next(self.parameters())
        if self.kind == "LSTM":
            return tuple(weight.new_zeros(self.num_layers, rows, self.size) for _ in "hc")
        return weight.new_zeros(self.num_layers, rows, self.size)


def detached(hidden):
    return hidden.detach() if isinstance(hidden, torch.Tensor) else tuple(detached(part) for part in hidden)


def windows():
    ids = torch.tensor([WORDS.index(word) for word in TEXT])
    columns = ids[: len(ids) // COLUMNS * COLUMNS].view(COLUMNS, -1).t().contiguous()
    for start in range(0, len(columns) - 1, STEPS):
        stop = min(start + STEPS, len(columns) - 1)
        yield columns[start:stop], columns[start + 1 : stop + 1].reshape(-1)


def train(model, learning_rate, epochs=2):
    model.train()
    losses = []
    for _ in range(epochs):
        hidden = model.init_hidden(COLUMNS)
        for words, targets in windows():
            model.zero_grad()
            output, hidden = model(words, detached(hidden))
            loss = nn.functional.nll_loss(output, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            for parameter in model.parameters():
                parameter.data.add_(parameter.grad, alpha=-learning_rate)
            losses.append(loss.item())
    return losses


@torch.no_grad()
def evaluate(model):
    model.eval()
    hidden, total, count = model.init_hidden(COLUMNS), 0.0, 0
    for words, targets in windows():
        output, hidden = model(words, hidden)
        total, count = total + len(words) * nn.functional.nll_loss(output, targets).item(), count + len(words)
    return math.exp(total / count)


def saved_and_loaded(model, *allowed):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    with torch.serialization.safe_globals([RNNModel, nn.Embedding, nn.Linear, nn.Dropout, *allowed]):
        return torch.load(file)


@pytest.mark.parametrize("kind", KINDS)
def test_to_its_last_line_with_the_numbers_of_torchs(kind):
    results = []
    for layers, allowed in ((nn, [nn.LSTM, nn.GRU, nn.RNN, set]), (gateflow, gateflow.safe_globals())):
        torch.manual_seed(1111)
        model = RNNModel(layers, kind).double()  # so that no rounding grows on the way
        losses = train(model, 5.0, epochs=6)
        loaded = saved_and_loaded(model, *allowed)
        loaded.rnn.flatten_parameters()
        perplexity = evaluate(loaded)
        assert perplexity == pytest.approx(evaluate(model))
        results.append((losses, perplexity))
    (losses, perplexity), (ours, our_perplexity) = results
    assert ours == pytest.approx(losses, rel=1e-3)
    assert our_perplexity == pytest.approx(perplexity, rel=1e-3)
    assert our_perplexity < len(WORDS) - 1


def test_with_dropout():
    torch.manual_seed(1111)
    model = RNNModel(gateflow, "LSTM", dropout=0.2)
    losses = train(model, 5.0, epochs=6)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert saved_and_loaded(model, *gateflow.safe_globals()).rnn.dropout == 0.2


def test_a_model_that_was_saved_whole_is_refused_without_them_and_no_more_is_asked_for():
    model = RNNModel(gateflow, "LSTM")
    with pytest.raises(pickle.UnpicklingError, match="gateflow"):
        saved_and_loaded(model, set)
    saved_and_loaded(model, set, gateflow.LSTM)  # the layer's class alone


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "skip": "residual", "dense": (5, 2), "bidirectional": True},
        {"num_layers": 2, "skip": "highway", "zoneout": (0.1, 0.2), "learn_initial_state": True},
    ],
)
def test_recurrent_with_every_part_it_may_have(options):
    layer = gateflow.Recurrent("peephole_lstm", 3, 4, **options).eval()
    model = nn.Sequential(layer)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    with torch.serialization.safe_globals(gateflow.safe_globals()):
        loaded = torch.load(file)[0]
    x = torch.randn(5, 2, 3)
    for twin in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], layer(x)[0])
        assert repr(twin) == repr(layer)
        assert twin.options == layer.options


class Leaky(gateflow.Cell):
    states, gates = ("h",), ("content",)

    def __init__(self, *sizes, keep=0.9, **options):
        self.keep = keep
        super().__init__(*sizes, **options)

    def step(self, x, h):
        return self.keep * h + (1 - self.keep) * torch.tanh(self.content(h, x))


def test_a_cell_of_ones_own_is_added_by_its_class_and_keeps_its_attributes():
    layer = gateflow.Recurrent(Leaky, 3, 4)
    file = io.BytesIO()
    torch.save(layer, file)
    with torch.serialization.safe_globals([Leaky, *gateflow.safe_globals()]):
        file.seek(0)
        loaded = torch.load(file)
    assert loaded.cells[0].keep == 0.9
    x = torch.randn(5, 2, 3)
    assert torch.equal(loaded(x)[0], layer(x)[0])


def test_a_name_that_no_cell_has_is_refused():
    layer = gateflow.Recurrent("gru", 3, 4)
    state = layer.__getstate__()
    state["_equations"] = [("os:system", written) for _, written in state["_equations"]]
    with pytest.raises(gateflow.errors.UnknownCellError, match="'os:system', which is not registered here"):
        gateflow.Recurrent.__new__(gateflow.Recurrent).__setstate__(state)


def test_a_pickle_from_before():
    """It held the cells and the options as objects."""
    layer = gateflow.LSTM(3, 4, 2)
    twin, x = copy.deepcopy(layer), torch.randn(5, 2, 3)
    old = vars(twin) | {"skips": None, "proj_size": 0}
    restored = gateflow.LSTM.__new__(gateflow.LSTM)
    restored.__setstate__(old)
    assert torch.equal(restored(x)[0], layer(x)[0])
