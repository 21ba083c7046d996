// A task of one's own: its examples, or, where `pipeline demo` serves the page, any input as text or as a file.

import { lines } from "./charts.js";
import { bars, choice, h, largest, number, percent, show } from "./dom.js";
import { place, stepPanel } from "./step.js";

const READ = 4; // features of a step that the table shows
const TABLE = 200; // steps of an input that has the table

export async function taskTab(main, { names, values: given, update, load, site }) {
  let values = { model: names[0], example: "0", ...given };
  const output = h("div");
  let read = null; // what the server made of an input: features and names of the steps

  async function render() {
    const network = await load(values.model), { examples } = network.facts;
    const example = read ?? examples[Number(values.example)];
    if (!example) return show(output, h("p", { class: "note" }, "There is no example; `pipeline demo` shows this page with any input."));
    const trace = network.trace(example.features), labels = trace.map(({ number }) => example.steps[number]);
    const at = place(trace, values), probabilities = network.probabilities(trace[at].states);
    show(
      output,
      h("div", { class: "answer", "aria-live": "polite", id: "task-answer" }, "After step ", h("b", {}, trace[at].number + 1), ` (${labels[at]}): `),
      bars(network.classes, probabilities),
      example.target !== undefined && h("p", { class: "note" }, `The target is ${network.classes[example.target]}.`),
      lines(network.classes.slice(0, 12).map((name, i) => ({ name, class: i === example.target ? "chosen" : "", values: trace.map(({ states }) => network.probabilities(states)[i]) })), trace.map(({ number }) => number + 1), {
        label: "probability of each class after each step", at: trace[at].number + 1, onchoose: (i) => change({ step: trace[i].number + 1 }),
      }),
      trace.length <= TABLE && steps(network, example.features, trace, labels, at),
      stepPanel(network, trace, labels, values, change),
    );
  }

  /** What the network reads at each step, and what it would say after it; a click opens the step. */
  const steps = (network, features, trace, labels, at) => h("details", { open: true }, h("summary", {}, "Step by step"), h("div", { class: "scroll", tabindex: 0 }, h(
    "table", { class: "steps" },
    h("thead", {}, h("tr", {}, ["step", "reads", "would say", "probability"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, trace.map(({ number: step, states }, i) => {
      const probabilities = network.probabilities(states), [best] = largest(probabilities, 1);
      const read = features[step].slice(0, READ).map(number).join(", ") + (features[step].length > READ ? ", …" : "");
      return h(
        "tr", { class: i === at ? "changed" : "" },
        h("th", { scope: "row" }, h("button", { type: "button", id: `task-step-${step + 1}`, onclick: () => change({ step: step + 1 }) }, step + 1)),
        h("td", {}, labels[i] === read ? read : `${labels[i]}: ${read}`), h("td", {}, network.classes[best]), h("td", { class: "value" }, percent(probabilities[best])),
      );
    })),
  )));

  function change(changes) {
    values = { ...values, ...changes };
    update(values);
    return render();
  }

  async function ask(body) {
    const answer = await readInput(values.model, body);
    if (answer.error) return show(output, h("p", { role: "alert", class: "error" }, answer.error));
    read = answer;
    return change({ step: undefined });
  }

  const network = await load(values.model), { examples, dataset } = network.facts;
  show(
    main,
    h(
      "div", { class: "controls" },
      names.length > 1 && choice("task-model", "Model", names, values.model, (model) => change({ model, layer: undefined, unit: undefined })),
      examples.length > 0 && choice("task-example", "Example", examples.map(({ text, target }, i) => [i, text || `example ${i + 1}: ${network.classes[target]}`]), values.example, (example) => { read = null; change({ example, step: undefined }); }),
      site.local && h("label", { for: "task-text", class: "wide" }, `or an input: ${dataset.encoding}`, h("input", { id: "task-text", onchange: (event) => ask(event.target.value) })),
    ),
    output,
  );
  await render();
}

/** What a model reads of an input, a text or a file, by Python: features, names of the steps, or an error. */
export async function readInput(model, body) {
  try {
    const answer = await fetch(`read/${encodeURIComponent(model)}`, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
    return answer.ok ? await answer.json() : { error: `the server answered: ${await answer.text()}` };
  } catch {
    return { error: "the server does not answer; start `pipeline demo` again." };
  }
}
