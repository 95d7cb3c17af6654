"""All that can be asked about an example of a run, whatever its task: tests of tasks ask it of theirs."""

from __future__ import annotations

from gateflow.inspector.session import Session, subject_of


def every_view(path):
    """The answers by the names of their views; whatever a task has no answer for is not asked."""
    session = Session([subject_of(path)])
    (about,) = session.about().runs
    layer, text = about["layers"][-1], {"example": 0}
    of_layer = {**text, "layer": layer["name"]}
    answers = {"about": about, "gates": session.ask("gates", of_layer), "course": session.ask("course", {})}
    for part in layer["parts"]:
        answers["memory"] = session.ask("memory", {**of_layer, "part": part, "most": 5})
    steps = len(answers["gates"].tokens)
    if about["about"] != "nothing":
        place = 0 if about["about"] == "whole" else steps - 1
        hold = {"layer": layer["name"], "part": layer["states"][-1], "value": 0.0, "begin": 0, "end": steps - 1}
        answers["read"] = session.ask("read", text)
        answers["attribution"] = session.ask("attribution", {**text, "place": place})
        answers["intervention"] = session.ask("intervention", {**text, "place": place, "holds": [hold]})
        answers["reach"] = session.ask("reach", text)
    return answers
