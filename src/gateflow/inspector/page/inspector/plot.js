/* Plotly takes colours, and the page has names of them that differ by light and dark. */
function coloured(value, style) {
  if (typeof value === "string")
    return value.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  if (Array.isArray(value))
    return value.every((x) => typeof x === "number") ? value : value.map((x) => coloured(x, style));
  if (value && typeof value === "object")
    return Object.fromEntries(
      Object.entries(value).map(([k, x]) => [k, k === "z" || k === "text" ? x : coloured(x, style)]),
    );
  return value;
}

const escaped = (text) => shown(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

class Plot {
  constructor(page, label, size = "", tokens = false) {
    this.page = page;
    this.tokens = tokens;
    this.inner = h("div", { style: { height: "100%" } });
    this.cursor = h("div", { class: "cursor", "aria-hidden": "true" });
    this.element = h("div", { class: `plot ${size}`, role: "img", "aria-label": label }, this.inner, this.cursor);
    page.plots.push(this);
  }

  show(label, traces, layout = {}, tokens = null) {
    this.element.setAttribute("aria-label", label);
    this.last = [label, traces, layout, tokens];
    const style = getComputedStyle(this.page.root);
    const axes = {
      gridcolor: "var(--grid)",
      linecolor: "var(--grid)",
      zeroline: false,
      fixedrange: touch,
      automargin: true,
    };
    const xaxis = { ...axes, ...layout.xaxis };
    if (tokens) {
      const every = Math.ceil(tokens.length / 48);
      const places = tokens.map((_, k) => k).filter((k) => k % every === 0);
      const cut = (text) => (text.length > 12 ? `${text.slice(0, 11)}…` : text);
      Object.assign(xaxis, {
        tickvals: places,
        ticktext: places.map((k) => escaped(cut(tokens[k]))),
        tickangle: -60,
        tickfont: { size: 11 },
        range: [-0.5, tokens.length - 0.5],
      });
    }
    const full = {
      font: { family: "system-ui, sans-serif", size: 12, color: "var(--ink)" },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: traces.length > 1,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--mark)", font: { color: "var(--ink)" } },
      margin: { l: 44, r: 10, t: 10, b: 36 },
      ...layout,
      xaxis,
      yaxis: { ...axes, ...layout.yaxis },
    };
    const config = { responsive: true, displayModeBar: false, displaylogo: false };
    globalThis.Plotly.react(this.inner, coloured(traces, style), coloured(full, style), config).then(() =>
      this.point(this.page.pointed ?? null),
    );
    if (tokens && !this.linked) {
      this.linked = true;
      this.inner.on("plotly_hover", (e) => this.page.point(Math.round(e.points[0].x), this));
      this.inner.on("plotly_click", (e) => this.page.choose(Math.round(e.points[0].x)));
    }
  }

  redraw() {
    if (this.last) this.show(...this.last);
  }

  point(k) {
    const axis = this.inner._fullLayout && this.inner._fullLayout.xaxis;
    const there = this.tokens && this.last && this.last[3] && axis && k !== null && k < this.last[3].length;
    this.cursor.style.display = there ? "block" : "none";
    if (there) this.cursor.style.left = `${axis._offset + axis.l2p(k)}px`;
  }
}

/* Plotly reads rgb and no mixtures. */
function mixed(root, colour) {
  const hex = coloured(colour, getComputedStyle(root)).replace("#", "");
  const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},0.22)`;
}
