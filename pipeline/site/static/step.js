// One step, by hand: the formulas of one unit with the numbers of this step, the terms of each sum, the flow as a diagram.

import { choice, h, largest, number, s, show } from "./dom.js";

const TERMS = 6; // of a sum that are named
const CHANGED = 0.05; // a gate that moves by more since the step before is marked
const GATES = {
  lstm: [
    ["input", "i", "σ", 0, "how much of the candidate is added"],
    ["forget", "f", "σ", 2, "how much of the cell state stays"],
    ["candidate", "g", "tanh", 3, "what may be added"],
    ["output", "o", "σ", 1, "how much of the cell state is shown"],
  ],
  gru: [
    ["update", "z", "σ", 0, "how much of the state stays"],
    ["reset", "r", "σ", 1, "how much of the state the candidate sees"],
    ["candidate", "g", "tanh", 2, "what may take its place"],
  ],
  rnn: [["output", "h", "tanh", 0, "the new state"]],
};

/** A function that shows a step in a panel, which it returns, the same each time. It takes a trace, whose entries are at
 *  the places of `labels`; `values` are layer, unit and step, `update` changes them. */
export function stepPanel() {
  const slider = h("input", { id: "step-range", type: "range", min: 0 }), label = h("label", { for: "step-range", class: "wide" });
  const controls = h("div", { class: "controls" }), title = h("h2", { id: "step-title" }, "One step, by hand");
  const panel = h("section", { class: "step", "aria-labelledby": "step-title" }, title, controls);
  return (network, trace, labels, values, update) => {
    const { at, choices, go, results } = opened(network, trace, values, update);
    const name = `Step ${(trace[at].number + 1).toLocaleString("en")}: ${labels[at]}`;
    Object.assign(slider, { max: trace.length - 1, value: at, oninput: () => go(Number(slider.value)), ariaValueText: name });
    show(label, name, slider);
    show(
      controls, choices, label,
      h("button", { type: "button", id: "step-back", onclick: () => go(at - 1), "aria-disabled": String(at === 0) }, "◀ step"),
      h("button", { type: "button", id: "step-on", onclick: () => go(at + 1), "aria-disabled": String(at === trace.length - 1) }, "step ▶"),
    );
    show(panel, title, controls, results);
    return panel;
  };
}

/** The step that is chosen: its place, the choices of a layer and a unit, what goes to another step, and the numbers. */
function opened(network, trace, values, update) {
  const depth = clamp(Number(values.layer || network.layers.length) - 1, network.layers.length);
  const layer = network.layers[depth];
  const active = mostActive(trace, depth);
  const unit = values.unit === undefined ? active[0] : clamp(Number(values.unit), layer.units);
  const at = place(trace, values);
  const { states } = trace[at];
  const facts = { network, layer, unit, state: states[depth], previous: at ? trace[at - 1].states[depth] : null };
  const go = (place) => update({ step: trace[clamp(place, trace.length)].number + 1 });
  return {
    at,
    go,
    choices: [
      network.layers.length > 1 && choice("step-layer", "Layer", network.layers.map(({ name }, i) => [i + 1, name]), depth + 1, (value) => update({ layer: value, unit: undefined })),
      choice("step-unit", "Unit, the most active first", active.map((each) => [each, `unit ${each}`]), unit, (value) => update({ unit: value })),
    ],
    results: [
      h("div", { class: "columns" }, network.facts.network.cell === "lstm" ? diagram(facts) : null, results(facts)),
      h("div", { class: "gates" }, GATES[network.facts.network.cell].map((gate) => gateOf(facts, gate))),
    ],
  };
}

/** The place in a trace of the step that is chosen; by default the last one. */
export function place(trace, values) {
  const wanted = Number(values.step || trace.at(-1).number + 1) - 1;
  const found = trace.findIndex(({ number }) => number >= wanted);
  return found < 0 ? trace.length - 1 : found;
}

