"""Classification: a label for a text, a series, an image or a sound, or for each step. Torch stays out."""

from __future__ import annotations

from pathlib import Path

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["CLASSIFIER"]

BATCH_SIZE = Option("batch_size", int, "Examples read side by side; it changes no answer.", default=64, least=1)
TEXT = Option("text", str, "Column of the texts, a number from 1 or a name.")

EVALUATE = Verb(
    "evaluate",
    """Accuracy, macro F1, AUROC, each label by itself, confusions and calibration of a classifier on labelled examples.

    Of numbers to be predicted: MAE, RMSE and R².

    Example: `gateflow evaluate runs/films --data test.tsv --predictions test.out`
    """,
    "gateflow.tasks.classifier.evaluation:evaluate_run",
    (
        Option(
            "data",
            Path,
            "Labelled examples, as --data of a training has them; if left out those of the run's fold, or those it was "
            "validated on.",
        ),
        Option("predictions", Path, "Write right label, label, probability and example to this file, as TSV."),
        TEXT,
        Option("label", str, "Column of the labels, a number from 1 or a name."),
        BATCH_SIZE,
    ),
)

CLASSIFY = Verb(
    "classify",
    """The label of each line of a text, of each series or of each sound, with its probability; or the number.

    Example: `gateflow classify runs/films --data reviews.txt`, or `echo "I slept" | gateflow classify runs/films`

    Lines are answered as they come. With --json each is an object with the probabilities of all labels.
    """,
    "gateflow.tasks.classifier.classifying:classify_examples",
    (
        Option(
            "data",
            Path,
            "Texts, one a line, plain or gz, UTF-8; or a file of series, or a folder, list or file of sounds. stdin if "
            "left out.",
            default=Path("-"),
        ),
        Option("text", str, "The input is TSV, CSV or JSON lines, and this column holds the texts."),
        Option(
            "weights",
            bool,
            "Show how much each word or step weighs in the decision; it takes a run trained with --read-out attention.",
            default=False,
        ),
        BATCH_SIZE,
    ),
)

CLASSIFIER = TaskDescription(
    name="classifier",
    help="""Train a classifier on labelled texts, series of numbers, images or sounds; or a regression.

    Example: `gateflow train classifier --data films.tsv --out runs/films`

    Texts: TSV, CSV with a header, JSON lines, fastText's. Series: .ts, CSV with a row a step, .npz. Images: IDX.
    Sounds: a folder for each class, or a list. Ctrl-C saves; `gateflow resume` goes on. With
    `--folds 10` ten runs are trained, each tested on the tenth that it has not seen.
    """,
    config="gateflow.tasks.classifier.config:ClassifierConfig",
    run="gateflow.tasks.classifier.run:ClassifierRun",
    inspect="gateflow.tasks.classifier.inspection:InspectedClassifier",
    set_up="gateflow.tasks.classifier.data:set_up",
    build="gateflow.tasks.classifier.task:ClassifierTask",
    diagnose="gateflow.tasks.classifier.diagnosis:diagnose_run",
    load="gateflow.tasks.classifier.loading:load_network",
    begin="gateflow.tasks.classifier.data:begin",
    compared="gateflow.tasks.classifier.diagnosis:compared",
    figure_names={"macro_f1": "macro F1", "micro_f1": "micro F1", "rmse": "RMSE"},
    series="gateflow.tasks.classifier.folds:series",
    summary="gateflow.tasks.classifier.folds:summary",
    verbs=(EVALUATE, CLASSIFY),
    next_steps=("evaluate {run} --data FILE", "classify {run}"),
    option_help={"train": "What to learn from, with its labels: a file, or a folder of sounds."},
)
