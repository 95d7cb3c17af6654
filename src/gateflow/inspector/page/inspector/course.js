class Course extends Panel {
  constructor(page) {
    super(
      page,
      "Training",
      "The course of the training: loss, share of clipped updates, and, if a monitor took part, how far the " +
        "gradient reached. It grows while the run trains.",
    );
    this.loss = new Plot(page, "loss", "low");
    this.clip = new Plot(page, "clipping", "low");
    this.horizon = new Plot(page, "horizon", "low");
    this.body.append(this.loss.element, h("div", { class: "two" }, this.clip.element, this.horizon.element));
    const begin = () => {
      this.failed.textContent = "";
      this.records = page.about.runs.map(() => ({ training: [], validation: [], flow: [] }));
    };
    const failed = (said) => {
      this.failed.textContent = said;
    };
    begin();
    page.stops.push(
      page.source.course((run, more) => {
        Object.keys(more).forEach((kind) => this.records[run][kind].push(...more[kind]));
        this.show();
        page.remember("course", { run }, more);
      }, begin, failed),
    );
  }

  async draw() {}

  show() {
    const { page } = this;
    const lines = (kind, key, dash = "solid", name = "") =>
      this.records
        .map((records, run) => {
          const there = records[kind].filter((record) => typeof record[key] === "number");
          return {
            x: there.map((r) => r.step),
            y: there.map((r) => r[key]),
            name: `${page.about.runs[run].name}${name}`,
            mode: there.length > 1 ? "lines" : "markers",
            line: { color: LINES[run], dash },
          };
        })
        .filter((trace) => trace.x.length);
    const put = (plot, label, traces, title, more = {}) => {
      plot.element.hidden = !traces.length;
      if (traces.length)
        plot.show(label, traces, {
          showlegend: true,
          yaxis: { title: { text: title }, ...more },
          xaxis: { title: { text: "update" } },
        });
    };
    put(
      this.loss,
      "loss by update",
      [...lines("training", "loss"), ...lines("validation", "loss", "dot", ", validation")],
      "loss",
    );
    put(this.clip, "share of clipped updates", lines("training", "clipped"), "clipped", { rangemode: "tozero" });
    put(this.horizon, "horizon by update", lines("flow", "horizon"), "horizon", { rangemode: "tozero" });
  }
}
