"use strict";
// page.js: draws the comparison that the element #data holds. Text from model files reaches the
// document as text only.
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (event) => { root.dataset.error = event.message; });
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const kRowsAtOnce = 250;
  const kTileHeight = 420;
  const view = { file: 0, sort: "patch_bytes", descending: true, rows: kRowsAtOnce };

  // --- words and numbers -------------------------------------------------------------------------
  const known = (value) => value !== null && value !== undefined;
  const decimals = (value) => value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  function size(bytes) {
    if (!known(bytes)) return "–";
    if (bytes < 1000) return bytes + " B";
    let value = bytes, unit = "";
    for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
      if (unit && value < 999.5) break;
      value /= 1024;
      unit = next;
    }
    return value.toFixed(decimals(value)) + " " + unit;
  }
  function percent(ratio) {
    if (!known(ratio)) return "–";
    const value = ratio * 100;
    if (value === 0) return "0 %";
    if (value < 0.001) return "< 0.001 %";
    if (ratio < 1 && value > 99.95) return "> 99.9 %";
    return Number(value.toPrecision(value < 99.95 ? 2 : 3)).toLocaleString("en") + " %";
  }
  const fixed = (value) => !known(value) ? "–"
    : value < 1 && value >= 0.995 ? "> 0.99" : value.toFixed(2);
  // How many times a tensor is larger than its part of the patch.
  const gain = (tensor) => tensor.size / Math.max(tensor.patch_bytes || 0, 1);
  const plural = (count, word) => count.toLocaleString("en") + " " + word + (count === 1 ? "" : "s");
  const nameOf = (tensor) => tensor.name ||
    (tensor.role === "other" ? "(bytes at " + tensor.offset + ")" : "(no name)");
  const isDifferent = (tensor) => tensor.state !== "unchanged" || tensor.moved;
  function kinship(value) {
    if (!known(value)) return "not known";
    if (value === 1) return "the same weights";
    if (value >= 0.95) return "the same weights, moved a little";
    if (value >= 0.5) return "descends from old";
    return value >= 0.2 ? "little relation to old" : "no relation to old";
  }
  function describe(tensor) {
    const lines = [nameOf(tensor)];
    const shape = tensor.shape.length ? " [" + tensor.shape.join(", ") + "]" : "";
    lines.push(tensor.type + shape + ", " + size(tensor.size) + ", " + tensor.state);
    if (tensor.old && tensor.old.name !== tensor.name) lines.push("was " + tensor.old.name);
    if (tensor.method) {
      lines.push("patch " + size(tensor.patch_bytes) + " (" + tensor.method + "), bound " +
        size(tensor.bound_bytes));
    }
    if (known(tensor.relative_change)) lines.push("moved by " + percent(tensor.relative_change));
    if (known(tensor.share_equal)) lines.push("equal " + percent(tensor.share_equal));
    if (known(tensor.lineage)) lines.push("lineage " + fixed(tensor.lineage));
    return lines.join("\n");
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
      viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": label });
    return { svg, width, height };
  }
  function nothing(id, text) {
    byId(id).replaceChildren(make("p", { class: "empty" }, text));
  }
  const tip = byId("tip");
  function showTip(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - box.width - 6)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(6, y - box.height - 12) : y + 18) + "px";
  }
  const hideTip = () => { tip.hidden = true; };
  function tipOver(element, text) {
    element.addEventListener("mousemove", (event) => showTip(text(), event.clientX, event.clientY));
    element.addEventListener("mouseleave", hideTip);
    element.addEventListener("focus", () => {
      const box = element.getBoundingClientRect();
      showTip(text(), box.left + box.width / 2, box.top + Math.min(box.height, 30));
    });
    element.addEventListener("blur", hideTip);
  }
  // Of elements of which one has the tab stop, arrow keys choose another.
  function arrows(elements) {
    elements.forEach((element, i) => {
      element.setAttribute("tabindex", i === 0 ? 0 : -1);
      element.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const next = event.key === "Home" ? elements[0]
          : event.key === "End" ? elements[elements.length - 1] : step && elements[i + step];
        if (!next) return;
        event.preventDefault();
        element.setAttribute("tabindex", -1);
        next.setAttribute("tabindex", 0);
        next.focus();
      });
    });
  }

  // --- colours -----------------------------------------------------------------------------------
  const kRamp = [[42, 157, 143], [138, 177, 125], [233, 196, 106], [244, 162, 97], [231, 111, 81],
    [178, 24, 43]];
  const kUnknown = [150, 158, 165];
  const kMethods = { copy: [150, 158, 165], residual: [42, 157, 143], "zero map": [20, 110, 120],
    gain: [138, 177, 125], "low rank": [94, 140, 60], grid: [180, 200, 80], blocks: [64, 116, 92],
    intra: [233, 196, 106], bytes: [188, 108, 150], literal: [150, 90, 160], zstd: [178, 24, 43],
    mixed: [88, 129, 196] };
  function ramp(share) {  // 0..1
    const at = Math.min(Math.max(share, 0), 1) * (kRamp.length - 1);
    const low = Math.min(Math.floor(at), kRamp.length - 2);
    return kRamp[low].map((v, i) => Math.round(v + (kRamp[low + 1][i] - v) * (at - low)));
  }
  const changeShare = (change) => (Math.log10(Math.max(change, 1e-4)) + 3) / 3;  // 0.1 % .. 100 %
  const kColours = {
    change: (tensor) => known(tensor.relative_change) ? ramp(changeShare(tensor.relative_change))
      : kUnknown,
    lineage: (tensor) => known(tensor.lineage) ? ramp(1 - tensor.lineage) : kUnknown,
    method: (tensor) => kMethods[tensor.method] || kUnknown,
  };
  const rgb = (colour) => `rgb(${colour.join(",")})`;
  const inkOn = ([r, g, b]) => r * 0.299 + g * 0.587 + b * 0.114 > 110 ? "#10171b" : "#ffffff";

  function drawLegend(kind) {
    const entries = {
      change: [...[[0.001, "≤ "], [0.01, ""], [0.1, ""], [1, "≥ "]].map(([change, sign]) =>
        [ramp(changeShare(change)), sign + percent(change)]),
        [kUnknown, "not numbers, or no old tensor"]],
      lineage: [[ramp(0), "1: moved a little"], [ramp(0.5), "0.5"], [ramp(1), "0: no relation"],
        [kUnknown, "not known"]],
      method: Object.entries(kMethods).map(([name, colour]) => [colour, name]),
    }[kind];
    byId("legend").replaceChildren(...entries.map(([colour, text]) => {
      const box = make("i", { "aria-hidden": "true" });
      box.style.background = rgb(colour);
      return make("span", {}, box, text);
    }));
  }

  // --- treemap (squarified: Bruls, Huizing, van Wijk 2000) ---------------------------------------
  function squarify(values, box) {
    const total = values.reduce((sum, value) => sum + value, 0);
    const scale = box.width * box.height / total;
    const out = [];
    let { x, y, width, height } = box;
    let i = 0;
    while (i < values.length) {
      const side = Math.max(Math.min(width, height), 1e-9);
      let sum = 0, end = i, best = Infinity;
      while (end < values.length) {
        const next = sum + values[end] * scale;
        const thick = next / side;
        const worst = Math.max(values[i] * scale / thick / thick,
          thick * thick / (values[end] * scale));
        if (worst > best) break;
        best = worst;
        sum = next;
        ++end;
      }
      const thick = sum / side;
      let along = 0;
      for (; i < end; ++i) {
        const length = values[i] * scale / thick;
        out.push(width >= height ? { x, y: y + along, width: thick, height: length }
          : { x: x + along, y, width: length, height: thick });
        along += length;
      }
      if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
    }
    return out;
  }
  // The end of a name says more than its beginning.
  function fitted(text, width, letter) {
    const count = Math.floor(width / letter);
    if (text.length <= count) return text;
    return count < 5 ? "" : "…" + text.slice(text.length - count + 1);
  }
  function drawTreemap(file) {
    const items = file.tensors.filter((tensor) => tensor.patch_bytes > 0)
      .sort((a, b) => b.patch_bytes - a.patch_bytes);
    if (!items.length) return nothing("treemap", "The patch holds no bytes of any tensor.");
    const { svg, width, height } = canvas("treemap", kTileHeight,
      "Treemap of " + plural(items.length, "tensor") + " by bytes of the patch");
    if (items.length > 600) svg.setAttribute("class", "many");
    const colourOf = kColours[byId("colour").value];
    const boxes = squarify(items.map((tensor) => tensor.patch_bytes), { x: 0, y: 0, width, height });
    const tiles = items.map((tensor, i) => {
      const box = boxes[i], colour = colourOf(tensor);
      const tile = draw(svg, "g", { class: "tile", role: "button", "aria-label": describe(tensor) });
      draw(tile, "rect", { x: box.x.toFixed(2), y: box.y.toFixed(2),
        width: Math.max(box.width, 0.1).toFixed(2), height: Math.max(box.height, 0.1).toFixed(2),
        fill: rgb(colour) });
      const label = box.height > 20 ? fitted(nameOf(tensor), box.width - 12, 7.4) : "";
      const place = { x: box.x + 6, fill: inkOn(colour), "aria-hidden": "true" };
      if (label) draw(tile, "text", { ...place, y: box.y + 16 }, label);
      const bytes = size(tensor.patch_bytes);
      if (label && box.height > 38 && bytes.length * 6.6 < box.width - 12) {
        draw(tile, "text", { ...place, y: box.y + 31, class: "small" }, bytes);
      }
      tipOver(tile, () => describe(tensor));
      tile.addEventListener("click", () => showRow(tensor));
      tile.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        showRow(tensor);
      });
      return tile;
    });
    arrows(tiles);
    drawLegend(byId("colour").value);
  }

  // --- histogram ---------------------------------------------------------------------------------
  function drawHistogram(file) {
    const { counts, first_log2: first, step_log2: step } = file.histogram;
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (!total) return nothing("histogram", "No number differs from its old value.");
    const used = counts.map((count, i) => count ? i : -1).filter((i) => i >= 0);
    const begin = Math.max(0, used[0] - 1);
    const end = Math.min(counts.length, used[used.length - 1] + 2);
    const { svg, width, height } = canvas("histogram", 260,
      "Histogram of the change of " + plural(total, "value"));
    const left = 44, right = 8, top = 10, bottom = 40;
    const most = Math.max(...counts) / total;
    const x = (i) => left + (i - begin) / (end - begin) * (width - left - right);
    const y = (share) => height - bottom - share / most * (height - top - bottom);
    for (const share of [0, most / 2, most]) {
      draw(svg, "line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) });
      draw(svg, "text", { class: "tick", x: left - 6, y: y(share) + 4, "text-anchor": "end" },
        percent(share));
    }
    let free = -Infinity;  // where the next label may begin
    for (let exponent = -5; exponent <= 1; ++exponent) {
      const at = (exponent * Math.log2(10) - first) / step;
      if (at < begin || at > end) continue;
      const place = x(at), text = percent(10 ** exponent);
      draw(svg, "line", { class: "axis", x1: place, x2: place, y1: y(0), y2: y(0) + 5 });
      if (place - 24 < free || place + 24 > width) continue;
      draw(svg, "text", { class: "tick", x: place, y: y(0) + 18, "text-anchor": "middle" }, text);
      free = place + 28;
    }
    draw(svg, "text", { class: "tick", x: (left + width - right) / 2, y: height - 5,
      "text-anchor": "middle" }, "change of a value, in the tensor's root mean square");
    const hits = [];
    for (let i = begin; i < end; ++i) {
      draw(svg, "rect", { class: "bar", x: x(i) + 0.5, y: y(counts[i] / total),
        width: Math.max(x(i + 1) - x(i) - 1, 0.5), height: y(0) - y(counts[i] / total) });
      const low = percent(2 ** (first + i * step)), high = percent(2 ** (first + (i + 1) * step));
      const range = i === counts.length - 1 ? low + " and more"
        : i === 0 ? "less than " + high : low + " to " + high;
      const text = range + "\n" + plural(counts[i], "value") + ", " + percent(counts[i] / total);
      const hit = draw(svg, "rect", { class: "hit", x: x(i), y: top, width: x(i + 1) - x(i),
        height: y(0) - top, role: "img", "aria-label": text });
      tipOver(hit, () => text);
      hits.push(hit);
    }
    arrows(hits);
  }

  // --- by layers: one path for all bars, so that thousands stay quick ----------------------------
  function drawLayers(file) {
    const present = file.tensors.filter((tensor) => tensor.state !== "removed");
    const named = present.filter((tensor) => tensor.role !== "other");
    const items = named.length ? named : present;
    if (!items.length) return nothing("layers", "There is no tensor.");
    const { svg, width, height } = canvas("layers", 260,
      plural(items.length, "tensor") + " in the order of the file: bytes of the patch, and change");
    const left = 62, right = 8, top = 10, middle = 132, low = 152, bottom = 22;
    const most = Math.max(1, ...items.map((tensor) => tensor.patch_bytes));
    const x = (i) => left + i / items.length * (width - left - right);
    const yBytes = (bytes) => middle - bytes / most * (middle - top);
    const yChange = (change) => height - bottom -
      Math.min(Math.max((Math.log10(Math.max(change, 1e-9)) + 4) / 4.5, 0), 1) * (height - bottom - low);
    const grid = (y, text) => {
      draw(svg, "line", { class: "axis", x1: left, x2: width - right, y1: y, y2: y });
      draw(svg, "text", { class: "tick", x: left - 6, y: y + 4, "text-anchor": "end" }, text);
    };
    for (const bytes of [0, most / 2, most]) grid(yBytes(bytes), size(Math.round(bytes)));
    for (const change of [1e-4, 1e-2, 1]) grid(yChange(change), percent(change));
    const wide = (width - left - right) / items.length;
    const gap = wide > 3 ? wide * 0.15 : 0;
    let bars = "";
    items.forEach((tensor, i) => {
      if (!tensor.patch_bytes) return;
      const begin = (x(i) + gap).toFixed(2), end = (x(i) + Math.max(wide - gap, 0.6)).toFixed(2);
      bars += `M${begin} ${middle}V${yBytes(tensor.patch_bytes).toFixed(2)}H${end}V${middle}Z`;
    });
    draw(svg, "path", { class: "bar", d: bars });
    const radius = Math.min(Math.max(wide / 2.5, 1.4), 4);
    const dots = new Map();  // colour -> path
    items.forEach((tensor, i) => {
      if (!tensor.relative_change) return;
      const colour = rgb(kColours.change(tensor)), r = radius.toFixed(2);
      const begin = (x(i) + wide / 2 - radius).toFixed(2);
      dots.set(colour, (dots.get(colour) || "") +
        `M${begin} ${yChange(tensor.relative_change).toFixed(2)}a${r} ${r} 0 1 0 ${2 * radius} 0` +
        `a${r} ${r} 0 1 0 ${-2 * radius} 0`);
    });
    for (const [colour, path] of dots) draw(svg, "path", { d: path, fill: colour });
    draw(svg, "text", { class: "tick", x: (left + width - right) / 2, y: height - 5,
      "text-anchor": "middle" }, "first to last tensor");
    addCursor(svg, items, { x, wide, top, end: height - bottom });
  }
  function addCursor(svg, items, { x, wide, top, end }) {
    const cursor = draw(svg, "line", { class: "cursor", y1: top, y2: end, visibility: "hidden" });
    const area = draw(svg, "rect", { class: "hit", x: x(0), y: top, width: wide * items.length,
      height: end - top, tabindex: 0, role: "slider", "aria-label": "Tensor", "aria-valuemin": 1,
      "aria-valuemax": items.length, "aria-valuenow": 1, "aria-valuetext": nameOf(items[0]) });
    let at = 0;
    const choose = (i, px, py) => {
      at = Math.min(Math.max(i, 0), items.length - 1);
      const place = x(at) + wide / 2;
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      cursor.setAttribute("visibility", "visible");
      area.setAttribute("aria-valuenow", at + 1);
      area.setAttribute("aria-valuetext", describe(items[at]));
      const box = svg.getBoundingClientRect();
      showTip(describe(items[at]), px === undefined ? box.left + place : px,
        py === undefined ? box.top + 20 : py);
    };
    const leave = () => { cursor.setAttribute("visibility", "hidden"); hideTip(); };
    area.addEventListener("mousemove", (event) => choose(
      Math.floor((event.clientX - svg.getBoundingClientRect().left - x(0)) / wide),
      event.clientX, event.clientY));
    area.addEventListener("mouseleave", leave);
    area.addEventListener("focus", () => choose(at));
    area.addEventListener("blur", leave);
    area.addEventListener("click", () => showRow(items[at]));
    area.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10,
        PageDown: -10, Home: -items.length, End: items.length }[event.key];
      if (event.key === "Enter") showRow(items[at]);
      if (!step) return;
      event.preventDefault();
      choose(at + step);
    });
  }

  // --- table -------------------------------------------------------------------------------------
  const kColumns = [
    { key: "name", title: "Tensor", text: nameOf, value: nameOf },
    { key: "type", title: "Type" },
    { key: "shape", title: "Shape", text: (t) => t.shape.join(" × ") || "–",
      value: (t) => t.shape.reduce((product, n) => product * n, 1) },
    { key: "state", title: "State", text: (t) => t.state + (t.moved ? ", moved" : "") },
    { key: "method", title: "Method", text: (t) => t.method || "–" },
    { key: "offset", title: "Offset", number: true, text: (t) => t.offset.toLocaleString("en") },
    { key: "size", title: "Size", number: true, text: (t) => size(t.size) },
    { key: "patch_bytes", title: "Patch", number: true, text: (t) => size(t.patch_bytes) },
    { key: "gain", title: "Gain", number: true, text: (t) => t.size ? gain(t).toFixed(1) + " ×" : "–",
      value: gain },
    { key: "bound_bytes", title: "Bound", number: true, text: (t) => size(t.bound_bytes) },
    { key: "relative_change", title: "Moved", number: true, text: (t) => percent(t.relative_change) },
    { key: "share_equal", title: "Equal", number: true, text: (t) => percent(t.share_equal) },
    { key: "lineage", title: "Lineage", number: true, text: (t) => fixed(t.lineage) },
    { key: "correlation", title: "Correlation", number: true, text: (t) => fixed(t.correlation) },
  ];
  function drawColumns() {
    byId("columns").replaceChildren(...kColumns.map((column) => {
      const button = make("button", { type: "button" }, column.title);
      button.addEventListener("click", () => {
        view.descending = view.sort === column.key ? !view.descending : Boolean(column.number);
        view.sort = column.key;
        drawColumns();
        drawRows();
        byId("columns").querySelector("[aria-sort] button").focus();
      });
      const head = make("th", { scope: "col", ...(column.number ? { class: "number" } : {}) }, button);
      if (view.sort === column.key) {
        head.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
      }
      return head;
    }));
  }
  function chosenTensors() {
    const state = byId("state").value, words = byId("filter").value.trim().toLowerCase();
    const column = kColumns.find((c) => c.key === view.sort);
    const value = column.value || ((tensor) => tensor[column.key]);
    const fits = (tensor) => state === "all" || (state === "different" && isDifferent(tensor)) ||
      (state === "moved" && tensor.moved) || tensor.state === state;
    const list = data.comparisons[view.file].tensors.filter((tensor) => fits(tensor) &&
      (!words || (nameOf(tensor) + " " + tensor.type).toLowerCase().includes(words)));
    const sign = view.descending ? -1 : 1;
    return list.sort((a, b) => {
      const p = value(a), q = value(b);
      if (known(p) !== known(q)) return known(p) ? -1 : 1;  // unknown ones last
      return p < q ? -sign : p > q ? sign : 0;
    });
  }
  function drawRows(chosen) {
    const list = chosenTensors();
    const shown = list.slice(0, view.rows);
    byId("rows").replaceChildren(...shown.map((tensor) => {
      const row = make("tr", tensor === chosen ? { class: "chosen", tabindex: -1 } : {});
      for (const column of kColumns) {
        const text = column.text ? column.text(tensor) : tensor[column.key];
        const cell = make("td", column.number ? { class: "number" } : {}, text);
        if (column.key === "name") {
          cell.className = "name";
          if (tensor.old && tensor.old.name !== tensor.name) {
            cell.append(make("small", {}, "was " + tensor.old.name));
          }
        }
        row.append(cell);
      }
      return row;
    }));
    byId("row-count").textContent = shown.length === list.length ? plural(list.length, "row")
      : shown.length.toLocaleString("en") + " of " + plural(list.length, "row");
    const more = byId("more");
    more.hidden = shown.length === list.length;
    more.textContent = "Show all " + plural(list.length, "row");
  }
  function showRow(tensor) {
    byId("filter").value = nameOf(tensor);
    byId("state").value = "all";
    view.rows = kRowsAtOnce;
    drawRows(tensor);
    hideTip();
    const row = byId("rows").querySelector(".chosen");
    byId("table-title").scrollIntoView({ block: "start" });
    if (row) row.focus({ preventScroll: true });
  }

  // --- sums --------------------------------------------------------------------------------------
  function drawCards(file) {
    const counts = file.counts;
    const kinds = ["added", "removed", "renamed", "moved", "reshaped", "retyped"]
      .filter((kind) => counts[kind]).map((kind) => counts[kind] + " " + kind);
    const cards = [
      ["Patch", size(file.patch_size), (file.new_size ? percent(file.patch_size / file.new_size) : "–") +
        " of the new " + size(file.new_size)],
      ["Ideal order-0 coder", size(file.bound_bytes), file.bound_bytes
        ? "the patch is " + (file.patch_size / file.bound_bytes).toFixed(2) + " times that" : ""],
      ["Tensors that changed", counts.tensors ? counts.changed + " of " + counts.tensors : "–",
        counts.tensors ? kinds.join(", ") || "none added, none removed"
          : "raw bytes: no tensors are known"],
      ["Lineage", fixed(file.lineage), kinship(file.lineage)],
    ];
    byId("cards").replaceChildren(...cards.map(([title, figure, more]) => make("div", {},
      make("dt", {}, title), make("dd", { class: "figure" }, figure),
      make("dd", { class: "more" }, more))));
  }
  function drawAdvice(file) {
    const items = file.advice.map((advice) => make("li", { "data-code": advice.code }, advice.text));
    if (file.warning) items.push(make("li", { class: "warning" }, file.warning));
    byId("advice").replaceChildren(...items);
    byId("advice-section").hidden = !items.length;
  }
  function drawFile() {
    const file = data.comparisons[view.file];
    const formats = file.old_format && file.old_format !== file.format
      ? file.old_format + " to " + file.format : file.format;
    byId("subtitle").textContent = [file.name, formats,
      file.old_format ? size(file.old_size) + " to " + size(file.new_size) : size(file.new_size),
      file.profile && "profile " + file.profile].filter(Boolean).join(" · ");
    drawCards(file);
    drawAdvice(file);
    byId("state").value = file.tensors.some(isDifferent) ? "different" : "all";
    byId("filter").value = "";
    view.rows = kRowsAtOnce;
    drawPlots();
    drawRows();
  }
  function drawPlots() {
    const file = data.comparisons[view.file];
    drawTreemap(file);
    drawHistogram(file);
    drawLayers(file);
  }
  function drawFiles() {
    const buttons = data.comparisons.map((file, i) => {
      const button = make("button", { type: "button", "aria-pressed": i === view.file },
        file.name || "file " + (i + 1));
      button.addEventListener("click", () => {
        view.file = i;
        drawFiles();
        drawFile();
        byId("files").children[i].focus();
      });
      return button;
    });
    byId("files").replaceChildren(...buttons);
    byId("files").hidden = buttons.length < 2;
  }

  byId("title").textContent = data.title;
  byId("tool").textContent = data.tool;
  byId("colour").addEventListener("change", () => drawTreemap(data.comparisons[view.file]));
  byId("state").addEventListener("change", () => { view.rows = kRowsAtOnce; drawRows(); });
  byId("filter").addEventListener("input", () => { view.rows = kRowsAtOnce; drawRows(); });
  byId("more").addEventListener("click", () => { view.rows = Infinity; drawRows(); });
  drawFiles();
  drawColumns();
  drawFile();
  let width = innerWidth;
  addEventListener("resize", () => requestAnimationFrame(() => {
    if (width === innerWidth) return;
    width = innerWidth;
    drawPlots();
  }));
  addEventListener("scroll", hideTip, { passive: true });
  root.dataset.drawn = "yes";
})();
