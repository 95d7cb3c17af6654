/* Numbers of units, and ranges of them; what is none is told, since all units are held where none is named. */
function unitsIn(text, count) {
  const parts = text.replace(/(\d)\s*[-–]\s*(?=\d)/g, "$1-").split(/[\s,;]+/);
  return parts.filter(Boolean).flatMap((part) => {
    const found = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part);
    const [begin, end] = found ? [Number(found[1]), Number(found[2] ?? found[1])] : [0, -1];
    if (end < begin) throw new Error(`“${part}” is no unit; write numbers and ranges, such as 3, 7, 10-14.`);
    if (end >= count) throw new Error(`there is no unit ${end}: units are 0 to ${count - 1}.`);
    return Array.from({ length: end - begin + 1 }, (_, i) => begin + i);
  });
}

class Intervene extends Panel {
  constructor(page) {
    super(
      page,
      "Intervene",
      "Hold units of the memory at a value, or a gate open (1) or shut (0), over the span, and see what the " +
        "prediction at the chosen place becomes. A state is set after each step of the span, so that it acts " +
        "from the next token on.",
    );
    this.controls = h("div", { class: "controls" });
    this.tables = h("div", { class: "two answer" });
    this.effects = h("div", { class: "answer" });
    this.body.append(this.controls, this.tables, this.effects);
    this.choices();
  }

  choices() {
    const { page } = this,
      { state } = page,
      layer = page.layer(0);
    const units = h("input", {
      class: "word",
      value: state.units,
      placeholder: "all",
      on: { change: () => page.set({ units: units.value }, [this]) },
    });
    replace(
      this.controls,
      labelled(
        "hold",
        choice(
          layer.held,
          page.held(0),
          (x) => page.set({ hold: x, value: layer.states.includes(x) ? 0 : 1 }, [this], true),
          (x) => partName(layer, x),
        ),
      ),
      labelled("units, such as 3, 7-9", units),
      labelled(
        "at",
        number(state.value, (x) => page.set({ value: x }, [this]), { step: "0.1", min: "-1000", max: "1000" }),
      ),
      button("try each unit by itself", () => this.each()),
    );
  }

  held(run) {
    const { page } = this;
    return { layer: page.layer(run).name, part: page.held(run), value: page.state.value, ...page.span() };
  }

  holds(run) {
    const held = this.held(run);
    const units = unitsIn(this.page.state.units || "", this.page.layer(run).parts[held.part]);
    return { ...held, units: [...new Set(units)] };
  }

  async draw(late) {
    const { page } = this,
      { state } = page;
    const about = page.about.runs[0].about;
    if (!page.reads || (about === "next" && state.place === 0))
      return this.tables.replaceChildren(h("p", { class: "note" }, "Choose a later token: nothing is predicted here."));
    const holds = page.runs().map((run) => this.holds(run));
    const watched = (page.attributions || []).map((a) => (a.error ? [] : [a.these, a.those].filter((x) => x !== null)));
    const answers = await Promise.all(
      page
        .runs()
        .map((run) =>
          page.ask("intervention", {
            ...page.text(run),
            place: state.place,
            ...(state.output ? { output: state.output } : {}),
            holds: [holds[run]],
            watched: watched[run] || [],
          }),
        ),
    );
    if (late()) return;
    this.tables.replaceChildren(...answers.map((answer, run) => this.table(answer, run)));
  }

  table(answer, run) {
    const known = new Set(answer.watched.map((w) => w.name));
    const lines = [...answer.watched, ...answer.likeliest.filter((each) => !known.has(each.name))].map((each) => [
      each.name,
      each.before,
      each.after,
    ]);
    const head = h("tr", {}, ...["outcome", "as it is", "held"].map((x) => h("th", { scope: "col" }, x)));
    return h(
      "div",
      {},
      this.page.name(run),
      h(
        "table",
        {},
        head,
        ...lines.map(([name, p, q]) =>
          h(
            "tr",
            {},
            h("td", {}, shown(name)),
            h("td", {}, percent(p)),
            h("td", {}, percent(q)),
            h(
              "td",
              { class: "bars" },
              h("i", { "aria-hidden": "true", style: { "--c": LINES[run], "--p": String(q) } }),
            ),
          ),
        ),
      ),
    );
  }

  each() {
    const { page } = this,
      { state } = page;
    this.effects.replaceChildren(...page.runs().map(() => h("div")));
    page.runs().forEach((run) => {
      const first = (page.attributions || [])[run];
      if (!first || first.error || first.those === null)
        return this.effects.children[run].replaceChildren(
          h("p", { class: "note" }, "Choose two outcomes above, one for and one against."),
        );
      const question = {
        ...page.text(run),
        place: state.place,
        ...(state.output ? { output: state.output } : {}),
        these: first.these,
        those: first.those,
        hold: { ...this.held(run), units: [] },
      };
      work(page, this.effects.children[run], "units", question, (answer) => this.shown(answer, run, first));
    });
  }

  shown(answer, run, first) {
    const plot = new Plot(this.page, "effect of each unit", "low");
    const change = answer.after.map((x) => x - answer.before);
    const order = change.map((_, i) => i).sort((a, b) => Math.abs(change[b]) - Math.abs(change[a]));
    /* What would be written as 0.00 is no effect, and names no unit. */
    const told = order
      .slice(0, 3)
      .filter((i) => Math.abs(change[i]) >= 0.005)
      .map((i) => `unit ${answer.units[i]} (${change[i] > 0 ? "+" : ""}${change[i].toFixed(2)})`)
      .join(", ");
    const trace = {
      type: "bar",
      x: answer.units,
      y: change,
      marker: { color: LINES[run] },
      hovertemplate: "unit %{x}: %{y:.3f}<extra></extra>",
    };
    const element = h(
      "div",
      {},
      this.page.name(run),
      h(
        "p",
        { class: "note" },
        `What becomes of the score of “${first.these}” over “${first.those}” (${answer.before.toFixed(2)}) ` +
          `when one unit is held. ${told ? `Most: ${told}` : "No unit changes it by 0.01"}.`,
      ),
      plot.element,
    );
    plot.pending = [
      "change of the score when each unit is held",
      [trace],
      {
        showlegend: false,
        xaxis: { title: { text: "unit" } },
        yaxis: {
          title: { text: "change" },
          exponentformat: "e",
          range: [Math.min(-0.1, ...change) * 1.1, Math.max(0.1, ...change) * 1.1],
        },
      },
    ];
    return element;
  }
}
