"""Subject-verb agreement over 1 to 60 words, in sentences of the built-in grammar. The description; torch stays out."""

from __future__ import annotations

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["AGREEMENT"]

EVALUATE = Verb(
    "evaluate",
    """How often a run of the task agreement chooses the right verb, by distance from subject to verb.

    Example: `gateflow evaluate quickstart-runs/lstm-chrono`

    The sentences are new to the run; guessing is right in half of them.
    """,
    "gateflow.tasks.agreement.inference:evaluate_run",
    (Option("sentences", int, "Sentences of the grammar, new to the run; if left out, 1000 or all it has.", least=1),),
)

AGREEMENT = TaskDescription(
    name="agreement",
    help="""Train a network to make verbs agree with subjects 1 to 60 words back. Its sentences come from a grammar.

    Example: `gateflow train agreement --out runs/mine --cell lstm --init chrono:60`

    Ctrl-C saves; `gateflow resume` goes on.
    """,
    config="gateflow.tasks.agreement.config:AgreementConfig",
    run="gateflow.tasks.agreement.run:AgreementRun",
    inspect="gateflow.tasks.agreement.inspection:InspectedAgreement",
    set_up="gateflow.tasks.agreement.inference:set_up",
    build="gateflow.tasks.agreement.task:AgreementTask",
    diagnose="gateflow.tasks.agreement.inference:diagnose_run",
    load="gateflow.tasks.agreement.inference:load_model",
    verbs=(EVALUATE,),
    next_steps=("evaluate {run}", "diagnose {run}"),
    begin="gateflow.tasks.agreement.inference:begin",
    compared="gateflow.tasks.agreement.inference:compared",
)
