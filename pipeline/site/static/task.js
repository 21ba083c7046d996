// A task of one's own: its examples, or, where `pipeline demo` serves the page, any input as text or as a file.

import { lines } from "./charts.js";
import { bars, choice, h, show } from "./dom.js";
import { place, stepPanel } from "./step.js";

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
      stepPanel(network, trace, labels, values, change),
    );
  }

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
  const answer = await fetch(`read/${encodeURIComponent(model)}`, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
  return answer.ok ? answer.json() : { error: `the server answered: ${await answer.text()}` };
}