const clamp = (value, length) => Math.min(Math.max(Math.trunc(value) || 0, 0), length - 1);

/** All units of a layer, those first whose states change most. */
export function mostActive(trace, depth) {
  const units = trace[0].states[depth].output.length;
  const low = new Float64Array(units).fill(Infinity), high = new Float64Array(units).fill(-Infinity);
  for (const { states } of trace) {
    (states[depth].cell ?? states[depth].output).forEach((value, unit) => {
      low[unit] = Math.min(low[unit], value);
      high[unit] = Math.max(high[unit], value);
    });
  }
  return largest(high.map((value, unit) => value - low[unit]), units);
}

/** The sum of one gate: its largest terms as bars, and the formula with its numbers. */
function gateOf({ layer, unit, state, previous }, [name, symbol, squash, row, meaning]) {
  const at = row * layer.units + unit;
  const read = [...state.x].map((x, i) => ({ name: `x${i}`, value: x * layer.kernel[at * layer.inputs + i], factors: [x, layer.kernel[at * layer.inputs + i]] }));
  const reset = symbol === "g" && state.gates.reset ? state.gates.reset[unit] : 1;
  const recurrent = [...state.before.output].map((output, i) => {
    const weight = layer.recurrent[at * layer.units + i];
    return { name: `h${i}`, value: reset * output * weight, factors: [output, weight] };
  });
  const bias = layer.ofInput[at] + reset * layer.ofOutput[at];
  const sums = [read, recurrent].map((terms) => terms.reduce((sum, { value }) => sum + value, 0));
  const of = ({ gates, output }) => gates[name]?.[unit] ?? output[unit]; // a plain recurrent layer has no gates
  const value = of(state), before = previous && of(previous);
  const terms = [...read, ...recurrent].filter((term) => term.value !== 0);
  const named = largest(terms.map((term) => Math.abs(term.value)), TERMS).map((i) => terms[i]);
  const rest = terms.filter((term) => !named.includes(term));
  const shown = [{ name: "bias", value: bias }, ...named];
  if (rest.length) shown.push({ name: `${rest.length} more`, value: rest.reduce((sum, term) => sum + term.value, 0) });
  const scale = Math.max(...shown.map((term) => Math.abs(term.value)), 1e-9);
  return h(
    "article", { class: `gate ${name}${before !== null && Math.abs(value - before) > CHANGED ? " changed" : ""}` },
    h("h3", {}, `${symbol}: ${name}`, h("small", {}, ` ${meaning}`)),
    h("p", { class: "formula" }, `${symbol} = ${squash}(`, h("i", {}, "W"), "x + ", reset !== 1 ? "r·" : "", h("i", {}, "R"), "h′ + b)"),
    h("p", { class: "formula" }, `= ${squash}(${number(sums[0])} + ${number(sums[1])} + ${number(bias)})`),
    h("p", { class: "formula" }, `= ${squash}(${number(sums[0] + sums[1] + bias)}) = `, h("b", {}, number(value))),
    h("table", { class: "terms" }, h("caption", { class: "hidden" }, `the largest terms of ${name}`), h("tbody", {}, shown.map((term) => h(
      "tr", {},
      h("th", { scope: "row" }, term.name, term.factors && h("small", {}, ` ${term.factors.map(number).join(" · ")}`)),
      h("td", {}, h("span", { class: `term ${term.value < 0 ? "minus" : "plus"}`, style: { "--size": (Math.abs(term.value) / scale).toFixed(3) } })),
      h("td", { class: "value" }, number(term.value)),
    )))),
  );
}

