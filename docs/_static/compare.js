// The comparison of functions. What they compute is in functions.js, which is made of the catalogue.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("fa-compare");
  if (!root) return;

  const MOST = 4;
  const WIDTH = 360, HEIGHT = 260, MARGIN = { left: 44, right: 10, top: 10, bottom: 26 };
  // A network's layers, and how many inputs go through it.
  const UNITS = 48, INPUTS = 32;
  const LAYERS = [
    { key: "signal", title: "Size of the signal after each layer", log: true },
    { key: "gradient", title: "Size of the gradient that arrives at each layer", log: true },
    { key: "dead", title: "Dead units in each layer, %", log: false },
  ];

  const state = { chosen: [], half: 4, at: 1, depth: 30, scale: Math.SQRT2, bias: 0 };

  // --- elements ---------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const svg = ["svg", "path", "text", "circle"].includes(tag);
    const made = svg
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  function slider(label, value, { min, max, step }, change, about = "") {
    const range = element("input", { type: "range", min, max, step, "aria-label": `${label}, slider` });
    const number = element("input", { type: "number", step, "aria-label": label });
    range.value = number.value = value;
    range.addEventListener("input", () => { number.value = range.value; change(+range.value); });
    number.addEventListener("input", () => {
      if (number.value === "") return;
      range.value = number.value;
      change(+number.value);
    });
    return element("label", { title: about }, label, range, number);
  }

  // --- what is chosen, also in the address -------------------------------------------------------

  function choose(name, given = {}) {
    const values = {};
    for (const p of fastactFunctions[name].parameters) values[p.name] = given[p.name] ?? p.value;
    return { name, values };
  }

  function read() {
    const items = decodeURIComponent(location.hash.slice(1)).split(",").filter(Boolean);
    const chosen = items.map((item) => {
      const [name, parameters = ""] = item.split(":");
      if (!Object.hasOwn(fastactFunctions, name)) return null;
      const pairs = parameters.split(";").filter(Boolean).map((pair) => pair.split("="));
      const numbers = pairs.map(([key, value]) => [key, Number(value)]);
      return choose(name, Object.fromEntries(numbers.filter(([, n]) => Number.isFinite(n))));
    });
    return chosen.filter(Boolean).slice(0, MOST);
  }

  function address() {
    return state.chosen.map(({ name, values }) => {
      const changed = fastactFunctions[name].parameters.filter((p) => values[p.name] !== p.value);
      const listed = changed.map((p) => `${p.name}=${values[p.name]}`).join(";");
      return listed ? `${name}:${listed}` : name;
    }).join(",");
  }

  function functions() {
    return state.chosen.map(({ name, values }, i) => {
      const entry = fastactFunctions[name];
      const given = entry.parameters.map((p) => values[p.name]);
      const twins = state.chosen.filter((other) => other.name === name).length > 1;
      return {
        name: twins ? `${name} (${i + 1})` : name,
        problem: violated(entry, values),
        value: (x) => entry.formula(x, ...given),
        slope: (x) => entry.derivative(x, ...given),
        look: `ink-${i}`,
      };
    });
  }

  function violated({ constraints }, values) {
    for (const [small, large] of constraints) {
      const [a, b] = [small, large].map((side) => values[side] ?? side);
      if (a > b) return `${large} must be at least ${small}`;
    }
    return "";
  }

  // --- charts ------------------------------------------------------------------------------------

  function at(frame, x, y) {
    const right = (x - frame.x0) / (frame.x1 - frame.x0), up = (y - frame.y0) / (frame.y1 - frame.y0);
    return [
      MARGIN.left + right * (WIDTH - MARGIN.left - MARGIN.right),
      HEIGHT - MARGIN.bottom - up * (HEIGHT - MARGIN.top - MARGIN.bottom),
    ];
  }

  const pair = (point) => point.map((number) => number.toFixed(2)).join(" ");

  function chart(svg, frame, curves, label) {
    svg.replaceChildren();
    svg.setAttribute("aria-label", label);
    Object.assign(svg.dataset, frame, {
      left: MARGIN.left, top: MARGIN.top, right: WIDTH - MARGIN.right, bottom: HEIGHT - MARGIN.bottom,
    });
    let grid = "";
    const mark = (x, y, text, anchor) => svg.append(element("text", { x, y, "text-anchor": anchor }, text));
    for (const x of ticks(frame.x0, frame.x1)) {
      grid += `M${pair(at(frame, x, frame.y0))}L${pair(at(frame, x, frame.y1))}`;
      mark(at(frame, x, 0)[0], HEIGHT - 8, format(x), "middle");
    }
    for (const y of ticks(frame.y0, frame.y1)) {
      grid += `M${pair(at(frame, frame.x0, y))}L${pair(at(frame, frame.x1, y))}`;
      mark(MARGIN.left - 6, at(frame, 0, y)[1] + 4, frame.log ? power(y) : format(y), "end");
    }
    svg.prepend(element("path", { class: "grid", d: grid }));
    for (const { look, points, name } of curves) {
      const d = path(frame, points);
      svg.append(element("path", { class: `curve ${look}`, d, "data-name": name }));
    }
  }

  function path(frame, points) {
    let d = "", drawing = false;
    points.forEach(([x, y], i) => {
      const inside = Number.isFinite(y) && y >= frame.y0 && y <= frame.y1;
      const before = points[i - 1];
      if (before && Number.isFinite(y) && Number.isFinite(before[1]) && inside !== drawing) {
        const edge = Math.max(y, before[1]) > frame.y1 ? frame.y1 : frame.y0;
        const crossing = before[0] + ((x - before[0]) * (edge - before[1])) / (y - before[1]);
        d += `${inside ? "M" : "L"}${pair(at(frame, crossing, edge))}`;
        drawing = inside;
      }
      if (inside) d += `${drawing ? "L" : "M"}${pair(at(frame, x, y))}`;
      drawing = inside;
    });
    return d;
  }

  function ticks(low, high) {
    const rough = (high - low) / 6, base = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * base).find((s) => s >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
    return found;
  }

  const format = (number) => String(+number.toPrecision(4));
  const DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const power = (n) => {
    const digits = String(Math.abs(n)).replace(/\d/g, (digit) => DIGITS[digit]);
    return Number.isInteger(n) ? `10${n < 0 ? "⁻" : ""}${digits}` : "";
  };

  // Points of a curve, with a gap where it jumps: halved towards the change, that does not shrink.
  function sample(f, low, high, n = 400) {
    const points = [];
    for (let i = 0; i <= n; i++) {
      const x = low + ((high - low) * i) / n, y = f(x);
      if (i) {
        const jump = between(f, points.at(-1), [x, y]);
        if (jump) points.push(jump[0], [jump[1][0], NaN], jump[1]);
      }
      points.push([x, y]);
    }
    return points;
  }

  function between(f, a, b) {
    if (Math.abs(b[1] - a[1]) < 1e-3) return null;
    for (let i = 0; i < 30; i++) {
      const x = (a[0] + b[0]) / 2, middle = [x, f(x)];
      if (Math.abs(middle[1] - a[1]) > Math.abs(b[1] - middle[1])) b = middle;
      else a = middle;
    }
    return Math.abs(b[1] - a[1]) > 1e-3 ? [a, b] : null;
  }

  function around(curves, half) {
    let low = -0.25, high = 1.1;
    for (const { points } of curves) {
      for (const [, y] of points) {
        if (!Number.isFinite(y)) continue;
        low = Math.min(low, Math.max(y, -1.1 * half));
        high = Math.max(high, Math.min(y, 1.1 * half));
      }
    }
    const room = 0.05 * (high - low);
    return { y0: low - room, y1: high + room };
  }

  // --- a signal through many layers ---------------------------------------------------------------

  // Normally distributed numbers that are the same in every browser (mulberry32, Box and Muller).
  function normal(seed) {
    const uniform = () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  }

  function matrix(rows, columns, seed) {
    const draw = normal(seed);
    return Float64Array.from({ length: rows * columns }, draw);
  }

  const weights = [];
  const size = (a) => Math.sqrt(a.reduce((sum, x) => sum + x * x, 0) / a.length);

  function product(a, w, factor, transposed) {
    const result = new Float64Array(a.length);
    for (let row = 0; row < INPUTS; row++) {
      for (let k = 0; k < UNITS; k++) {
        const x = factor * a[row * UNITS + k];
        for (let j = 0; j < UNITS; j++) {
          result[row * UNITS + j] += x * (transposed ? w[j * UNITS + k] : w[k * UNITS + j]);
        }
      }
    }
    return result;
  }

  function propagate({ value, slope }) {
    const { depth, scale, bias } = state;
    while (weights.length < depth) weights.push(matrix(UNITS, UNITS, weights.length + 7));
    const factor = scale / Math.sqrt(UNITS);
    const slopes = [], signal = [], gradient = [], dead = [];
    let a = matrix(INPUTS, UNITS, 1);
    for (let layer = 0; layer < depth; layer++) {
      const z = product(a, weights[layer], factor, false).map((x) => x + bias);
      a = z.map(value);
      const s = z.map(slope);
      slopes.push(s);
      signal.push(size(a));
      let count = 0;
      for (let j = 0; j < UNITS; j++) {
        let active = false;
        for (let row = 0; row < INPUTS; row++) active ||= s[row * UNITS + j] !== 0;
        count += !active;
      }
      dead.push((100 * count) / UNITS);
    }
    let g = matrix(INPUTS, UNITS, 2);
    for (let layer = depth - 1; layer >= 0; layer--) {
      g = product(g.map((x, i) => (slopes[layer][i] === 0 ? 0 : x * slopes[layer][i])),
        weights[layer], factor, true);
      gradient.unshift(size(g));
    }
    return { signal, gradient, dead };
  }

  function layerCharts(active) {
    const found = active.map((f) => ({ ...f, ...propagate(f) }));
    for (const { key, title, log } of LAYERS) {
      const curves = found.map((f) => ({
        look: f.look,
        name: f.name,
        points: f[key].map((y, i) => [i + 1, log ? Math.log10(y) : y]),
      }));
      const values = curves.flatMap((c) => c.points.map(([, y]) => y)).filter(Number.isFinite);
      const low = Math.max(Math.min(...values, log ? -1 : 0), -16);
      const high = log ? Math.min(Math.max(...values, 1), 16) : 100;
      const frame = { x0: 1, x1: state.depth, y0: Math.floor(low), y1: Math.ceil(high), log: log || "" };
      chart(charts[key], frame, curves, `${title}: ${active.map((f) => f.name).join(", ")}`);
    }
    verdicts.replaceChildren(...found.map((f) => element("li", {}, verdict(f))));
  }

  function verdict({ name, signal, gradient, dead }) {
    const dying = dead.reduce((sum, share) => sum + share, 0) / dead.length;
    return `${name}: after ${state.depth} layers the signal has a size of ${scientific(signal.at(-1))}` +
      ` (${word(signal.at(-1))}); the gradient that arrives at the first layer, ` +
      `${scientific(gradient[0])} (${word(gradient[0])}); ${dying.toFixed(0)} % of the units are dead.`;
  }

  const scientific = (x) =>
    x === 0 || (x >= 0.01 && x < 1000) || !Number.isFinite(x) ? String(+x.toPrecision(2)) : x.toExponential(0);
  const word = (x) =>
    !(x < 1e3) ? "exploding" : x < 1e-3 ? "vanishing" : "stable";

  // --- the page ----------------------------------------------------------------------------------

  const controls = element("div", { class: "controls" });
  const readings = element("tbody");
  const verdicts = element("ul");
  const charts = {};

  function figure(key, title) {
    charts[key] = element("svg", { class: "fa-plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    charts[key].dataset.chart = key;
    return element("figure", {}, element("figcaption", {}, title), charts[key]);
  }

  function fields(index) {
    const chosen = state.chosen[index];
    const menu = element("select", { "aria-label": `Function ${index + 1}` });
    const families = Map.groupBy
      ? Map.groupBy(Object.keys(fastactFunctions), (name) => fastactFunctions[name].family)
      : Object.keys(fastactFunctions).reduce((groups, name) => {
          const { family } = fastactFunctions[name];
          return groups.set(family, [...(groups.get(family) ?? []), name]);
        }, new Map());
    for (const [family, names] of families) {
      menu.append(element("optgroup", { label: family }, ...names.map((name) => element("option", {}, name))));
    }
    menu.value = chosen.name;
    menu.addEventListener("change", () => {
      state.chosen[index] = choose(menu.value);
      rebuild();
      controls.querySelectorAll("select")[index].focus();
    });
    const swatch = element("svg", { class: "fa-swatch", viewBox: "0 0 28 8", "aria-hidden": "true" },
      element("path", { class: `curve ink-${index}`, d: "M0 4H28" }));
    const parameters = fastactFunctions[chosen.name].parameters.map((p) => {
      const reach = Math.max(2, 2 * Math.abs(p.value));
      const bounds = { min: p.value - reach, max: p.value + reach, step: "any" };
      for (const [small, large] of fastactFunctions[chosen.name].constraints) {
        if (large === p.name && typeof small === "number") bounds.min = Math.max(bounds.min, small);
      }
      const change = (value) => { chosen.values[p.name] = value; update(); };
      return slider(p.name, chosen.values[p.name], bounds, change, p.about);
    });
    const remove = element("button", {
      type: "button",
      "aria-label": `Remove ${chosen.name}`,
      onclick: () => { state.chosen.splice(index, 1); rebuild(); },
    }, "Remove");
    return element("fieldset", { "data-index": index },
      element("legend", {}, swatch, chosen.name),
      menu, ...parameters, element("p", { class: "problem", role: "alert" }),
      ...(state.chosen.length > 1 ? [remove] : []));
  }

  function rebuild() {
    const add = element("button", {
      type: "button",
      onclick: () => {
        const unused = Object.keys(fastactFunctions).find((n) => !state.chosen.some((c) => c.name === n));
        state.chosen.push(choose(unused ?? "relu"));
        rebuild();
        [...controls.querySelectorAll("select")].at(-1).focus();
      },
    }, "Add a function");
    controls.replaceChildren(
      ...state.chosen.map((_, index) => fields(index)),
      ...(state.chosen.length < MOST ? [add] : []));
    update();
  }

  function update() {
    const all = functions(), active = all.filter((f) => !f.problem);
    const problems = controls.querySelectorAll(".problem");
    all.forEach((f, i) => { problems[i].textContent = f.problem; });
    const { half } = state;
    for (const which of ["value", "slope"]) {
      const curves = active.map((f) => ({ ...f, points: sample(f[which], -half, half) }));
      const frame = { x0: -half, x1: half, ...around(curves, half) };
      const names = active.map((f) => f.name).join(", ");
      chart(charts[which], frame, curves,
        `${which === "value" ? "Values" : "Derivatives"} of ${names}, for x from ${-half} to ${half}`);
      const top = pair(at(frame, state.at, frame.y1)), bottom = pair(at(frame, state.at, frame.y0));
      charts[which].append(element("path", { class: "reading", d: `M${top}L${bottom}` }));
    }
    readings.replaceChildren(...active.map((f) => element("tr", {},
      element("th", { scope: "row" }, f.name),
      element("td", {}, format(f.value(state.at))),
      element("td", {}, format(f.slope(state.at))))));
    layerCharts(active);
    history.replaceState(null, "", `#${address()}`);
  }

  const setting = (key) => (value) => { state[key] = value; update(); };

  function build() {
    const head = ["function", "f(x)", "f′(x)"].map((t) => element("th", { scope: "col" }, t));
    const window_ = element("select", { "aria-label": "Range of x" },
      ...[2, 4, 8, 16].map((n) => element("option", { value: n }, `x from ${-n} to ${n}`)));
    window_.value = state.half;
    window_.addEventListener("change", () => setting("half")(+window_.value));
    root.replaceChildren(
      controls,
      element("div", { class: "charts" },
        figure("value", "Values"), figure("slope", "Derivatives")),
      element("div", { class: "controls" },
        element("fieldset", {}, element("legend", {}, "Read the curves"),
          window_, slider("at x =", state.at, { min: -8, max: 8, step: 0.05 }, setting("at")))),
      element("table", { class: "table", "aria-live": "polite" },
        element("thead", {}, element("tr", {}, ...head)), readings),
      element("h2", {}, "Through many layers"),
      element("p", {}, `A network of ${UNITS} units in each layer, with random weights, and ${INPUTS} ` +
        "random inputs; the signal goes up through it, and a random gradient down. A unit is dead if " +
        "its derivative is 0 for every input."),
      element("div", { class: "controls" },
        element("fieldset", {}, element("legend", {}, "Network"),
          slider("layers", state.depth, { min: 2, max: 60, step: 1 },
            (n) => setting("depth")(Math.min(60, Math.max(2, Math.round(n))))),
          slider("scale of weights", +state.scale.toFixed(3), { min: 0.2, max: 3, step: "any" },
            setting("scale"), "standard deviation times the square root of the number of units: " +
              "1 is LeCun's and Glorot's, the square root of 2 He's"),
          slider("bias", state.bias, { min: -3, max: 3, step: 0.05 }, setting("bias")))),
      element("div", { class: "charts" }, ...LAYERS.map(({ key, title }) => figure(key, title))),
      element("div", { role: "status" }, verdicts));
    rebuild();
  }

  const linked = read();
  state.chosen = linked.length ? linked : ["relu", "gelu", "tanh"].map((name) => choose(name));
  window.addEventListener("hashchange", () => {
    const found = read();
    if (found.length && location.hash.slice(1) !== address()) { state.chosen = found; rebuild(); }
  });
  build();
});
