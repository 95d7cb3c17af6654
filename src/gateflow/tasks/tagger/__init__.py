"""Name tagging and all tagging of words: a tag for each word of a sentence. The description; torch stays out."""

from __future__ import annotations

from pathlib import Path

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["TAGGER"]

BATCH_SIZE = Option("batch_size", int, "Sentences read side by side; it changes no answer.", default=64, least=1)

EVALUATE = Verb(
    "evaluate",
    """Precision, recall and F1 of a tagger's entities, or how often its tags are right, on tagged sentences.

    Example: `gateflow evaluate runs/ner --data test.conll --predictions test.out`

    An entity counts if its words and its type are right, as seqeval counts in strict mode.
    """,
    "gateflow.tasks.tagger.evaluation:evaluate_run",
    (
        Option("data", Path, "Tagged sentences; those to validate on if left out."),
        Option("predictions", Path, "Write words, right tags and the tagger's to this file."),
        BATCH_SIZE,
    ),
)

TAG = Verb(
    "tag",
    """Tag new text: entities with their places and probabilities, or words with their tags.

    Example: `gateflow tag runs/ner --data letter.txt`, or `echo "Teddy Roosevelt came" | gateflow tag runs/ner`

    Lines are answered as they come. With --json each is an object with all words, tags and places.
    """,
    "gateflow.tasks.tagger.tagging:tag_text",
    (
        Option("data", Path, "Text to tag, plain or gz, UTF-8; stdin if left out.", default=Path("-")),
        Option(
            "conll",
            bool,
            "The input has a word a line, CoNLL columns or CoNLL-U; tags are added as columns.",
            default=False,
        ),
        Option("nbest", int, "So many of the likeliest sequences of tags too; it takes a CRF.", default=0, least=0),
        BATCH_SIZE,
    ),
)

TAGGER = TaskDescription(
    name="tagger",
    help="""Train a tagger of words on tagged sentences: names, parts of speech, whatever has a tag for each word.

    Example: `gateflow train tagger --data train.conll --valid dev.conll --out runs/ner`

    Several columns at once: `--columns upos,feats`. Ctrl-C saves; `gateflow resume` goes on.
    """,
    config="gateflow.tasks.tagger.config:TaggerConfig",
    run="gateflow.tasks.tagger.run:TaggerRun",
    inspect="gateflow.tasks.tagger.inspection:InspectedTagger",
    set_up="gateflow.tasks.tagger.data:set_up",
    build="gateflow.tasks.tagger.task:TaggerTask",
    diagnose="gateflow.tasks.tagger.diagnosis:diagnose_run",
    load="gateflow.tasks.tagger.loading:load_network",
    verbs=(EVALUATE, TAG),
    next_steps=("evaluate {run} --data FILE", "tag {run}"),
    begin="gateflow.tasks.tagger.data:begin",
    compared="gateflow.tasks.tagger.diagnosis:compared",
    figure_names={"f1": "F1", "mean": "mean of the columns"},
)
