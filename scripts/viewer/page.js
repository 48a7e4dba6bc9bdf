"use strict";
// The page of ponder-view. What a model wrote enters the document as text nodes only; no string is ever parsed as HTML.

const HEIGHT = 46; // of a row in the list, in pixels; page.css has the same
const DRAWN = 300; // nodes of a tree drawn at first
const COLUMNS = 240; // reports drawn in a genealogy
const TABS = ["tree", "genealogy", "traces"];
const SVG = "http://www.w3.org/2000/svg";
const state = { runs: [], a: 0, b: -1, shown: [], filter: "all", text: "", at: -1, tab: "tree", asked: 0 };
const waiting = new Map(); // "run/number" -> resolve
const kept = new Map(); // "run/number" -> question, the last ones opened

const byId = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const whole = (value) => Math.round(value ?? 0).toLocaleString("en");
const short = (value) => (value === null || value === undefined ? "-" : String(Number(Number(value).toPrecision(3))));
const mark = (right, failed) => el("span", { class: `mark ${failed ? "failed" : right ? "right" : "wrong"}` }, failed ? "!" : right ? "✓" : "✗");

// ---- the data: an index, and one file a question, each a script that calls one of these

window.ponder = {
  index(data) {
    state.runs = data.runs;
    state.runs.forEach((run, i) => {
      run.place = new Map(run.questions.map((question, at) => [question.id, at]));
      for (const chooser of document.querySelectorAll("aside select")) chooser.append(el("option", { value: i }, run.name));
    });
    byId("run-b").hidden = state.runs.length < 2;
    byId("run-b").querySelector("select").prepend(el("option", { value: -1 }, "none"));
    byId("run-b").querySelector("select").value = "-1";
    list();
    if (state.shown.length) open(0);
    else byId("main").replaceChildren(el("p", { class: "empty" }, "No question has finished yet."));
  },
  question(run, number, data) {
    const key = `${run}/${number}`;
    kept.set(key, data);
    if (kept.size > 24) kept.delete(kept.keys().next().value);
    waiting.get(key)?.(data);
    waiting.delete(key);
  },
};

function load(run, number) {
  const key = `${run}/${number}`;
  if (kept.has(key)) return Promise.resolve(kept.get(key));
  return new Promise((resolve, reject) => {
    waiting.set(key, resolve);
    const source = `data/r${run}/q${String(number).padStart(6, "0")}.js`;
    const script = el("script", { src: source, onerror: () => reject(new Error(`${source} is missing`)), onload: () => script.remove() });
    document.head.append(script);
  });
}

// ---- the list of questions

function filters() {
  const names = ["all", "right", "wrong", "failed"];
  return state.b >= 0 ? [...names, "A right, B wrong", "A wrong, B right"] : names;
}

function passes(question, filter) {
  const other = state.b >= 0 ? peer(question) : null;
  switch (filter) {
    case "right": return question.right;
    case "wrong": return !question.right && !question.failed;
    case "failed": return question.failed;
    case "A right, B wrong": return Boolean(other) && question.right && !other.right;
    case "A wrong, B right": return Boolean(other) && !question.right && other.right;
    default: return true;
  }
}

function peer(question) {
  const run = state.runs[state.b];
  return run.questions[run.place.get(question.id)] ?? null;
}

function list() {
  const all = state.runs[state.a].questions;
  if (!filters().includes(state.filter)) state.filter = "all";
  const wanted = state.text.toLowerCase();
  state.shown = [];
  all.forEach((question, at) => {
    const found = !wanted || question.id.toLowerCase().includes(wanted) || question.prompt.toLowerCase().includes(wanted);
    if (found && passes(question, state.filter)) state.shown.push(at);
  });
  byId("filters").replaceChildren(...filters().map((name) => el("button", {
    type: "button",
    "aria-pressed": String(name === state.filter),
    "data-filter": name,
    onclick: () => { state.filter = name; list(); },
  }, `${name} ${whole(all.filter((question) => passes(question, name)).length)}`)));
  byId("count").textContent = `${whole(state.shown.length)} of ${whole(all.length)} questions`;
  byId("rows").style.height = `${state.shown.length * HEIGHT}px`;
  rows();
}

