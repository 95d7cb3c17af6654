"""The language model: what it computes, what it refuses, and that text teaches it something."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gateflow import cells
from gateflow.data.stream import TokenStream
from gateflow.errors import ConfigError, ReferencePathWarning, UnknownCellError
from gateflow.tasks.language_model.model import LanguageModel, detach, evaluate, perplexity

pytestmark = pytest.mark.filterwarnings("ignore::gateflow.errors.ReferencePathWarning")


def tokens(steps: int, batch: int, words: int) -> tuple[torch.Tensor, torch.Tensor]:
    stretch = torch.randint(words, (steps + 1, batch))
    return stretch[:-1].clone(), stretch[1:].clone()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(6, 6), (5, 7)])
def test_the_loss_is_the_cross_entropy_of_its_scores(tied, sizes):
    model = LanguageModel(11, embedding_size=sizes[0], hidden_size=sizes[1], tied=tied).double()
    model.fit_frequencies(torch.arange(11))
    inputs, targets = tokens(4, 3, 11)
    hidden, state = model.hidden(inputs)
    loss, last = model(inputs, targets)
    torch.testing.assert_close(loss, F.cross_entropy(model.scores(hidden).flatten(0, 1), targets.flatten()))
    assert torch.equal(last[-1][0], state[-1][0])
    loss.backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []


def test_tying_shares_one_matrix_and_maps_sizes():
    tied = LanguageModel(11, embedding_size=5, hidden_size=7)
    assert tied.output.weight is tied.embedding.weight
    assert tied.projection.weight.shape == (5, 7)
    untied = LanguageModel(11, embedding_size=5, hidden_size=7, tied=False)
    assert untied.output.weight.shape == (11, 7)
    assert isinstance(LanguageModel(11, embedding_size=5, hidden_size=[7, 5]).projection, torch.nn.Identity)


@pytest.mark.parametrize("cell", cells.names())
def test_every_cell_makes_a_language_model(cell):
    model = LanguageModel(9, cell=cell, embedding_size=4, hidden_size=4)
    loss, state = model(*tokens(3, 2, 9))
    loss.backward()
    assert math.isfinite(loss.item())
    assert len(state) == 2


def test_a_carried_state_makes_two_windows_one_text():
    model = LanguageModel(11, embedding_size=4, hidden_size=5).double()
    inputs, targets = tokens(6, 3, 11)
    whole, last = model(inputs, targets)
    first, state = model(inputs[:2], targets[:2])
    second, end = model(inputs[2:], targets[2:], detach(state))
    torch.testing.assert_close((2 * first + 4 * second) / 6, whole)
    for mine, judge in zip(end, last, strict=True):
        torch.testing.assert_close(mine, judge)


def test_detach_cuts_every_part():
    _, state = LanguageModel(11, embedding_size=4, hidden_size=5)(*tokens(2, 3, 11))
    assert all(part.requires_grad for parts in state for part in parts)
    cut = detach(state)
    assert cut is not None
    assert not any(part.requires_grad for parts in cut for part in parts)
    assert detach(None) is None


def test_token_by_token_gives_the_scores_of_the_whole():
    model = LanguageModel(11, embedding_size=4, hidden_size=5).double().eval()
    inputs, _ = tokens(6, 3, 11)
    whole = model.scores(model.hidden(inputs)[0])
    state = None
    for step in range(6):
        logits, state = model.next_logits(inputs[step], state)
        torch.testing.assert_close(logits, whole[step])


def test_a_new_model_expects_what_is_frequent():
    model = LanguageModel(4, embedding_size=3, hidden_size=3)
    model.fit_frequencies(torch.tensor([700, 200, 100, 0]))
    shares = model.scores(torch.zeros(3)).softmax(0)
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1, 0.0001]), rtol=1e-2, atol=1e-5)


def test_softmax_samples_are_for_training_only():
    model = LanguageModel(500, embedding_size=4, hidden_size=4, softmax_samples=50)
    model.fit_frequencies(torch.arange(500))
    inputs, targets = tokens(3, 2, 500)
    estimates = {model(inputs, targets)[0].item() for _ in range(3)}
    assert len(estimates) == 3
    model.eval()
    full = F.cross_entropy(model.scores(model.hidden(inputs)[0]).flatten(0, 1), targets.flatten())
    for _ in range(3):
        torch.testing.assert_close(model(inputs, targets)[0], full)


def test_more_softmax_samples_than_words_are_all_words():
    model = LanguageModel(7, embedding_size=4, hidden_size=4, softmax_samples=50)
    inputs, targets = tokens(3, 2, 7)
    full = F.cross_entropy(model.scores(model.hidden(inputs)[0]).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model(inputs, targets)[0], full)


@pytest.mark.parametrize("softmax_samples", [None, 20])
def test_ignored_targets_do_not_count(softmax_samples):
    model = LanguageModel(30, embedding_size=4, hidden_size=4, softmax_samples=softmax_samples)
    inputs, targets = tokens(5, 2, 30)
    targets[3:] = -100
    torch.manual_seed(1)
    loss = model(inputs, targets)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(loss, model(inputs[:3], targets[:3])[0])


def test_the_draw_of_softmax_samples_survives_saving():
    model = LanguageModel(30, embedding_size=4, hidden_size=4, softmax_samples=20)
    model.fit_frequencies(torch.arange(30))
    copy = LanguageModel(30, embedding_size=4, hidden_size=4, softmax_samples=20)
    copy.load_state_dict(model.state_dict())
    inputs, targets = tokens(5, 2, 30)
    torch.manual_seed(1)
    loss = model(inputs, targets)[0]
    torch.manual_seed(1)
    assert torch.equal(copy(inputs, targets)[0], loss)


def test_dropout_works_while_training_only():
    model = LanguageModel(30, embedding_size=4, hidden_size=4, dropout=0.5)
    inputs, targets = tokens(5, 2, 30)
    assert model(inputs, targets)[0] != model(inputs, targets)[0]
    model.eval()
    assert model(inputs, targets)[0] == model(inputs, targets)[0]


def numbers(folder: Path, ids: list[int]) -> Path:
    np.save(folder / "text.npy", np.array(ids, np.uint16))
    return folder / "text.npy"


def test_evaluate_sums_over_every_token_but_the_first(tmp_path):
    ids = torch.randint(9, (23,)).tolist()
    model = LanguageModel(9, embedding_size=4, hidden_size=4, dropout=0.5, softmax_samples=3)
    nll, count = evaluate(model, TokenStream(numbers(tmp_path, ids), 1, 4, whole=True))
    assert model.training
    assert count == 22
    model.eval()
    text = torch.tensor(ids)[:, None]
    assert nll == pytest.approx(22 * model(text[:-1], text[1:])[0].item(), rel=1e-5)
    in_columns = evaluate(model, TokenStream(tmp_path / "text.npy", 8, 3, whole=True))
    assert in_columns[1] == 22
    assert not model.training


def test_evaluation_stays_in_fp32_under_autocast(tmp_path):
    stream = TokenStream(numbers(tmp_path, torch.randint(9, (40,)).tolist()), 2, 4)
    model = LanguageModel(9, embedding_size=4, hidden_size=4)
    alone = evaluate(model, stream)
    with torch.autocast("cpu", torch.bfloat16):
        assert evaluate(model, stream) == alone


def test_bf16_training_gives_an_fp32_loss_and_gradients():
    model = LanguageModel(50, embedding_size=4, hidden_size=6)
    inputs, targets = tokens(5, 2, 50)
    judge = model(inputs, targets)[0].item()
    with torch.autocast("cpu", torch.bfloat16):
        loss, state = model(inputs, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(judge, rel=1e-2)
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(state) == 2


def test_perplexity():
    assert perplexity(10 * math.log(33), 10) == pytest.approx(33)
    assert perplexity(10 * math.log(33), 5) == pytest.approx(33**2)
    assert perplexity(1e9, 1) < math.inf


@pytest.mark.parametrize("softmax_samples", [None, 12])
def test_it_learns_a_text(softmax_samples):
    """A cycle of 24 words is predictable from the word before: perplexity must come near 1 from 24."""
    model = LanguageModel(24, embedding_size=16, hidden_size=16, num_layers=1, softmax_samples=softmax_samples)
    text = (torch.arange(33)[:, None] + 5 * torch.arange(8)) % 24
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        model(text[:-1], text[1:])[0].backward()
        optimizer.step()
    model.eval()
    assert perplexity(model(text[:-1], text[1:])[0].item(), 1) < 1.5


def test_the_future_is_refused():
    with pytest.raises(ConfigError, match="cannot be bidirectional: its backward direction reads the very tokens"):
        LanguageModel(9, bidirectional=True)
    assert LanguageModel(9, embedding_size=4, hidden_size=4, bidirectional=False).recurrent.bidirectional is False


@pytest.mark.parametrize("size", ["vocab_size", "embedding_size", "softmax_samples", "hidden_size", "num_layers"])
def test_sizes_below_one_are_refused(size):
    sizes = {"vocab_size": 9, "embedding_size": 4, "softmax_samples": 3, "hidden_size": 4, "num_layers": 1, size: 0}
    with pytest.raises(ConfigError, match="0"):
        LanguageModel(sizes.pop("vocab_size"), **sizes)


@pytest.mark.parametrize("dropout", [-0.1, 1.5])
def test_impossible_dropout_is_refused(dropout):
    with pytest.raises(ConfigError, match=r"dropout"):
        LanguageModel(9, dropout=dropout)


def test_unknown_cell():
    with pytest.raises(UnknownCellError):
        LanguageModel(9, cell="lsmt")


def test_a_cell_on_the_reference_path_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "no compiler"))
    with pytest.warns(ReferencePathWarning):
        LanguageModel(9, cell="peephole_lstm", embedding_size=4, hidden_size=4)(*tokens(3, 2, 9))


def test_initial_weights_follow_from_the_seed_in_every_process():
    """Input and output embedding, where they are two, drew their numbers in the order of their addresses."""
    code = """
        import torch
        from gateflow.tasks.language_model.model import LanguageModel
        padding = [object() for _ in range(int(sys.argv[1]))]
        torch.manual_seed(0)
        model = LanguageModel(11, embedding_size=4, hidden_size=4, tied=False)
        print(model.embedding.weight.sum().item(), model.output.weight.sum().item())
    """
    command = [sys.executable, "-c", "import sys" + textwrap.dedent(code)]
    said = {subprocess.run([*command, str(k)], capture_output=True, text=True, check=True).stdout for k in range(4)}
    assert len(said) == 1
