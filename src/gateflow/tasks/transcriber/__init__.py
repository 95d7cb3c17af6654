"""Transcription: the text of a line of print or handwriting, or of a recording. The description; torch stays out."""

from __future__ import annotations

from pathlib import Path

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["TRANSCRIBER"]

BATCH_SIZE = Option("batch_size", int, "Lines read side by side; it changes no answer.", default=16, least=1)
SKIP_BAD = Option("skip_bad", bool, "Leave files out that cannot be read, and say so.", default=False)
SEARCH = (
    Option(
        "beam",
        int,
        "Texts that a search keeps at each step; 0 takes the likeliest character of each step by itself. 16 with --lm.",
        least=0,
    ),
    Option("lm", Path, "Run of a language model of characters (`gateflow train lm --tokenizer char`) to search with."),
    Option("lm_weight", float, "How much the language model counts.", default=0.5, least=0),
    Option("insertion", float, "What each character adds to the score of a text in a search.", default=0.0),
)

EVALUATE = Verb(
    "evaluate",
    """Character and word error rates of a transcriber on lines whose texts are known; the worst lines; confusions.

    Example: `gateflow evaluate runs/print --data test.tsv --predictions test.out`
    """,
    "gateflow.tasks.transcriber.evaluation:evaluate_run",
    (
        Option("data", Path, "Lines with their texts, as --data of a training has them; else those of validation."),
        Option("predictions", Path, "Write edits, right text, given text and file to this file, as TSV."),
        *SEARCH,
        SKIP_BAD,
        BATCH_SIZE,
    ),
)

TRANSCRIBE = Verb(
    "transcribe",
    """The text of each picture of a line, of each recording, or of each line of pen strokes.

    Example: `gateflow transcribe runs/print --data page/`, or `gateflow transcribe runs/digits --data call.wav --json`

    With --json each is an object with the place and the confidence of every character.
    """,
    "gateflow.tasks.transcriber.transcribing:transcribe_lines",
    (
        Option(
            "data",
            Path,
            "A picture or sound, a folder or list of them, or JSON lines of strokes. With --stream a sound, or - for "
            "samples of 16 bits that are piped in.",
            required=True,
        ),
        *SEARCH,
        Option("nbest", int, "So many of the likeliest texts of each line; it takes a beam.", default=1, least=1),
        Option(
            "stream",
            bool,
            "Write as the sound comes; it takes a run of sounds trained with --no-bidirectional.",
            default=False,
        ),
        SKIP_BAD,
        BATCH_SIZE,
    ),
)

ALIGN = Verb(
    "align",
    """Where each character of a known text is: seconds of a sound, columns of a picture, points of strokes.

    Example: `gateflow align runs/digits --data test.tsv --out times`

    For each line the folder gets a TextGrid, as Praat reads it, and a JSON file.
    """,
    "gateflow.tasks.transcriber.aligning:align_lines",
    (
        Option("data", Path, "Lines with their texts, as --data of a training has them.", required=True),
        Option("out", Path, "Folder for the files; it may exist.", required=True),
        Option("force", bool, "Replace files that are there already.", default=False),
        SKIP_BAD,
        BATCH_SIZE,
    ),
)

TRANSCRIBER = TaskDescription(
    name="transcriber",
    help="""Train a transcriber on pictures of lines, recordings or pen strokes with their texts.

    Example: `gateflow train transcriber --data lines.tsv --out runs/print`

    A list has a path, a tab and a text in each line; or x.gt.txt lies beside x.png. Ctrl-C saves; `gateflow resume`
    goes on.
    """,
    config="gateflow.tasks.transcriber.config:TranscriberConfig",
    run="gateflow.tasks.transcriber.run:TranscriberRun",
    inspect="gateflow.tasks.transcriber.inspection:InspectedTranscriber",
    set_up="gateflow.tasks.transcriber.data:set_up",
    build="gateflow.tasks.transcriber.task:TranscriberTask",
    diagnose="gateflow.tasks.transcriber.diagnosis:diagnose_run",
    load="gateflow.tasks.transcriber.loading:load_network",
    verbs=(EVALUATE, TRANSCRIBE, ALIGN),
    next_steps=("evaluate {run} --data FILE", "transcribe {run} --data FILE"),
    begin="gateflow.tasks.transcriber.data:begin",
    compared="gateflow.tasks.transcriber.diagnosis:compared",
    figure_names={"cer": "CER", "wer": "WER"},
)
