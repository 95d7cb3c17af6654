class Gates extends Panel {
  constructor(page) {
    super(
      page,
      "Gates",
      "How open each gate is, token by token: the mean over units, and the band in which eight of ten lie. " +
        "Half-lives: steps in which a unit's memory halves, if nothing is written.",
    );
    this.plots = page.about.runs.map(() => new Plot(page, "gates", "", true));
    this.lives = new Plot(page, "half-lives", "low");
    this.note = h("p", { class: "note" });
    this.body.className = "answer";
    this.body.append(
      ...this.plots.map((plot, run) => h("div", {}, page.name(run), plot.element)),
      this.note,
      this.lives.element,
    );
  }

  async draw(late) {
    const { page } = this;
    const answers = await Promise.all(
      page.runs().map((run) => page.ask("gates", { ...page.text(run), layer: page.layer(run).name })),
    );
    if (late()) return;
    answers.forEach((answer, run) => this.bands(answer, run));
    const lives = answers
      .map((answer, run) => ({
        type: "scatter",
        mode: "lines",
        name: page.about.runs[run].name,
        line: { color: LINES[run], dash: ["solid", "dash"][run], width: 2 },
        y: answer.half_lives.map((x) => (x === null ? null : Math.max(x, 0.01))),
      }))
      .filter((trace) => trace.y.length);
    this.lives.element.hidden = !lives.length;
    const told = (answer, run) => {
      const [longest, half] = [answer.half_lives[0], answer.half_lives[answer.half_lives.length >> 1]];
      const name = page.about.runs[run].name;
      return `${name}: ${short(half)} in the middle, ${short(longest)} at most, decided by the ${answer.keeper} gate`;
    };
    const middle = answers.map((answer, run) => (answer.half_lives.length ? told(answer, run) : "")).filter(Boolean);
    this.note.textContent = middle.length
      ? `Half-lives in steps, from the longest to the shortest. ${middle.join("; ")}.`
      : "No gate of this cell keeps its memory, so there are no half-lives.";
    if (lives.length)
      this.lives.show("half-lives of units, sorted", lives, {
        yaxis: { type: "log", title: { text: "half-life" } },
        xaxis: { title: { text: "units, sorted" } },
      });
  }

  /* A strip for each gate, one below the other: bands in one plot would hide each other. */
  bands(answer, run) {
    const x = answer.tokens.map((_, k) => k),
      count = answer.gates.length,
      layout = { showlegend: false, xaxis: { anchor: `y${count > 1 ? count : ""}` }, annotations: [] };
    const traces = answer.gates.flatMap((gate, i) => {
      const axis = i ? `y${i + 1}` : "y",
        colour = LINES[i % LINES.length];
      const top = 1 - i / count,
        low = { sigmoid: 0, tanh: -1 }[gate.kind];
      layout[`yaxis${i ? i + 1 : ""}`] = {
        domain: [top - 0.86 / count, top],
        range: low === undefined ? undefined : [low - 0.05, 1.05],
        nticks: 3,
        zeroline: false,
        gridcolor: "var(--grid)",
        fixedrange: true,
      };
      layout.annotations.push({
        xref: "paper",
        yref: "paper",
        x: 0,
        y: top,
        yshift: 3,
        xanchor: "left",
        yanchor: "middle",
        text: gate.gate === "state" ? "squashed state" : escaped(gate.gate),
        showarrow: false,
        font: { size: 11, color: colour },
      });
      const of = { hoverinfo: "skip", mode: "lines", line: { width: 0, color: colour }, yaxis: axis };
      return [
        { ...of, x, y: gate.low },
        { ...of, x, y: gate.high, fill: "tonexty", fillcolor: mixed(this.page.root, colour) },
        {
          x,
          y: gate.mean,
          yaxis: axis,
          mode: "lines",
          line: { color: colour, width: 2 },
          text: answer.tokens.map(escaped),
          hovertemplate: "%{text}: %{y:.2f}<extra>" + escaped(gate.gate) + "</extra>",
        },
      ];
    });
    this.plots[run].element.style.height = `${5 + 4.2 * count}rem`;
    this.plots[run].show(
      `gates of ${this.page.layer(run).name}, ${this.page.about.runs[run].name}`,
      traces,
      layout,
      answer.tokens,
    );
  }
}
