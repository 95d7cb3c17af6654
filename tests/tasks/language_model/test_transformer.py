"""A language model of a Transformer: what it carries on, what it looks back to, and what it refuses."""

import pytest
import torch
from tests.training.test_hostile_checkpoint import CHANGES

from gateflow.data.stream import TokenStream
from gateflow.errors import ConfigError, FlowError, RunError
from gateflow.inspector.session import subject_of
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.tasks.description import Given
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.diagnosis import diagnose_run
from gateflow.tasks.language_model.export import export_run
from gateflow.tasks.language_model.inference import measure
from gateflow.tasks.language_model.loading import load_model
from gateflow.tasks.language_model.model import LanguageModel, evaluate
from gateflow.tasks.language_model.sampling import generate
from gateflow.tasks.language_model.scoring import scorer
from gateflow.tasks.language_model.task import LanguageModelTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

MODEL = {"model": "transformer", "hidden_size": 8, "embedding_size": 6, "heads": 2, "layers": 2, "context": 7}
# The window is shorter than the cache: it has grown by the third one.
TRAINING = {"batch_size": 4, "window": 3, "schedule": "constant", "warmup": 0, "lr": 0.003, "checkpoint_every": 2}


def config_of(text, model=None, **training):
    sections = {"data": {"train": text, "valid": text}, "model": MODEL | (model or {}), "training": TRAINING | training}
    return LanguageModelConfig.build(sections)


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("a b c d\nb c d a\nc d a b\n" * 12)
    return file


def trained(path, config):
    run = set_up(path, config)
    go_on(run)
    return run


def go_on(run):
    config = run.config()
    TrainingLoop(LanguageModelTask(run, config), config.training, run, join_processes(config.training)).train()


def model_of(**options):
    torch.manual_seed(0)
    made = LanguageModel(11, model="transformer", embedding_size=6, hidden_size=8, heads=2, **options)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return made.double().eval()


@pytest.mark.parametrize("context", [3, 40])
def test_the_cache_gives_the_scores_of_the_whole_pass(context):
    model, tokens = model_of(context=context), torch.randint(11, (12, 3))
    whole, state = model.scores(model.hidden(tokens)[0]), None
    for step, row in enumerate(tokens):
        scores, state = model.next_logits(row, state)
        torch.testing.assert_close(scores, whole[step], rtol=0, atol=1e-10)
    text = [3, *generate(model, [3], 20, temperature=0)]
    scores = model.scores(model.hidden(torch.tensor(text)[:, None])[0])[:, 0]
    assert text[1:] == scores.argmax(1)[:-1].tolist()


def test_a_loss_does_not_depend_on_the_windows_that_a_text_is_read_by(tmp_path, text):
    run = set_up(tmp_path / "run", config_of(text))
    model = model_of(context=5)
    losses = [evaluate(model, TokenStream(run.tokens_file("valid"), 4, window, whole=True)) for window in (2, 7, 100)]
    assert losses == [(pytest.approx(losses[0][0], rel=1e-12), losses[0][1])] * 3


def test_a_stopped_training_goes_on_with_its_cache(tmp_path, text):
    """Stopped before the cache is full, and behind the end of an epoch."""
    whole = trained(tmp_path / "whole", config_of(text, max_updates=25))
    for stop in (2, 23):
        stopped = trained(tmp_path / f"stopped{stop}", config_of(text, max_updates=stop))
        held = read_tensors(stopped.checkpoint_file)[0]["carried.1.0"]
        assert held.shape == (4, min(7, 3 * (stop % LanguageModelTask(whole, whole.config()).batches_per_epoch())), 8)
        stopped.extend(max_updates=25)
        go_on(stopped)
        assert_same_course_after(stopped, whole)


def assert_same_course_after(run, other):
    left, right = (read_tensors(each.checkpoint_file)[0] for each in (run, other))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("change", [*CHANGES, "more steps", "fewer steps", "no steps"])
