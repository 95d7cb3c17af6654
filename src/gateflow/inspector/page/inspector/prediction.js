class Prediction extends Panel {
  constructor(page) {
    super(
      page,
      "Reaches back",
      "What is expected at the chosen place. Tokens above are coloured by what each adds to the score of " +
        "the first outcome over the second: the gradient with respect to what was read, times what was read. " +
        "A gradient tells of small changes, and of a saturated unit it may tell little: Intervene proves what " +
        "it suggests.",
    );
    this.tables = h("div", { class: "two" });
    this.these = h("input", { class: "word", on: { change: () => this.contrast() } });
    this.those = h("input", { class: "word", on: { change: () => this.contrast() } });
    this.all = h("input", { type: "checkbox", on: { change: () => page.set({ all: this.all.checked }) } });
    this.said = h("p", { class: "note answer" });
    const outputs = Object.keys(page.about.runs[0].outputs);
    const output =
      outputs.length > 1
        ? labelled(
            "of",
            choice(outputs, page.state.output, (x) => page.set({ output: x, these: null, those: null })),
          )
        : null;
    this.body.append(
      this.tables,
      h(
        "div",
        { class: "controls" },
        output,
        labelled("for", this.these),
        labelled("against", this.those),
        labelled("log p of the first alone", this.all, "check"),
        button("likeliest", () => page.set({ these: null, those: null, all: false })),
      ),
      this.said,
    );
  }

  contrast() {
    this.page.set({ these: this.these.value || null, those: this.those.value || null });
  }

  async draw(late) {
    const { page } = this,
      { state } = page;
    if (!page.reads) return;
    if (page.about.runs[0].about === "next" && state.place === 0) {
      this.said.textContent = "Nothing is predicted here: nothing has been read before it. Choose a later place.";
      this.tables.replaceChildren();
      page.attributions = null;
      return page.paint();
    }
    const answers = await page.compared(state.place, (question) => page.ask("attribution", question));
    if (late()) return;
    page.attributions = answers;
    const output = state.output || Object.keys(page.about.runs[0].outputs)[0];
    replace(this.tables, ...page.reads.map((read, run) => this.table(read, run, output)));
    const first = answers.find((answer) => !answer.error);
    page.paint();
    if (!first) throw answers[0].error;
    if (document.activeElement !== this.these) this.these.value = first.these;
    if (document.activeElement !== this.those) this.those.value = first.those ?? "";
    this.all.checked = Boolean(state.all);
    this.said.textContent = this.scores(answers);
  }

  /* Said once of all runs where all were asked about the same outcomes; else each run's own outcomes are named. */
  scores(answers) {
    const name = (run) => this.page.about.runs[run].name;
    const of = ({ these, those }) =>
      those === null ? `log p of “${these}”` : `Score of “${these}” over “${those}”`;
    const kinds = new Set(answers.filter((answer) => !answer.error).map(of));
    const one = kinds.size === 1 ? [...kinds][0] : null;
    const told = answers.map((answer, run) => {
      if (answer.error) return `${name(run)}: ${answer.error.message.replace(/\.$/, "")}`;
      return `${name(run)}: ${one ? "" : `${of(answer)} `}${answer.value.toFixed(3)}`;
    });
    return `${one ? `${one}: ` : ""}${told.join("; ")}.`;
  }

  table(read, run, output) {
    const rows = (read.rows && read.rows[output]) || [];
    const row = this.page.about.runs[run].about === "whole" ? rows[0] : rows[this.page.state.place];
    if (!row) return h("p", { class: "note" }, "Nothing is predicted here: nothing has been read before it.");
    const lines = row.best.concat(row.came && !row.best.some((b) => b.number === row.came.number) ? [row.came] : []);
    const cells = (likely) => [
      h("td", {}, shown(likely.name), row.came && row.came.number === likely.number ? " ← came" : ""),
      h("td", {}, output === "number" ? likely.p.toPrecision(4) : percent(likely.p)),
      h(
        "td",
        { class: "bars" },
        h("i", {
          "aria-hidden": "true",
          style: { "--c": LINES[run], "--p": String(Math.min(1, Math.max(0, likely.p))) },
        }),
      ),
      h(
        "td",
        {},
        button("for", () => this.page.set({ these: likely.name }), { "aria-label": `for ${likely.name}` }),
        " ",
        button("against", () => this.page.set({ those: likely.name, all: false }), {
          "aria-label": `against ${likely.name}`,
        }),
      ),
    ];
    return h("div", {}, this.page.name(run), h("table", {}, ...lines.map((likely) => h("tr", {}, ...cells(likely)))));
  }
}
