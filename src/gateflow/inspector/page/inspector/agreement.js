class Agreement extends Panel {
  constructor(page) {
    super(
      page,
      "Agreement",
      "A sentence of the grammar, up to its verb. Change the number of the subject or the distance to it: " +
        "does the verb follow?",
    );
    const { state } = page;
    this.distance = h("input", {
      type: "range",
      min: "1",
      max: "60",
      value: String(state.distance),
      on: {
        input: () => {
          this.told.textContent = this.distance.value;
          page.set({ distance: Number(this.distance.value) }, [this]);
        },
      },
    });
    this.told = h("output", {}, String(state.distance));
    this.plural = choice(
      ["as drawn", "singular", "plural"],
      state.plural === null ? "as drawn" : state.plural ? "plural" : "singular",
      (x) => page.set({ plural: x === "as drawn" ? null : x === "plural" }, [this]),
    );
    this.seed = number(state.seed, (x) => page.set({ seed: x }, [this]), { min: "0" });
    this.tables = h("div");
    this.plot = new Plot(page, "agreement by distance", "low");
    this.body.append(
      h(
        "div",
        { class: "controls" },
        labelled("words from subject to verb", h("span", {}, this.distance, " ", this.told), "wide"),
        labelled("subject", this.plural),
        labelled("number of the sentence", this.seed),
        button("read it above", () => this.read()),
      ),
      this.tables,
      h(
        "p",
        { class: "note" },
        "Below, P(right) of both forms of the verb together, by distance, the mean over six sentences. " +
          "Guessing is right in half.",
      ),
      this.plot.element,
    );
  }

  sentence() {
    const {
      subject,
      forms: [form],
    } = this.answers[0];
    return {
      text: form.text,
      example: null,
      place: null,
      these: form.right,
      those: form.wrong,
      all: false,
      begin: subject,
      end: subject + 1,
    };
  }

  read() {
    this.page.set(this.sentence());
  }

  async begin() {
    const run = this.page.runs().find((each) => this.page.about.runs[each].agreement);
    this.answers = [await this.page.ask("agreement", this.question(run))];
    Object.assign(this.page.state, this.sentence());
  }

  question(run) {
    const { seed, distance, plural } = this.page.state;
    return { run, seed, distance, ...(plural === null ? {} : { plural }) };
  }

  async draw(late) {
    const { page } = this,
      { state } = page;
    const runs = page.runs().filter((run) => page.about.runs[run].agreement);
    this.answers = await Promise.all(runs.map((run) => page.ask("agreement", this.question(run))));
    if (late()) return;
    const words = this.answers[0].forms[0].text.split(" "),
      subject = words.length - state.distance;
    const row = (answer, run, form) =>
      h(
        "tr",
        {},
        h("td", {}, page.about.runs[run].name),
        h("td", {}, form.plural ? "plural" : "singular"),
        h("td", {}, `${form.right} ${percent(form.p_right)}`),
        h("td", {}, `${form.wrong} ${percent(form.p_wrong)}`),
        h("td", {}, percent(form.share)),
        h(
          "td",
          { class: "bars" },
          h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--p": String(form.share) } }),
        ),
      );
    const head = h(
      "tr",
      {},
      ...["run", "subject", "right", "wrong", "right of both", ""].map((x) =>
        x ? h("th", { scope: "col" }, x) : h("td", {}),
      ),
    );
    const sentence = h("p", {}, ...words.flatMap((word, k) => [k === subject ? h("b", {}, word) : word, " "]), "…");
    this.tables.replaceChildren(
      sentence,
      h(
        "div",
        { style: { "overflow-x": "auto" }, tabIndex: 0, role: "region", "aria-label": "verbs" },
        h(
          "table",
          {},
          head,
          ...this.answers.flatMap((answer, i) => answer.forms.map((form) => row(answer, runs[i], form))),
        ),
      ),
    );
    const curves = await Promise.all(runs.map((run) => page.ask("distances", { run })));
    if (late()) return;
    const traces = curves.map((curve, i) => ({
      x: curve.distances,
      y: curve.share,
      name: page.about.runs[runs[i]].name,
      mode: "lines+markers",
      line: { color: LINES[runs[i]], dash: ["solid", "dash"][runs[i]] },
    }));
    this.plot.show("share of the right verb by distance", traces, {
      showlegend: true,
      yaxis: { range: [0, 1.03], title: { text: "right of both" } },
      xaxis: { title: { text: "words from subject to verb" } },
    });
  }
}
