"""Language models: from a text to a run, and what can then be done with it. The description; torch stays out."""

from __future__ import annotations

from pathlib import Path

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["LANGUAGE_MODEL"]

EVALUATE = Verb(
    "evaluate",
    """Perplexity of a run on a text, per token and per word; of characters the bits for each, too.

    Example: `gateflow evaluate runs/mine --data test.txt`

    Words are counted with one end per line, whatever the tokenizer, so that runs compare.
    """,
    "gateflow.tasks.language_model.inference:evaluate_run",
    (
        Option("data", Path, "Text, plain or gz, UTF-8; - for a pipe.", required=True),
        # Each column begins with an empty state: fewer are more exact, and slower.
        Option("batch_size", int, "Stretches read side by side, at most; each has 1,000 tokens.", default=10, least=1),
        Option("context", int, "Steps that a Transformer looks back; as in its training if left out.", least=1),
    ),
)

GENERATE = Verb(
    "generate",
    """Go on with a text, token by token.

    Example: `gateflow generate runs/mine --prompt "The cat" --length 50 --temperature 0.8`
    """,
    "gateflow.tasks.language_model.inference:generate_from_run",
    (
        Option("prompt", str, "Text to go on from; else stdin, if piped."),
        Option("length", int, "Tokens to write.", default=100, least=1),
        Option("temperature", float, "Below 1 more cautious, above 1 wilder, 0 the likeliest.", default=1.0, least=0.0),
        Option("top_k", int, "Choose among the k likeliest.", least=1),
        Option("top_p", float, "Choose among the likeliest p.", least=0.0, most=1.0),
        Option("seed", int, "Same seed, same text.", default=0),
    ),
)

JUDGE_PAIRS = Verb(
    "agreement",
    """How often a run gives the grammatical sentence the higher probability; guessing gets half.

    Example: `gateflow agreement runs/mine --data pairs.tsv`

    Pairs with words that the run has never seen are not judged, and counted apart.
    """,
    "gateflow.tasks.language_model.pairs:judge_run",
    (
        Option(
            "data",
            Path,
            "Pairs as TSV with columns grammatical and ungrammatical (construct groups them), plain or gz; "
            "else pairs of the built-in grammar, by distance from subject to verb.",
        ),
        Option("most", int, "Pairs judged per construct, drawn at random.", default=500, least=1),
        Option("seed", int, "Which pairs are drawn.", default=0),
    ),
)

EXPORT = Verb(
    "export",
    """The model of a run as an ONNX file, and a program beside it that runs it without gateflow and torch.

    Example: `gateflow export runs/mine --onnx model.onnx`, then `python model.py --prompt "The cat"`

    The program needs numpy, onnxruntime and tokenizers. Before the file is written, ONNX Runtime computes with it what
    the run computes. The export itself needs
    `pip install onnx onnxscript onnxruntime`.
    """,
    "gateflow.tasks.language_model.export:export_run",
    (
        Option(
            "onnx",
            Path,
            "File to write, ending in .onnx; the program gets the same name, ending in .py.",
            required=True,
        ),
        Option(
            "int8",
            bool,
            "Weights as integers of 8 bits, by ONNX Runtime's own tool: a quarter of the size; what is lost is said.",
            default=False,
        ),
        Option("data", Path, "Text on which the loss by --int8 is measured; else the run's validation text."),
        Option("force", bool, "Replace files that are there.", default=False),
    ),
)

LANGUAGE_MODEL = TaskDescription(
    name="lm",
    help="""Train a language model on a text.

    Example: `gateflow train lm --data corpus.txt --out runs/mine --cell full_gru --epochs 5`

    Ctrl-C saves; `gateflow resume` goes on. Several processes:
    `torchrun --nproc-per-node 2 -m gateflow train lm ...`
    """,
    config="gateflow.tasks.language_model.config:LanguageModelConfig",
    run="gateflow.tasks.language_model.run:LanguageModelRun",
    inspect="gateflow.tasks.language_model.inspection:InspectedLanguageModel",
    set_up="gateflow.tasks.language_model.data:set_up",
    build="gateflow.tasks.language_model.task:LanguageModelTask",
    diagnose="gateflow.tasks.language_model.diagnosis:diagnose_run",
    load="gateflow.tasks.language_model.loading:load_model",
    verbs=(EVALUATE, GENERATE, JUDGE_PAIRS, EXPORT),
    next_steps=("generate {run} --prompt '...'", "evaluate {run} --data FILE"),
    option_help={"train": "Text to learn from, plain or gz, UTF-8; - for what is piped in."},
    begin="gateflow.tasks.language_model.data:begin",
    compared="gateflow.tasks.language_model.diagnosis:compared",
    growth="gateflow.tasks.language_model.growth:growth",
)
