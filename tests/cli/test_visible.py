"""No text of others steers the terminal, whoever prints it; what is only unusual to read stays."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.conftest import SMALL

from gateflow import cli
from gateflow.cli import output, visible
from gateflow.cli.failures import dim_note, visible_traceback
from gateflow.cli.visible import VisibleConsole

STEERING = ["\x1b", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x90", "\r", "\b", "\x7f", "\x00", "\x0c", "\x0b"]
STEERING += ["\u202e", "\u202a", "\u2066", "\u2069", "\u2028", "\u2029", "\x85", "\udc9b"]
READ = [
    "고양이",
    "e\u0301",
    "👩\u200d💻",
    "🏴\U000e0067\U000e0062\U000e007f",
    "می\u200cخواهم",
    "\u200fשלום",
    "a\tb",
    "a\nb",
    "[red]",
    ":cat:",
    "\\x1b",
    "—",
]
EVIL = "a\x1b]0;owned\x07\x9b2J\u202eb\rc\bd"
SPELLED = r"a\x1b]0;owned\x07\x9b2J\u202eb\rc\x08d"
FORBIDDEN = set("".join(STEERING)) - set("[2J]0;title31m")


def assert_harmless(text: str) -> None:
    assert not FORBIDDEN & set(text), ascii(text)


@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_what_steers_is_spelled(text):
    assert_harmless(visible.visible(text))
    assert visible.visible(f"a{text}b").encode().decode("unicode_escape") == f"a{text}b"


@pytest.mark.parametrize("text", READ, ids=ascii)
def test_what_is_read_stays(text):
    assert visible.visible(text) == visible.in_json(text) == text


@given(st.text())
def test_once_is_enough_and_json_says_the_same(text):
    assert visible.visible(visible.visible(text)) == visible.visible(text)
    assert json.loads(visible.in_json(json.dumps(text, ensure_ascii=False))) == text


def printed(monkeypatch, print_it) -> str:
    """What a terminal is sent, without rich's own colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", out)
    print_it()
    return out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


WAYS = {
    "table": lambda: output.print_table([EVIL, "b"], [[EVIL, "1"], ["x", "2"]], title=EVIL),
    "remark": lambda: output.say(EVIL),
    "result": lambda: output.write(EVIL),
    "model's text": lambda: output.write_exactly(EVIL),
    "json": lambda: output.print_json({EVIL: [EVIL]}),
    "warning": lambda: dim_note(EVIL, UserWarning, "file", 1),
    "traceback": lambda: visible_traceback(ValueError, ValueError(EVIL), None),
    "console": lambda: VisibleConsole().print(EVIL, "x"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_terminal(way, monkeypatch):
    out = printed(monkeypatch, WAYS[way]).replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[2m", "")
    assert_harmless(out)
    assert SPELLED in out or way == "json"
    assert "owned" in out


def test_rich_still_colours_and_aligns(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    output.say("red", style="red")
    assert "\x1b[31mred" in out.getvalue()
    monkeypatch.delenv("FORCE_COLOR")
    out = printed(monkeypatch, lambda: output.print_table(["n", "k"], [["\x1b\x1b", "x"], ["고양이", "y"]]))
    assert [line.rstrip()[-1] for line in out.splitlines()[1:]] == ["x", "y"]


@pytest.mark.parametrize("path", sorted(Path(cli.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_only_these_two_files_print_by_other_means(path):
    """`print` and `print_json` of a VisibleConsole, and what is told `console=`, go through it."""
    if path.stem in ("output", "visible"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in ("typer.echo", "typer.secho", "print", "Console", "sys.stdout.write", "sys.stderr.write")
            if name in ("track", "Progress"):
                assert any(keyword.arg == "console" for keyword in node.keywords), f"{path}:{node.lineno}"


def test_stdout_that_is_no_terminal_gets_the_models_text_as_it_is(capsys):
    output.write_exactly(EVIL)
    output.write(EVIL)
    assert capsys.readouterr().out == f"{EVIL}{SPELLED}\n"


@pytest.fixture(scope="module")
def evil_run(tmp_path_factory):
    """A run whose every word, and whose folder, would steer a terminal."""
    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    words = ["\x1b[2Ja", "\x9b31mb", "\u202ec", "d\b\x07"]
    text.write_text("\n".join(" ".join(words) for _ in range(40)), encoding="utf-8", newline="\n")
    run = folder / "run\x1b[31m"
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "lm", "--data", str(text), "--out", str(run), *SMALL])
    assert not left.value.code
    return run, text


def test_a_training_of_such_a_text_says_so_harmlessly(gateflow, evil_run, tmp_path):
    _, text = evil_run
    result = gateflow("train", "lm", "--data", text, "--out", tmp_path / EVIL, *SMALL)
    assert_harmless(result.out + result.err)
    assert SPELLED in result.err


@pytest.mark.parametrize("verb", ["generate", "evaluate", "diagnose", "agreement", "resume"])
@pytest.mark.parametrize("as_json", [False, True])
def test_verbs_on_such_a_run(verb, as_json, gateflow, evil_run, tmp_path):
    run, text = evil_run
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(
        f"construct\tgrammatical\tungrammatical\n{EVIL[:9]}\t\x1b[2Ja \x9b31mb\t\x1b[2Ja \u202ec\n".replace("\r", "")
    )
    words = {"generate": ("--prompt", "\x1b[2Ja"), "evaluate": ("--data", text), "agreement": ("--data", pairs)}
    result = gateflow(verb, run, *words.get(verb, ()), *(["--json"] if as_json else []))
    assert result.code == 0, result.err
    if verb != "generate" or as_json:
        assert_harmless(result.out)
    assert_harmless(result.err)


def test_generate_is_exact_in_a_pipe_and_harmless_on_a_terminal(gateflow, evil_run, monkeypatch):
    run, _ = evil_run
    words = ("generate", run, "--prompt", "\x1b[2Ja", "--length", 30)
    exact = gateflow(*words).out
    assert exact.startswith("\x1b[2Ja")

    def generate():
        with pytest.raises(SystemExit):
            cli.main([str(word) for word in words])

    shown = printed(monkeypatch, generate)
    assert_harmless(shown)
    assert shown == visible.visible(exact)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", EVIL, "--data", "x"),
        ("cells", EVIL),
        (EVIL,),
        ("evaluate", "run", f"--{EVIL}"),
        ("evaluate", "run", "--data", "x", EVIL),
        ("bench", "--rounds", EVIL),
        ("compare", "--task", EVIL, "--updates", "1"),
        ("train", "lm", "--data", EVIL, "--out", "nowhere"),
        ("train", "lm", "--data", "x", "--out", "nowhere", "--clip", EVIL),
        ("train", "lm", "--out", "nowhere", "--config", EVIL),
        ("explain", "lstm", "--stage", EVIL),
        ("diagnose", "--model", EVIL, "--data", EVIL),
        ("remedies", "--only", EVIL),
        ("quickstart", "--cells", f"gru:{EVIL}"),
    ],
    ids=lambda words: words[0] if len(words[0]) < 12 else "verb",
)
def test_complaints(words, gateflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = gateflow(*words)
    assert result.code in (1, 2)
    assert_harmless(result.out + result.err)
    assert r"\x1b" in result.err or "--rounds" in result.err  # which typer does not repeat


def test_names_that_are_not_utf_8(gateflow, tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
    result = gateflow("evaluate", name, "--data", name)
    assert result.code == 1
    assert r"caf\udce9" in result.err