def test_a_cache_that_is_none_is_refused(tmp_path, text, change):
    changes = {
        **CHANGES,
        "more steps": lambda t: torch.cat([t, t], 1),
        "fewer steps": lambda t: t[:, 1:],
        "no steps": lambda t: t[:, :0],
    }
    run = trained(tmp_path / "run", config_of(text, max_updates=4))
    tensors, metadata = read_tensors(run.checkpoint_file)
    for name in ("carried.0.0", "carried.1.1"):
        write_tensors(run.checkpoint_file, tensors | {name: changes[change](tensors[name]).contiguous()}, metadata)
        with pytest.raises(RunError, match="last.safetensors"):
            go_on(run)


def test_what_needs_recurrent_layers_says_so(tmp_path, text):
    run = trained(tmp_path / "run", config_of(text, max_updates=30))
    assert next(load_model(run).parameters()).isfinite().all()
    with pytest.raises(ConfigError, match="a search for texts needs recurrent layers"):
        scorer(run, ["", "a"])
    with pytest.raises(ConfigError, match="it has no hidden state to look into"):
        subject_of(run.path)
    with pytest.raises(ConfigError, match="recurrent layers are what can be exported"):
        export_run(Given(run), tmp_path / "model.onnx", False, None, False)


def test_a_text_may_be_evaluated_with_another_context(tmp_path, text):
    run = trained(tmp_path / "run", config_of(text, max_updates=30))
    plain, same, longer = (measure(run, text, context=context).loss for context in (None, 7, 30))
    assert plain == same != longer
    model = load_model(run)
    model.transformer.context = 30
    nats, count = evaluate(model, TokenStream(run.tokens_file("valid"), 1, 50, whole=True))
    assert longer == pytest.approx(nats / count, rel=1e-6)
    other = trained(tmp_path / "other", config_of(text, {"model": "recurrent"}, max_updates=1, validate_every=1))
    with pytest.raises(ConfigError, match="--context 9 is how far a Transformer looks back"):
        measure(other, text, 2, 9)


def test_a_report_says_that_there_is_no_recurrence(tmp_path, text):
    run = trained(tmp_path / "run", config_of(text, max_updates=30))
    report = diagnose_run(run, needed_lag=3)
    assert [finding.name for finding in report.findings] == ["no-recurrence"]
    (reached,) = report.by_lag
    # Two layers look back seven steps each.
    line = reached.lines["input embeddings"]
    assert float(line[14]) > 0
    assert not line[15:].any()
    with pytest.raises(FlowError, match="needed_lag must be at least 1"):
        diagnose_run(run, needed_lag=0)
    plain = trained(tmp_path / "plain", config_of(text, {"model": "recurrent", "context": 128, "heads": 4}, epochs=1))
    report = diagnose_run(plain)
    assert report.by_lag[0].title == reached.title
    assert report.reach.layers.keys() == {"recurrent.l0", "recurrent.l1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "--heads 3: --hidden-size 8 gives each 2.66667 components"),
        ({"hidden_size": 6, "heads": 4}, "take a --hidden-size that 8 divides"),
        ({"model": "lstm"}, "--model lstm: there are recurrent, transformer"),
        ({"context": 0}, "--context 0"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        LanguageModelConfig.build({"data": {"train": "x"}, "model": MODEL | options})
    # A default is named as it would be typed.
    with pytest.raises(ConfigError, match="--heads 4: --hidden-size 9 gives each 2.25"):
        LanguageModelConfig.build({"data": {"train": "x"}, "model": {"model": "transformer", "hidden_size": 9}})


def test_each_kind_of_layers_has_options_of_its_own():
    plain, other = (LanguageModelConfig.build({"data": {"train": "x"}, "model": {"model": kind}}) for kind in KINDS)
    assert plain.idle()["heads"] == plain.idle()["context"] == "--model transformer"
    assert {name for name, of in other.idle().items() if of == "--model recurrent"} == {
        "cell",
        "weight_dropout",
        "skip",
        "init",
        "monitor",
    }


KINDS = ("recurrent", "transformer")
