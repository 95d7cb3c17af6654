"""What the user reads when something fails, and the exit code."""

import errno
import logging

import pytest

from gateflow.cli.failures import Notes, TwoLines, dim_note, exit_code, message
from gateflow.errors import ConfigError, DataError, ReferencePathWarning, RunError, UnknownCellError

AGAIN = "\nRun the command again with --debug to see where."
GO_ON = "a run goes on from its last checkpoint with `gateflow resume RUN`"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(""), 2),
        (UnknownCellError(""), 2),
        (RunError(""), 1),
        (DataError(""), 1),
        (ValueError(""), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("no run here."), "gateflow: no run here."),
        (OSError(errno.EACCES, "Permission denied", "/etc/x"), "gateflow: Permission denied: /etc/x."),
        (
            ValueError("first\nsecond"),
            "gateflow: unexpected ValueError: first" + AGAIN,
        ),
        (
            KeyError(),
            "gateflow: unexpected KeyError: no further words" + AGAIN,
        ),
        (
            RuntimeError("can't allocate memory: 9 bytes\nmore"),
            "gateflow: there is not enough memory for this (can't allocate memory: 9 bytes); choose smaller sizes.",
        ),
        (
            RuntimeError("[/__w/pytorch/pair.cc:553] Connection closed by peer [127.0.0.1]:3. GLHF!"),
            "gateflow: another process of this training has ended, and says why; then gateflow resume goes on.",
        ),
        (MemoryError(), "gateflow: there is not enough memory for this (no further words); choose smaller sizes."),
        (
            KeyboardInterrupt(),
            "gateflow: stopped at once; a run goes on from its last checkpoint with `gateflow resume RUN`.",
        ),
    ],
)
def test_messages(error, text):
    assert message(error) == text


def test_an_exit_passes_through_and_debug_lets_the_error_out(capsys):
    with pytest.raises(SystemExit) as left, TwoLines(debug=False):
        raise SystemExit(7)
    assert left.value.code == 7
    with pytest.raises(RunError, match="as it is"), TwoLines(debug=True):
        raise RunError("as it is")
    assert capsys.readouterr().err == ""


def test_a_warning_is_one_line(capsys):
    dim_note(ReferencePathWarning("a layer runs on the reference loop"), ReferencePathWarning, "file.py", 3)
    assert capsys.readouterr().err == "note: a layer runs on the reference loop\n"


def test_what_the_library_has_to_tell_is_a_note_and_told_once(capsys):
    logger = logging.getLogger("gateflow.tasks.anything")
    with Notes().shown():
        for _ in range(2):
            logger.info("%d of 7 words have a vector", 3)
        logger.debug("nobody reads this")
    logger.info("nor this, outside of a command")
    assert capsys.readouterr() == ("", "note: 3 of 7 words have a vector\n")
