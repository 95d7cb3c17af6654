"""Translation, and whatever makes one sequence of another: the description; torch stays out."""

from __future__ import annotations

from pathlib import Path

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["TRANSLATOR"]

BATCH_SIZE = Option("batch_size", int, "Sources read side by side; it changes no answer.", default=64, least=1)
MAX_LENGTH = Option(
    "max_length", int, "Tokens of a translation at most; else three times the longest learnt from and ten.", least=1
)
REPLACE_UNKNOWN = Option(
    "replace_unknown", bool, "An unknown word becomes the source word that attention looked at most.", default=False
)
ENSEMBLE = Option(
    "ensemble", str, "Other runs, as RUN2,RUN3, with the same tokens: the probabilities of all are averaged."
)

SEARCH = (
    Option("beam", int, "Hypotheses that go on at each token; 1 takes the likeliest each time.", default=5, least=1),
    Option(
        "length_penalty",
        float,
        "0 ranks by probability, which prefers short ones; 1 nearly by the mean.",
        default=1.0,
        least=0,
    ),
    Option("coverage_penalty", float, "Above 0: prefer what attends to all of the source.", default=0.0, least=0),
    Option("min_length", int, "Tokens of a translation at least.", default=0, least=0),
    MAX_LENGTH,
    REPLACE_UNKNOWN,
    ENSEMBLE,
    BATCH_SIZE,
)

EVALUATE = Verb(
    "evaluate",
    """BLEU, chrF, exact translations and edits per token of a translator, on pairs.

    Example: `gateflow evaluate runs/ja-en --data test.ja,test.en --bleu-tokenize none`

    BLEU and chrF are sacrebleu's, with its signature: `pip install 'gateflow[translation]'`.
    """,
    "gateflow.tasks.translator.evaluation:evaluate_run",
    (
        Option("data", Path, "Pairs, as for the training; those to validate on if left out."),
        Option("target_data", Path, "Targets, if --data has sources alone; a.en,b.en if several are right."),
        Option("predictions", Path, "Write sources, right targets and translations to this file, as JSON lines."),
        Option("bleu_tokenize", str, "How sacrebleu cuts texts: 13a, none (they are cut), char, ….", default="13a"),
        *SEARCH,
    ),
)

TRANSLATE = Verb(
    "translate",
    """Translate new text: a line for each line, as they come.

    Example: `gateflow translate runs/ja-en --data news.ja`, or `echo "산" | gateflow translate runs/g2p`

    A run with features reads them behind a tab. With --json each line is an object: source, translation, its log
    probability and score, whether it ended by itself, and the nbest.
    """,
    "gateflow.tasks.translator.translating:translate_text",
    (
        Option("data", Path, "Text to translate, plain or gz, UTF-8; stdin if left out.", default=Path("-")),
        Option("nbest", int, "So many of the best translations of each line; at most --beam.", default=1, least=1),
        Option("attention", Path, "Write what each token looked at to this HTML file, of the first 50 lines."),
        *SEARCH,
    ),
)

TRANSLATOR = TaskDescription(
    name="translator",
    help="""Train a translator on pairs: sentences, spellings and sounds, commands and actions.

    Example: `gateflow train translator --data train.tsv --valid dev.tsv --tokenizer char --target-tokenizer word --out
    runs/g2p`

    Two files go line by line: `--data train.ja,train.en`. Ctrl-C saves; `gateflow resume` goes on.
    """,
    config="gateflow.tasks.translator.config:TranslatorConfig",
    run="gateflow.tasks.translator.run:TranslatorRun",
    inspect="gateflow.tasks.translator.inspection:InspectedTranslator",
    set_up="gateflow.tasks.translator.data:set_up",
    build="gateflow.tasks.translator.task:TranslatorTask",
    diagnose="gateflow.tasks.translator.diagnosis:diagnose_run",
    load="gateflow.tasks.translator.loading:load_network",
    verbs=(EVALUATE, TRANSLATE),
    next_steps=("evaluate {run} --data FILE", "translate {run}"),
    begin="gateflow.tasks.translator.data:begin",
    compared="gateflow.tasks.translator.diagnosis:compared",
    growth="gateflow.tasks.translator.growth:growth",
    figure_names={"error_rate": "edits per token", "exact_match": "exact", "accuracy": "right tokens"},
)
