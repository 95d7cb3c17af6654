class Reach extends Panel {
  constructor(page) {
    super(
      page,
      "Reach",
      "How much of the gradient of the loss at each token arrives at each earlier state, as a share of what " +
        "begins. It takes seconds, and runs beside the rest.",
    );
    this.place = h("div");
    this.body.append(
      button("measure", () => this.measure()),
      this.place,
    );
  }

  measure() {
    this.place.replaceChildren(...this.page.runs().map(() => h("div")));
    this.page
      .runs()
      .forEach((run) =>
        work(this.page, this.place.children[run], "reach", this.page.text(run), (answer) => this.shown(answer, run)),
      );
  }

  shown(answer, run) {
    const found = answer.layers.map((layer) => {
      const plot = new Plot(this.page, "reach", "tall", true);
      const z = layer.shares.map((row) => row.map((x) => (x === null ? null : Math.log10(Math.max(x, 1e-6)))));
      const trace = {
        type: "heatmap",
        z,
        y: layer.targets,
        zmin: -6,
        zmax: 0,
        colorscale: [
          [0, "var(--card)"],
          [1, "var(--for)"],
        ],
        colorbar: {
          thickness: 8,
          outlinewidth: 0,
          tickvals: [-6, -4, -2, 0],
          ticktext: ["below 1e-6", "1e-4", "1e-2", "1"],
        },
        hovertemplate: "loss at %{y}, state after %{x}: 10^%{z:.1f}<extra></extra>",
      };
      plot.pending = [
        `reach in ${layer.name}`,
        [trace],
        {
          showlegend: false,
          yaxis: { autorange: "reversed", title: { text: "loss at token" }, showgrid: false },
          xaxis: { showgrid: false },
        },
        layer.tokens,
      ];
      return h(
        "div",
        {},
        h(
          "p",
          { class: "note" },
          `${this.page.about.runs[run].name}, ${layer.name}: 1 % is left ${layer.horizon} tokens back.`,
        ),
        plot.element,
      );
    });
    return h("div", {}, ...found);
  }
}
