class Memory extends Panel {
  constructor(page) {
    super(
      page,
      "Memory",
      "What the units of a layer hold at each step; a row is a unit. A row of one colour over many words is " +
        "a unit that remembers.",
    );
    this.controls = h("div", { class: "controls" });
    this.plots = page.about.runs.map(() => new Plot(page, "memory", "tall", true));
    this.maps = h(
      "div",
      { class: "two answer" },
      ...this.plots.map((plot, run) => h("div", {}, page.name(run), plot.element)),
    );
    this.note = h("p", { class: "note answer" });
    this.alike = h("div", { class: "answer" });
    this.body.append(this.controls, this.maps, this.note, this.alike);
    this.choices();
  }

  choices() {
    const { page } = this,
      { state } = page;
    const layer = page.layer(0);
    const threshold = number(state.threshold, (x) => page.set({ threshold: x }), { step: "0.1" });
    replace(
      this.controls,
      labelled(
        "layer",
        choice(
          page.layers(0).map((l) => l.name),
          layer.name,
          (x) => {
            page.set({ layer: x, part: null });
            this.choices();
          },
        ),
      ),
      labelled(
        "part",
        choice(
          Object.keys(layer.parts),
          page.part(0),
          (x) => page.set({ part: x }),
          (x) => partName(layer, x),
        ),
      ),
      labelled(
        "order",
        choice(
          ["half-life", "correlation", "number"],
          state.order,
          (x) => page.set({ order: x }),
          (x) => (x === "correlation" ? "correlation with the span" : x),
        ),
      ),
      labelled(
        "units",
        choice(
          ["16", "64", "4096"],
          String(state.most),
          (x) => page.set({ most: Number(x) }),
          (x) => (x === "4096" ? "all" : `first ${x}`),
        ),
      ),
      labelled("on above", threshold),
      button("spans that look alike", () => this.search()),
    );
    this.equation = h(
      "details",
      {},
      h("summary", {}, `equations of ${layer.cell}`),
      h("pre", { tabIndex: 0 }, layer.equation),
    );
    this.controls.append(this.equation);
  }

  async draw(late) {
    const { page } = this,
      { state } = page,
      span = page.span();
    const whole = span.end - span.begin >= page.reads?.[0]?.tokens.length;
    const more = {
      order: state.order === "correlation" && whole ? "number" : state.order,
      most: state.most,
      ...(whole ? {} : { span }),
    };
    const answers = await Promise.all(
      page
        .runs()
        .map((run) =>
          page.ask("memory", { ...page.text(run), layer: page.layer(run).name, part: page.part(run), ...more }),
        ),
    );
    if (late()) return;
    /* One colour scale for all states, even around 0; a gate has its own, and only one run may have this gate. */
    const gates = answers.map((_, run) => page.layer(run).kinds[page.part(run)] === "sigmoid");
    const states = answers.filter((_, run) => !gates[run]);
    const most = Math.max(1e-6, ...states.flatMap((answer) => answer.values.flatMap((row) => row.map(Math.abs))));
    answers.forEach((answer, run) => this.map(answer, run, gates[run] ? [0, 1] : [-most, most], gates[run]));
    const told = answers.map((answer, run) => {
      const colours = gates[run] ? "0 (shut) to 1 (open)" : `${(-most).toFixed(2)} to ${most.toFixed(2)}`;
      return `${page.part(run)} of ${answer.units.length} of ${answer.count} units, colours from ${colours}`;
    });
    const name = (run) => page.about.runs[run].name;
    const alike = told.every((text) => text === told[0]);
    const shownOf = alike ? told[0] : told.map((text, run) => `${name(run)}: ${text}`).join("; ");
    this.note.textContent = `${shownOf}. The span (${span.begin + 1} to ${span.end}) is what units are correlated with.`;
  }

  map(answer, run, [zmin, zmax], gate) {
    const told = (i) =>
      `unit ${answer.units[i]}` +
      (answer.half_lives[i] === null ? "" : `, half-life ${short(answer.half_lives[i])}`) +
      (answer.correlations ? `, r = ${answer.correlations[i].toFixed(2)}` : "");
    const rows = answer.units.map((_, i) => told(i));
    const scale = gate
      ? [
          [0, "var(--card)"],
          [1, "var(--for)"],
        ]
      : [
          [0, "var(--against)"],
          [0.5, "var(--card)"],
          [1, "var(--for)"],
        ];
    const text = answer.values.map((row, i) => row.map((z, k) => `${escaped(answer.tokens[k])}<br>${rows[i]}<br>${z}`));
    const trace = {
      type: "heatmap",
      z: answer.values,
      zmin,
      zmax,
      colorscale: scale,
      text,
      hovertemplate: "%{text}<extra></extra>",
      colorbar: { thickness: 8, len: 1, outlinewidth: 0 },
    };
    const every = Math.ceil(answer.units.length / 24);
    const places = answer.units.map((_, i) => i).filter((i) => i % every === 0);
    const yaxis = {
      autorange: "reversed",
      tickvals: places,
      ticktext: places.map((i) => String(answer.units[i])),
      title: { text: "unit" },
      showgrid: false,
    };
    this.plots[run].show(
      `${this.page.part(run)} of ${answer.units.length} units over ${answer.tokens.length} tokens, ` +
        this.page.about.runs[run].name,
      [trace],
      { yaxis, xaxis: { showgrid: false } },
      answer.tokens,
    );
  }

  search() {
    const { page } = this;
    const question = {
      ...page.text(0),
      layer: page.layer(0).name,
      part: page.part(0),
      threshold: page.state.threshold,
      span: page.span(),
    };
    work(page, this.alike, "alike", question, (answer) => this.found(answer));
  }

  found(answer) {
    const { page } = this;
    const line = (found) => {
      const words = found.tokens.map((token, k) =>
        k >= found.begin && k < found.end ? h("mark", {}, shown(token)) : shown(token),
      );
      return h(
        "li",
        {},
        `${percent(found.match)} `,
        button("read", () =>
          page.set({ example: found.example, text: null, place: null, begin: found.begin, end: found.end }),
        ),
        " ",
        ...words.flatMap((word) => [word, " "]),
      );
    };
    return h(
      "div",
      {},
      h(
        "p",
        { class: "note" },
        `Units on over the whole span: ${answer.units.join(", ")}. Below, the spans of the run's own examples in ` +
          "which most of these are on, and few others.",
      ),
      h("ul", { class: "found" }, ...answer.found.map(line)),
    );
  }
}
