// Models: what is known of each, and two of them side by side on the same example.

import { lines } from "./charts.js";
import { bars, choice, h, number, percent, show } from "./dom.js";

const TITLES = { "errors.png": "Errors", "reliability.png": "Calibration", "inside.png": "Inside" };
const NONE = "none"; // in the place of a second model
const CELLS = 24; // classes of a confusion matrix that are shown

export async function modelsTab(main, { names, values: given, update, reopen, load, site }) {
  const tasks = new Map(site.models.map(({ name, task }) => [name, task]));
  const { first = names[0], second } = Object.fromEntries(Object.entries(given).filter(([, name]) => names.includes(name) || name === NONE));
  const another = names.find((name) => name !== first && tasks.get(name) === tasks.get(first));
  let values = { example: "0", ...given, first, second: second ?? another ?? NONE };
  const networks = await Promise.all([values.first, values.second].filter((name) => name !== NONE).map(load));
  const output = h("div", { class: "columns" });
  const changeModel = (changes) => {
    update({ ...values, ...changes });
    reopen();
  };

  function render() {
    const same = networks.every(({ facts }) => facts.dataset.task === networks[0].facts.dataset.task);
    const { examples } = networks[0].facts, example = examples[Number(values.example)];
    show(
      main,
      h(
        "div", { class: "controls" },
        choice("models-first", "Model", names, values.first, (first) => changeModel({ first })),
        choice("models-second", "Side by side with", [[NONE, "no other"], ...names], values.second, (second) => changeModel({ second })),
        examples.length > 0 && choice("models-example", "on the example", examples.map(({ text, target }, i) => [i, text || `example ${i + 1}: ${networks[0].classes[target]}`]), values.example, (chosen) => change({ example: chosen })),
      ),
      output,
    );
    show(output, networks.map((network, i) => h(
      "section", {},
      h("h2", {}, network.facts.name),
      example && (i === 0 || same) && answer(network, example),
      facts(network), card(network), certificate(network), curves(network), classes(network), confusion(network), pictures(network),
    )));
  }

  function change(changes) {
    values = { ...values, ...changes };
    update(values);
    render();
  }
  render();
}

function answer(network, example) {
  const probabilities = network.probabilities(network.trace(example.features).at(-1).states);
  return h("div", {}, h("p", { class: "note" }, `On this example, whose target is ${network.classes[example.target]}:`), bars(network.classes, probabilities, 3));
}

function facts({ layers, facts: { network, dataset, facts: known } }) {
  const rows = [
    ["network", `${network.cell.toUpperCase()}, ${layers.length} ${layers.length === 1 ? "layer" : "layers"} of ${layers.map(({ units }) => units).join(" and ")} units${network.dense ? ", after a dense layer" : ""}${network.embedding ? ", after an embedding" : ""}`],
    ["parameters", known.parameters.toLocaleString("en")],
    ["dataset", `${dataset.dataset}${dataset.stand_in ? ", a stand-in" : ""}: ${Object.entries(dataset.splits).map(([split, size]) => `${size.toLocaleString("en")} ${split}`).join(", ")}`],
    ["reads", `${dataset.shape[0]} steps of ${dataset.shape[1]}: ${dataset.encoding}`],
    ...known.table.map(([name, value]) => [name.replaceAll("_", " "), value]),
  ];
  return h("table", { class: "facts" }, h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));
}

const card = ({ facts: { name, card: file } }) => file && h(
  "p", {}, h("a", { href: `models/${encodeURIComponent(name)}/${file}` }, "Model card"), h("span", { class: "note" }, ": use, data, figures, limits, and how to make it again"),
);

function certificate({ facts: { network, facts: { certificate: proof } } }) {
  if (!proof || network.readout !== "count") return null;
  if (network.precision !== "float32") return h("p", { class: "note" }, "The proof is of the weights in float32; these are rounded to float16.");
  if (!proof.certified_steps) return h("p", { class: "note" }, `Nothing is proven of this network: ${proof.reason}.`);
  return h("p", { class: "note" }, `The proof: a zero adds ${proof.adds[0].toExponential(2)}, a one adds 1 − ${(1 - proof.adds[1]).toExponential(2)}, rounding at most ${number(proof.rounding)}; below one half in all for every string of up to ${proof.certified_steps.toLocaleString("en")} bits.`);
}

const pictures = ({ facts: { name, pictures: files } }) => files.map((file) => h(
  "details", {}, h("summary", {}, TITLES[file] ?? file), h("img", { src: `models/${encodeURIComponent(name)}/${file}`, alt: `${TITLES[file] ?? file} of ${name}`, loading: "lazy" }),
));

function curves({ facts: { facts: { history } } }) {
  if (!history || history.step.length < 2) return null;
  const losses = Object.keys(history).filter((name) => name.endsWith("loss"));
  return h(
    "figure", {}, lines(losses.map((name, i) => ({ name, class: i ? "chosen" : "total", values: history[name] })), history.step, { label: `learning curve: ${losses.join(", ")}`, log: true }),
    h("figcaption", { class: "note" }, `Learning curve, on a logarithmic scale: ${losses.map((name, i) => `${name} in ${i ? "blue" : "red"}`).join(", ")}, by steps.`),
  );
}

function classes({ facts: { facts: { by_class: table } } }) {
  if (!table) return null;
  const worst = [...table.accuracy.keys()].filter((i) => table.accuracy[i] < 1).sort((a, b) => table.accuracy[a] - table.accuracy[b]).slice(0, 5);
  return h("p", { class: "note" }, worst.length ? `Most often wrong: ${worst.map((i) => `“${table.class[i]}” (${percent(table.accuracy[i])} right)`).join(", ")}.` : "No class is ever wrong.");
}

function confusion({ facts: { facts: { confusion: table } }, classes: names }) {
  if (!table || names.length > CELLS) return null;
  const count = new Map(table.actual.map((actual, i) => [`${actual}>${table.predicted[i]}`, table.examples[i]]));
  return h("details", {}, h("summary", {}, "Confusion matrix"), h("div", { class: "scroll", tabindex: 0 }, h(
    "table", { class: "confusion" },
    h("caption", { class: "note" }, "targets down, predictions across"),
    h("thead", {}, h("tr", {}, h("td", {}), names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, names.map((actual) => h("tr", {}, h("th", { scope: "row" }, actual), names.map((predicted) => {
      const examples = count.get(`${actual}>${predicted}`) ?? 0;
      return h("td", { class: examples && actual !== predicted ? "changed" : "" }, examples ? examples.toLocaleString("en") : "·");
    })))),
  )));
}
