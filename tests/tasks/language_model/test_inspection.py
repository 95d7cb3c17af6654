"""A language model in the inspector; one of sentences of the grammar has the views of agreement too."""

from __future__ import annotations

import pytest
from tests.inspector.questions import every_view

from gateflow.data.agreement import split, write_text
from gateflow.inspector.session import Session, subject_of
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.task import LanguageModelTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

SMALL = {"hidden_size": 8, "embedding_size": 6, "layers": 2, "softmax_samples": 0}


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_the_inspector_shows_a_run(tmp_path, tokenizer):
    write_text(split(300, 0, seed=0)[0], tmp_path / "text.txt")
    vocabulary = {"vocab_size": 300} if tokenizer == "bpe" else {}
    sections = {
        "data": {"train": tmp_path / "text.txt", "tokenizer": tokenizer, **vocabulary},
        "model": SMALL,
        "training": {"batch_size": 4, "window": 10, "max_updates": 2},
    }
    run = set_up(tmp_path / "run", LanguageModelConfig.build(sections))
    config = run.config()
    TrainingLoop(LanguageModelTask(run, config), config.training, run, join_processes(config.training)).train()
    answers = every_view(run.path)
    assert len(answers["about"]["layers"]) == 2
    assert answers["read"].rows["next"][-2].came is not None
    assert answers["about"]["agreement"] == (tokenizer == "word")
    if tokenizer == "word":
        session = Session([subject_of(run.path)])
        found = session.ask("agreement", {"distance": 7})
        read = session.ask("read", {"text": found.forms[0].text})
        # Behind the end of a line, which it reads first.
        assert read.tokens[found.subject] == found.forms[0].text.split()[-7]
        assert len(read.tokens) == found.verb
