"use strict";
// snap.js: draws the report of `snap` that the element #data holds. Text from model files and
// programs reaches the document as text only.
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (event) => { root.dataset.error = event.message; });
  const data = JSON.parse(document.getElementById("data").textContent);
  const report = data.report;
  const byId = (id) => document.getElementById(id);
  const kBars = 24, kRows = 2000;

  // --- words and numbers -------------------------------------------------------------------------
  const known = (value) => value !== null && value !== undefined;
  function size(bytes) {
    if (!known(bytes)) return "–";
    if (bytes < 1000) return bytes + " B";
    let value = bytes, unit = "";
    for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
      if (unit && value < 999.5) break;
      value /= 1024;
      unit = next;
    }
    return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0) + " " + unit;
  }
  const number = (value) => known(value) ? String(Number(value.toPrecision(6))) : "–";
  const percent = (ratio) => known(ratio) ? (ratio * 100).toFixed(1) + " %" : "–";
  const times = (bytes) => known(bytes) && bytes > 0
    ? (report.new_size / bytes).toFixed(1) + "x smaller than the model" : "";
  const scoreOf = (model) => model ? model.evaluation : undefined;
  function verdict(score) {
    if (!score) return "not evaluated";
    return score.passed ? "passed" : score.failure;
  }

  // --- elements ----------------------------------------------------------------------------------
  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  function draw(parent, name, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }
  function canvas(id, height, label) {
    const place = byId(id);
    place.replaceChildren();
    const width = Math.max(240, place.clientWidth);
    const svg = draw(place, "svg", {
      viewBox: "0 0 " + width + " " + height, height, role: "group", "aria-label": label });
    return { svg, width, height };
  }
  function empty(id, text) {
    byId(id).replaceChildren(make("p", { class: "empty" }, text));
  }
  function table(head, body, columns, rows) {
    byId(head).replaceChildren(...columns.map((title, i) =>
      make("th", { scope: "col", class: i ? "number" : "" }, title)));
    byId(body).replaceChildren(...rows.map((cells) => make("tr", {}, ...cells.map(
      (cell, i) => make("td", { class: i === 0 ? "name" : "number" }, cell)))));
  }

  // --- parts of the page -------------------------------------------------------------------------
  function card(title, figure, more) {
    return make("div", {}, make("dt", {}, title),
      make("dd", {}, make("div", { class: "figure" }, figure), make("div", { class: "more" }, more)));
  }
  function drawCards() {
    const cards = [
      card("Grid", known(report.grid) ? number(report.grid) : "none",
        known(report.grid) ? "of the update's size" : "no grid passed the evaluation"),
      card("Update to the new model", size(report.new_patch_size), times(report.new_patch_size)),
      card("Update to the snapped model", size(report.snapped_patch_size),
        times(report.snapped_patch_size))];
    for (const [title, model] of [["Old model", report.old], ["New model", report.new],
      ["Snapped model", report.snapped]]) {
      const score = scoreOf(model);
      if (!score) continue;
      const more = [verdict(score)];
      if (known(score.regression)) more.push("regression " + number(score.regression));
      if (known(score.churn)) more.push(percent(score.churn) + " of the predictions changed");
      cards.push(card(title, known(score.metric) ? number(score.metric) : verdict(score),
        more.join(", ")));
    }
    byId("cards").replaceChildren(...cards);
    const advice = [];
    if (report.old_will_do) advice.push("The old model passes as well: nothing need be shipped.");
    if (report.warning) advice.push(report.warning);
    byId("advice").replaceChildren(...advice.map((text) => make("li", { class: "warning" }, text)));
  }

  // Points over the grids; `level` is that of the new model.
  function drawLine(id, label, points, level, words) {
    if (points.length === 0) return empty(id, "Nothing was measured.");
    const { svg, width, height } = canvas(id, 260, label);
    const box = { left: 74, right: width - 20, top: 14, bottom: height - 34 };
    const values = points.map((point) => point.y).concat(known(level) ? [level] : []);
    let low = Math.min(...values), high = Math.max(...values);
    if (words.fromZero) low = 0;
    if (high === low) high += Math.abs(high) || 1;
    if (!words.fromZero) {
      const margin = (high - low) * 0.08;
      low -= margin;
      high += margin;
    }
    const grids = points.map((point) => Math.log2(point.x));
    const first = Math.min(...grids) - 0.2, last = Math.max(...grids) + 0.2;
    const x = (grid) => box.left + (Math.log2(grid) - first) / (last - first) * (box.right - box.left);
    const y = (value) => box.bottom - (value - low) / (high - low) * (box.bottom - box.top);
    for (let i = 0; i <= 4; ++i) {
      const value = low + (high - low) * i / 4;
      draw(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: y(value), y2: y(value) });
      draw(svg, "text", { class: "tick", x: box.left - 8, y: y(value) + 4, "text-anchor": "end" },
        words.tick(value));
    }
    if (known(level)) {
      draw(svg, "line", { class: "mark", x1: box.left, x2: box.right, y1: y(level), y2: y(level) });
    }
    draw(svg, "path", { class: "line " + words.kind, d: points.map((point, i) =>
      (i ? "L" : "M") + x(point.x).toFixed(1) + " " + y(point.y).toFixed(1)).join("") });
    for (const point of points) {
      draw(svg, "text", { class: "tick", x: x(point.x), y: height - 14, "text-anchor": "middle" },
        number(point.x));
      const chosen = point.x === report.grid;
      const dot = draw(svg, "circle", { class: "dot " + words.kind + (point.failed ? " failed" : ""),
        cx: x(point.x), cy: y(point.y), r: chosen ? 7 : 4.5, tabindex: 0, role: "img",
        "aria-label": "grid " + number(point.x) + ": " + words.say(point) + (chosen ? ", chosen" : "") });
      draw(dot, "title", {}, dot.getAttribute("aria-label"));
    }
  }
  function drawCurves() {
    const sizes = report.candidates.filter((candidate) => known(candidate.patch_size)).map(
      (candidate) => ({ x: candidate.grid, y: candidate.patch_size }));
    drawLine("curve", "Bytes of the update against the grid", sizes, report.new_patch_size,
      { kind: "size", fromZero: true, tick: (value) => size(Math.round(value)),
        say: (point) => size(point.y) + ", " + times(point.y) });
    const metrics = report.candidates.filter((candidate) =>
      candidate.evaluation && known(candidate.evaluation.metric)).map((candidate) => ({
      x: candidate.grid, y: candidate.evaluation.metric, failed: !candidate.evaluation.passed }));
    byId("metric-section").hidden = metrics.length === 0;
    if (metrics.length === 0) return;
    const score = scoreOf(report.new);
    drawLine("metric", "Metric against the grid", metrics, score ? score.metric : undefined,
      { kind: "metric", fromZero: false, tick: number,
        say: (point) => number(point.y) + (point.failed ? ", did not pass" : "") });
  }
  function drawGrids() {
    const row = (name, bytes, score, remark) => [name, size(bytes),
      known(bytes) && bytes > 0 ? (report.new_size / bytes).toFixed(1) + "x" : "–",
      number(score ? score.metric : undefined), number(score ? score.regression : undefined),
      percent(score ? score.churn : undefined), remark];
    table("grid-columns", "grids",
      ["Grid", "Update", "Smaller", "Metric", "Regression", "Changed predictions", ""],
      [row("none: the new model as it was", report.new_patch_size, scoreOf(report.new), ""),
        ...report.candidates.map((candidate) => row(number(candidate.grid), candidate.patch_size,
          candidate.evaluation, candidate.grid === report.grid ? "chosen"
            : candidate.evaluation ? verdict(candidate.evaluation) : ""))]);
  }
  function drawBars() {
    const tensors = report.tensors.filter((tensor) => tensor.patch_before > 0).sort(
      (a, b) => b.patch_before - a.patch_before).slice(0, kBars);
    if (tensors.length === 0) return empty("bars", "Nothing was measured.");
    const kHeight = 22;
    const { svg, width } = canvas("bars", tensors.length * kHeight + 6, "Bytes before and after");
    const left = Math.min(260, width * 0.4), full = width - left - 90;
    const most = tensors[0].patch_before;
    tensors.forEach((tensor, i) => {
      const top = i * kHeight + 3;
      const name = tensor.name.length > 36 ? "…" + tensor.name.slice(-35) : tensor.name;
      draw(svg, "text", { class: "tick", x: left - 8, y: top + 13, "text-anchor": "end" }, name);
      const group = draw(svg, "g", { role: "img", "aria-label": tensor.name + ": " +
        size(tensor.patch_before) + " before, " + size(tensor.patch_after) + " after" });
      draw(group, "rect", { class: "before", x: left, y: top, height: kHeight - 6,
        width: Math.max(1, tensor.patch_before / most * full) });
      draw(group, "rect", { class: "after", x: left, y: top, height: kHeight - 6,
        width: Math.max(1, (tensor.patch_after || 0) / most * full) });
      draw(svg, "text", { class: "tick", y: top + 13,
        x: left + Math.max(1, tensor.patch_before / most * full) + 6 }, size(tensor.patch_after));
    });
  }
  function drawTensors() {
    table("tensor-columns", "tensors",
      ["Name", "Type", "Size", "Before", "After", "Values moved", "Step", "Update", "Error", "Fate"],
      report.tensors.slice(0, kRows).map((tensor) => [tensor.name || "(no name)", tensor.type,
        size(tensor.size), size(tensor.patch_before), size(tensor.patch_after),
        percent(tensor.share_moved), number(tensor.step), number(tensor.update),
        number(tensor.error), tensor.fate]));
  }

  byId("tool").textContent = data.tool;
  byId("title").textContent = data.title;
  byId("subtitle").textContent = report.format + ", " + size(report.new_size);
  function drawAll() {
    drawCards();
    drawCurves();
    drawGrids();
    drawBars();
    drawTensors();
  }
  drawAll();
  let pending = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(drawAll);
  });
  root.dataset.drawn = "yes";
})();
