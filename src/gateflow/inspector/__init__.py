"""The inspector: type a sentence, and see what a recurrent model makes of it. `gateflow inspect RUN [RUN2]`.

    tasks/inspection.py      views/                     session            server/ or notebook      page/
    what a model reads,  ─►  a question, an answer, ─►  answers for    ─►  who may ask,         ─►  one module
    and what it can say      a function each            one run or two     and how                  that asks

* `views/`: what is shown, as pure functions of a `Reading`: one text read by one model. Nothing is measured here that
  `flow` measures: replays, gates, half-lives and reach are its own.
* `session.py` finds the reading that a question is about, `jobs.py` does what takes seconds beside the rest.
* `opening.py` and `server/address.py` refuse what config.toml and the system can tell, before torch is loaded.
* `server/`: `guard.py` (who may ask, and how much), `application.py` (routes), `serve.py` (until Ctrl-C).
* `page/`: HTML, style and one module of JavaScript, which is given who answers: a server, a file, a notebook.
* `export.py`: the same page as one file with its answers. `notebook.py`: in a notebook.

*Boundary:* knows no task; prints nothing. *Invariants:* a page gets text and numbers, never HTML; no file is served
whose name a request says; nothing is answered that the guard has not passed.
"""
