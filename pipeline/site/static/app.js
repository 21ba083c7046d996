// The page: a tab for each task that has a model, and one for what is known of all models.

import * as address from "./address.js";
import { bitsTab } from "./bits.js";
import { digitTab } from "./digit.js";
import { choice, h, show } from "./dom.js";
import { fableTab } from "./fable.js";
import { modelsTab } from "./models.js";
import * as network from "./network.js";
import { taskTab } from "./task.js";

const TABS = { bits: ["Bits", bitsTab], mnist: ["Digit", digitTab], fable: ["Fable", fableTab], models: ["Models", modelsTab] };
const networks = new Map();

/** The network of a model, loaded when it is first asked for, and again if that failed. */
function load(name) {
  if (!networks.has(name)) networks.set(name, network.Network.load(name));
  networks.get(name).catch(() => networks.delete(name));
  return networks.get(name);
}

async function start() {
  const site = await network.load("site.json").then((answer) => answer.json());
  const tasks = [...new Set(site.models.map(({ task }) => task))];
  const known = Object.keys(TABS).filter((tab) => tasks.includes(tab));
  const tabs = [...known, ...tasks.filter((task) => !(task in TABS)), "models"];
  const main = document.querySelector("main"), nav = document.querySelector("nav");
  const left = new Map(); // the address of each tab as it was left
  let shown = "", opened = 0, saving = 0, unsaved = "";

  function save() {
    clearTimeout(saving);
    if (unsaved) history.replaceState(null, "", unsaved);
    unsaved = "";
  }

  async function open() {
    const mine = ++opened; // what an older call still waits for comes too late
    clearTimeout(saving);
    unsaved = "";
    let { tab, values } = address.read();
    if (!tabs.includes(tab)) [tab, values] = [tabs[0], {}];
    if (tab !== shown) show(main, h("p", { class: "note" }, "Loading the weights …"));
    shown = tab;
    show(nav, tabs.map((each) => h(
      "a", { href: left.get(each) ?? address.of(each, {}), id: `tab-${each}`, "aria-current": each === tab ? "page" : false },
      TABS[each]?.[0] ?? each,
    )), site.lesson && h("a", { href: site.lesson }, "Learn"));
    const names = site.models.filter(({ task }) => tab === "models" || task === tab).map(({ name }) => name);
    const loadHere = async (name) => {
      const loaded = await load(name);
      return mine === opened ? loaded : new Promise(() => {});
    };
    const update = (changes) => {
      if (mine !== opened) return;
      left.set(tab, (unsaved = address.of(tab, (values = { ...values, ...changes }))));
      clearTimeout(saving); // browsers allow few changes of the address in a second
      saving = setTimeout(save, 100);
      document.getElementById(`tab-${tab}`).href = left.get(tab);
    };
    const reopen = () => {
      save();
      return open();
    };
    if (Object.keys(values).length) left.set(tab, address.of(tab, values));
    if (tab !== "models" && !names.includes(values.model)) values.model = names[0];
    const chooseModel = names.length > 1 && choice("model", "Model", names, values.model, (model) => {
      update({ model, layer: undefined, unit: undefined });
      reopen();
    });
    try {
      await (TABS[tab]?.[1] ?? taskTab)(main, { names, values, update, reopen, load: loadHere, chooseModel, site });
    } catch (error) {
      if (mine === opened) show(main, h("p", { role: "alert", class: "error" }, `This page could not show ${tab}: ${error.message}`));
      console.error(error);
    }
  }

  nav.addEventListener("click", save); // before the browser goes to the other tab
  addEventListener("hashchange", open);
  await open();
}

start().catch((error) => {
  show(document.querySelector("main"), h("p", { role: "alert", class: "error" }, `This page could not be shown: ${error.message}`));
  throw error;
});
