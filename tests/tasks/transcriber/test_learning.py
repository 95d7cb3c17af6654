"""Pictures, sounds and strokes are learnt; batches and padding change no answer."""

import pytest

from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.evaluation import evaluate
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.prediction import Decoding


@pytest.mark.parametrize("kind", ["reader", "listener"])
def test_what_is_easy_is_learnt(kind, request):
    run = request.getfixturevalue(kind)
    learnt, lines = load(run), own_lines(run, "valid")
    found = evaluate(learnt, lines)
    assert found.cer < 0.1, (found.cer, [x.text for x in found.answers], found.right)
    searched = evaluate(learnt, lines, decoding=Decoding(beam=8, nbest=3))
    assert searched.cer <= found.cer + 0.02
    assert len(searched.answers[0].others) == 2
    for answer in found.answers:
        places = [(x.begin, x.end) for x in answer.characters]
        assert all(0 <= a < b for a, b in places)
        assert places == sorted(places)
        assert all(0 < x.confidence <= 1 for x in answer.characters)