function rows() {
  const box = byId("list");
  const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 4);
  const last = Math.min(state.shown.length, first + Math.ceil(box.clientHeight / HEIGHT) + 8);
  const drawn = [];
  for (let i = first; i < last; i += 1) drawn.push(row(i));
  byId("rows").replaceChildren(...drawn);
}

function row(i) {
  const question = state.runs[state.a].questions[state.shown[i]];
  const other = state.b >= 0 ? peer(question) : null;
  const made = el("div", {
    class: `row${state.shown[i] === state.at ? " chosen" : ""}`, role: "option", "aria-selected": String(state.shown[i] === state.at),
    onclick: () => open(i),
  },
  el("div", { class: "id" }, mark(question.right, question.failed), other ? mark(other.right, other.failed) : null,
    el("b", {}, question.id), el("span", { class: "faint" }, `${whole(question.tokens)} tok.`)),
  el("small", {}, question.prompt));
  made.style.top = `${i * HEIGHT}px`;
  return made;
}

function move(by) {
  const here = state.shown.indexOf(state.at);
  const next = here < 0 ? 0 : Math.min(state.shown.length - 1, Math.max(0, here + by));
  if (state.shown.length) open(next);
}

async function open(i) {
  state.at = state.shown[i];
  const box = byId("list");
  if (i * HEIGHT < box.scrollTop) box.scrollTop = i * HEIGHT;
  if ((i + 1) * HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = (i + 1) * HEIGHT - box.clientHeight;
  rows();
  await show();
}

async function show() {
  if (state.at < 0) return;
  const asked = (state.asked += 1);
  const question = state.runs[state.a].questions[state.at];
  const wanted = [[state.a, state.at]];
  if (state.b >= 0) wanted.push([state.b, state.runs[state.b].place.get(question.id) ?? -1]);
  const found = await Promise.all(wanted.map(([run, number]) => (number < 0 ? null : load(run, number).catch((error) => ({ lost: error.message })))));
  if (asked !== state.asked) return; // another question was opened meanwhile
  const main = byId("main");
  main.className = found.length > 1 ? "two" : "";
  main.replaceChildren(...found.map((data, side) => section(data, state.runs[wanted[side][0]], question.id)));
  main.dataset.shown = question.id;
}

// ---- one question of one run

function section(data, run, id) {
  if (!data || data.lost) return el("section", {}, el("h2", {}, id), el("p", { class: "error" }, data ? data.lost : `${run.name} has no such question.`));
  const tree = grown(data);
  const made = el("section", {}, el("h2", {}, id),
    el("div", { class: "facts" }, fact("run", run.name), fact("search", run.search), fact("N", run.n), fact("verifier", run.verifier), fact("seconds", short(data.seconds))),
    el("div", { class: "text prompt" }, data.prompt));
  if (data.error) made.append(el("p", { class: "error" }, `${data.error.type}: ${data.error.message}`));
  made.append(el("div", { class: "side" }, answers(data), votes(data), costs(data)));
  const below = el("div");
  const tabs = el("div", { class: "tabs", role: "tablist" });
  const draw = () => {
    tabs.replaceChildren(...TABS.map((name) => el("button", {
      type: "button", role: "tab", class: "tab", "aria-selected": String(name === state.tab), onclick: () => { state.tab = name; redraw(); },
    }, name)));
    below.replaceChildren({ tree: drawTree, genealogy: drawGenealogy, traces: drawTraces }[state.tab](data, tree));
  };
  made.redraw = draw;
  draw();
  made.append(tabs, below);
  return made;
}

function redraw() {
  for (const made of byId("main").children) made.redraw?.();
}

const fact = (name, value) => el("span", {}, `${name} `, el("b", {}, String(value ?? "-")));
const titled = (title, body) => el("div", {}, el("h3", {}, title), body);
const cell = (text, kind) => el("td", kind ? { class: kind } : {}, text);
const head = (...names) => el("tr", {}, names.map(([name, kind]) => el("th", kind ? { class: kind } : {}, name)));

function answers(data) {
  const lines = Object.entries(data.answers).map(([name, given]) => el("tr", {}, cell(name === data.select ? `${name} (chosen)` : name),
    cell(given.answer === null ? "none" : given.answer, "answer text"), el("td", {}, mark(given.correct, false))));
  return titled("answers", el("table", {}, head(["selector"], ["answer"], [""]), lines));
}

function votes(data) {
  const weights = shares(data.population.map(([, weight]) => weight));
  const found = new Map();
  data.population.forEach(([index], i) => {
    const trace = data.traces[index];
    const vote = found.get(trace.answer) ?? { count: 0, weight: 0, right: trace.correct };
    found.set(trace.answer, { ...vote, count: vote.count + 1, weight: vote.weight + weights[i] });
  });
  const sorted = [...found].sort((one, other) => other[1].weight - one[1].weight || other[1].count - one[1].count);
  const lines = sorted.slice(0, 12).map(([answer, vote]) => el("tr", {}, cell(answer === null ? "none" : answer, "answer text"),
    cell(whole(vote.count), "number"), cell(`${(100 * vote.weight).toFixed(1)} %`, "number"), el("td", {}, mark(vote.right, false))));
  if (sorted.length > 12) lines.push(el("tr", {}, cell(`and ${whole(sorted.length - 12)} more`, "faint")));
  return titled("votes", el("table", {}, head(["answer"], ["count", "number"], ["weight", "number"], [""]), lines));
}

function costs(data) {
  const lines = Object.entries(data.cost).map(([role, cost]) => el("tr", {}, cell(role), cell(whole(cost.new_tokens), "number"),
    cell(whole(cost.verifier_tokens), "number"), cell(whole(cost.verifier_calls), "number"), cell(short(cost.flops), "number")));
  return titled("cost", el("table", {}, head(["role"], ["new", "number"], ["verifier", "number"], ["calls", "number"], ["FLOPs", "number"]), lines));
}

// Log weights as shares of one.
function shares(logs) {
  const top = Math.max(...logs.map((log) => log ?? -Infinity));
  const raised = logs.map((log) => Math.exp((log ?? -Infinity) - (Number.isFinite(top) ? top : 0)));
  const sum = raised.reduce((total, one) => total + one, 0);
  return raised.map((one) => (sum > 0 ? one / sum : 1 / logs.length));
}

// ---- the tree: traces merged by their common steps

function grown(data) {
  const root = { children: new Map(), depth: 0, ends: [], copies: 0, weight: 0, order: Infinity, text: "", parent: null };
  const paths = data.traces.map((trace, index) => {
    const path = [root];
    trace.steps.forEach((text, d) => {
      const here = path[d];
      let next = here.children.get(text);
      if (!next) {
        next = { children: new Map(), depth: d + 1, ends: [], copies: 0, weight: 0, order: Infinity, text, parent: here, why: trace.why[d], score: null };
        here.children.set(text, next);
      }
      const score = trace.scores?.[d] ?? (d === trace.steps.length - 1 ? trace.score : null);
      if (score !== null && score !== undefined) next.score = score;
      path.push(next);
    });
    path[path.length - 1].ends.push(index);
    return path;
  });
  const weights = shares(data.population.map(([, weight]) => weight));
  data.population.forEach(([index], i) => {
    const end = paths[index][paths[index].length - 1];
    end.copies += 1;
    end.weight += weights[i];
    for (const node of paths[index]) node.kept = true;
  });
  const columns = (data.reports ?? []).map((report) => {
    const sized = shares(report.population.map(([, , weight]) => weight));
    return report.population.map(([index, depth], i) => ({ node: paths[index][Math.min(depth, paths[index].length - 1)], share: sized[i] }));
  });
  const final = data.population.map(([index], i) => ({ node: paths[index][paths[index].length - 1], share: weights[i] }));
  const last = columns[columns.length - 1];
  if (!last || last.length !== final.length || last.some((one, i) => one.node !== final[i].node)) columns.push(final);
  columns.forEach((column, r) => column.forEach(({ node }) => {
    for (let up = node; up && up.order > r + 1; up = up.parent) up.order = r + 1;
  }));
  return { root, columns, traces: data.traces };
}

function standing(node, traces) {
  const ended = node.ends.map((index) => traces[index]);
  const finished = ended.find((trace) => trace.finished);
  if (finished) return finished.correct ? "right" : "wrong";
  if (node.children.size === 0 && !node.copies) return "pruned";
  return node.copies && node.children.size === 0 ? "cut off" : "";
}

function label(node, tree) {
  const kind = standing(node, tree.traces);
  const badges = [];
  if (kind === "right" || kind === "wrong") badges.push(mark(kind === "right", false));
  else if (kind) badges.push(el("span", { class: "badge" }, kind));
  if (node.copies) badges.push(el("span", { class: "badge" }, `${node.copies > 1 ? `${node.copies} × ` : ""}${(100 * node.weight).toFixed(1)} %`));
  if (node.why && node.why !== "stop") badges.push(el("span", { class: "badge" }, node.why));
  return { kind, badges };
}

function bar(score) {
  if (score === null || score === undefined) return svg("svg", { class: "bar" });
  const width = 54 * Math.min(1, Math.max(0, score));
  return svg("svg", { class: "bar" }, svg("title", {}, `score ${score}`), svg("rect", { class: "ground", width: 54, height: 8, rx: 2 }), svg("rect", { class: "fill", width, height: 8, rx: 2 }));
}

function drawTree(data, tree) {
  const inspector = el("div", { class: "inspector", hidden: true });
  let left = DRAWN;
  const branch = (nodes, nested) => el("ul", { class: nested ? "branch" : "", role: "group" }, nodes.map(item));
  const item = (node) => {
    left -= 1;
    const children = sortedChildren(node);
    const { kind, badges } = label(node, tree);
    const made = el("li", { role: "treeitem" });
    const more = el("span", { class: "more" }, children.length ? "▸" : "");
    const line = el("button", { type: "button", class: `node ${kind}` }, more, el("span", { class: "order", title: "first in this report" }, Number.isFinite(node.order) ? `#${node.order}` : ""),
      bar(node.score), el("span", { class: "text" }, node.text.trim() || "(empty)"), badges);
    made.append(line);
    let below = null;
    const unfold = () => {
      below = branch(children, children.length > 1); // a chain stays in line; only a fork goes in
      made.append(below);
      more.textContent = children.length > 1 ? "▾" : "";
    };
    line.addEventListener("click", () => {
      inspect(inspector, node, line, "tree");
      if (children.length > 1 && below) { below.hidden = !below.hidden; more.textContent = below.hidden ? "▸" : "▾"; }
      else if (children.length && !below) unfold();
    });
    if (children.length && (children.length === 1 || left > 0)) unfold();
    return made;
  };
  const top = sortedChildren(tree.root);
  if (!top.length) return el("p", { class: "note" }, "No step was taken.");
  return el("div", { class: "tree", role: "tree" }, el("p", { class: "note" }, "Each line is a step; a fork goes in. #n: first seen in report n, the order of the search. Bar: the step's score. Per cent: weight in the final population. Faint: pruned."),
    branch(top, false), inspector);
}

const sortedChildren = (node) => [...node.children.values()].sort((one, other) => one.order - other.order || Number(other.kept ?? false) - Number(one.kept ?? false));

// A step ends with the mark that divides steps, often two newlines: not worth two empty lines.
const shownStep = (text) => text.replace(/\n+$/, "") || "(empty)";

function inspect(box, node, chosen, within) {
  for (const one of box.closest("section")?.querySelectorAll(`.${within} .chosen`) ?? []) one.classList.remove("chosen");
  chosen?.classList.add("chosen");
  const path = [];
  for (let up = node; up.parent; up = up.parent) path.unshift(up);
  box.hidden = false;
  box.replaceChildren(...path.map((step) => el("div", { class: "step" }, el("span", { class: "faint" }, step.score === null ? "" : short(step.score)), el("div", { class: "text" }, shownStep(step.text)))));
  if (!path.length) box.append(el("span", { class: "note" }, "The question itself: no step yet."));
}

// ---- the genealogy: a column a report, a dot a member of its population, a line to its ancestor

function drawGenealogy(data, tree) {
  const columns = tree.columns.slice(-COLUMNS);
  if (!columns.some((column) => column.length)) return el("p", { class: "note" }, "This search reported no population.");
  const most = Math.max(...columns.map((column) => column.length));
  const across = Math.max(26, Math.min(110, 900 / columns.length)), down = Math.max(9, Math.min(22, 520 / most));
  const box = svg("svg", { class: "genealogy", width: across * columns.length + 20, height: down * most + 34, role: "img", "aria-label": "genealogy of the population" });
  const lines = svg("g"), dots = svg("g");
  box.append(lines, dots);
  const inspector = el("div", { class: "inspector", hidden: true });
  const at = (c, i) => [across * (c + 0.5) + 10, down * (i + 0.5) + 24];
  const drawn = columns.map((column, c) => {
    box.append(svg("text", { x: at(c, 0)[0], y: 12, "text-anchor": "middle" }, String(tree.columns.length - columns.length + c + 1)));
    return column.map((member, i) => ({ ...member, c, i, ancestor: null, line: null, dot: null }));
  });
  drawn.forEach((column, c) => {
    const before = new Map();
    (drawn[c - 1] ?? []).forEach((member) => before.set(member.node, [...(before.get(member.node) ?? []), member]));
    column.forEach((member) => {
      for (let up = member.node; up && !member.ancestor; up = up.parent) {
        const same = before.get(up);
        if (same) member.ancestor = same.find((one) => one.i === member.i) ?? same[0];
      }
    });
  });
  for (const member of drawn[drawn.length - 1]) for (let up = member; up; up = up.ancestor) up.kept = true;
  const light = (member) => {
    for (const one of box.querySelectorAll(".lit")) one.classList.remove("lit");
    for (let up = member; up; up = up.ancestor) { up.dot.classList.add("lit"); up.line?.classList.add("lit"); }
    inspect(inspector, member.node, null, "genealogy");
  };
  drawn.flat().forEach((member) => {
    const [x, y] = at(member.c, member.i);
    if (member.ancestor) {
      const [fromX, fromY] = at(member.ancestor.c, member.ancestor.i);
      member.line = svg("line", { x1: fromX, y1: fromY, x2: x, y2: y, class: member.kept ? "kept" : "" });
      lines.append(member.line);
    }
    const kind = member.node.children.size === 0 ? standing(member.node, tree.traces) : "";
    const radius = 1.6 + Math.min(down / 2, 8) * Math.sqrt(member.share);
    member.dot = svg("circle", {
      cx: x, cy: y, r: radius.toFixed(2), tabindex: 0, class: [member.kept ? "kept" : "", kind === "right" || kind === "wrong" ? kind : ""].join(" ").trim(),
      onmouseenter: () => light(member), onfocus: () => light(member), onclick: () => light(member),
    }, svg("title", {}, `report ${tree.columns.length - columns.length + member.c + 1}, weight ${(100 * member.share).toFixed(1)} %, score ${short(member.node.score)}`));
    dots.append(member.dot);
  });
  const cut = tree.columns.length > columns.length ? ` The last ${COLUMNS} of ${whole(tree.columns.length)} reports.` : "";
  return el("div", {}, el("p", { class: "note" }, `A column a report, a dot a member of its population, its area the weight; lines lead to ancestors. Blue: has descendants at the end. Green, red: finished right, wrong.${cut}`),
    el("div", { class: "scroll" }, box), inspector);
}

// ---- the traces, one below the other

function drawTraces(data) {
  const weights = shares(data.population.map(([, weight]) => weight));
  const held = data.traces.map(() => ({ copies: 0, weight: 0 }));
  data.population.forEach(([index], i) => { held[index].copies += 1; held[index].weight += weights[i]; });
  const ordered = data.traces.map((trace, index) => index).sort((one, other) => held[other].weight - held[one].weight || one - other);
  const box = el("div", {});
  const page = (from) => {
    for (const index of ordered.slice(from, from + 100)) box.append(one(index));
    if (from + 100 < ordered.length) {
      const more = el("button", { type: "button", onclick: () => { more.remove(); page(from + 100); } }, `${whole(ordered.length - from - 100)} more`);
      box.append(more);
    }
  };
  const one = (index) => {
    const trace = data.traces[index];
    const told = `${held[index].copies ? `${held[index].copies} × ${(100 * held[index].weight).toFixed(1)} %` : "not in the final population"} · score ${short(trace.score)} · ${trace.steps.length} steps${trace.finished ? "" : " · not finished"}`;
    const made = el("details", {}, el("summary", {}, mark(trace.correct, false), " ", el("span", { class: "text" }, trace.answer === null ? "no answer" : trace.answer), " ", el("span", { class: "faint" }, told)));
    made.addEventListener("toggle", () => {
      if (made.childElementCount > 1) return;
      made.append(...trace.steps.map((text, d) => el("div", { class: "step" }, el("span", { class: "faint" }, `${trace.scores?.[d] === undefined ? "" : short(trace.scores[d])} ${trace.why[d] === "stop" ? "" : trace.why[d] ?? ""}`), el("div", { class: "text" }, shownStep(text)))));
    });
    return made;
  };
  page(0);
  return box;
}

// ---- keys and choices

function against(run) {
  state.b = run === state.a ? -1 : run;
  byId("run-b").querySelector("select").value = String(state.b);
  list();
  show();
}

function start() {
  const [first, second] = document.querySelectorAll("aside select");
  first.addEventListener("change", () => {
    const id = state.runs[state.a].questions[state.at]?.id;
    state.a = Number(first.value);
    if (state.b === state.a) state.b = -1;
    second.value = String(state.b);
    state.at = state.runs[state.a].place.get(id) ?? -1;
    list();
    if (state.at < 0) move(0); else show();
  });
  second.addEventListener("change", () => against(Number(second.value)));
  byId("search").addEventListener("input", (event) => { state.text = event.target.value; byId("list").scrollTop = 0; list(); });
  byId("list").addEventListener("scroll", rows);
  window.addEventListener("resize", rows);
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const writing = event.target === byId("search");
    if (event.key === "Escape" && writing) { byId("search").blur(); return; }
    if (event.key === "Enter" && writing) { byId("search").blur(); if (state.shown.length) open(0); return; }
    if (writing || event.target.tagName === "SELECT") return;
    const inList = event.target === document.body || event.target === byId("list") || event.target === byId("main");
    const keys = {
      j: () => move(1),
      k: () => move(-1),
      "/": () => byId("search").focus(),
      f: () => { const names = filters(); state.filter = names[(names.indexOf(state.filter) + 1) % names.length]; byId("list").scrollTop = 0; list(); },
      t: () => { state.tab = TABS[(TABS.indexOf(state.tab) + 1) % TABS.length]; redraw(); },
      c: () => { if (state.runs.length > 1) against(state.b >= 0 ? -1 : state.runs.findIndex((_, run) => run !== state.a)); },
      "?": () => byId("help").showModal(),
    };
    if (inList) Object.assign(keys, { ArrowDown: keys.j, ArrowUp: keys.k });
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
}

start();