/** The states of the unit, and of a counter the number that is read from all units. */
function results({ network, layer, unit, state, previous }) {
  const { gates, before } = state, { cell } = network.facts.network;
  const lines = [];
  if (cell === "lstm") {
    const { input: i, forget: f, candidate: g, output: o } = gates;
    lines.push(["c = f · c′ + i · g", `${number(f[unit])} · ${number(before.cell[unit])} + ${number(i[unit])} · ${number(g[unit])}`, state.cell[unit], "cell"]);
    lines.push(["h = o · tanh(c)", `${number(o[unit])} · tanh(${number(state.cell[unit])})`, state.output[unit], "output"]);
  } else if (cell === "gru") {
    const { update: z, candidate: g } = gates;
    lines.push(["h = z · h′ + (1 − z) · g", `${number(z[unit])} · ${number(before.output[unit])} + ${number(1 - z[unit])} · ${number(g[unit])}`, state.output[unit], "output"]);
  }
  if (network.readout === "count" && layer === network.layers.at(-1)) {
    const weight = network.tensors["count.kernel"][unit];
    lines.push(["its share of the count: v · c, where v is its weight in the sum", `${number(weight)} · ${number(state.cell[unit])}`, weight * state.cell[unit], "share"]);
    lines.push(["the change of this share in this step", `${number(weight)} · (c − c′)`, weight * (state.cell[unit] - before.cell[unit]), "added"]);
  }
  const changed = (name) => previous && Math.abs((state[name]?.[unit] ?? 0) - (previous[name]?.[unit] ?? 0)) > CHANGED;
  return h("dl", { class: "results" }, lines.map(([formula, numbers, value, name]) => [
    h("dt", {}, formula),
    h("dd", { class: changed(name) ? "changed" : "" }, `= ${numbers} = `, h("b", {}, number(value))),
  ]));
}

/** The flow through an LSTM's cell: the cell state along the top, scaled by f, and i times g added to it. */
function diagram({ unit, state }) {
  const { input: i, forget: f, candidate: g, output: o } = state.gates;
  const [c0, c1, h1] = [state.before.cell[unit], state.cell[unit], state.output[unit]];
  const wire = (path, open, name) => s("path", { d: path, class: `wire ${name}`, "stroke-width": (1 + 5 * Math.min(Math.abs(open), 1)).toFixed(2) });
  const node = (x, y, text) => [s("circle", { cx: x, cy: y, r: 13, class: "node" }), s("text", { x, y: y + 5, class: "sign" }, text)];
  const tag = (x, y, name, value) => [s("text", { x, y, class: "tag" }, name), s("text", { x, y: y + 15, class: "tag value" }, number(value))];
  return s(
    "svg", { viewBox: "0 0 420 200", class: "diagram", role: "img", "aria-label": `cell state ${number(c0)}, kept by ${number(f[unit])}, plus ${number(i[unit])} times ${number(g[unit])}, is ${number(c1)}; shown by ${number(o[unit])}: ${number(h1)}` },
    wire("M20 50H107", c0, "state"), wire("M133 50H207", f[unit] * c0, "state"), wire("M233 50H400", c1, "state"),
    wire("M120 150V63", f[unit], "forget"), wire("M180 150V125H207", i[unit], "input"), wire("M260 150V125H233", g[unit], "candidate"),
    wire("M220 112V63", i[unit] * g[unit], "candidate"), wire("M330 50V87", Math.tanh(c1), "state"), wire("M330 113V137", Math.tanh(c1), "state"),
    wire("M290 150H317", o[unit], "output"), wire("M343 150H400", h1, "output"),
    node(120, 50, "×"), node(220, 50, "+"), node(220, 125, "×"), node(330, 150, "×"),
    s("rect", { x: 304, y: 87, width: 52, height: 26, rx: 6, class: "node" }), s("text", { x: 330, y: 105, class: "sign" }, "tanh"),
    tag(40, 24, "c′", c0), tag(380, 24, "c", c1), tag(385, 172, "h", h1),
    tag(120, 168, "f", f[unit]), tag(180, 168, "i", i[unit]), tag(260, 168, "g", g[unit]), tag(300, 180, "o", o[unit]),
  );
}
