// The page of the playground: it asks the server for pictures and draws them. Nothing is computed here that the
// network would compute.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const MEMORY = 40; // pictures in the strips of the units
const POINTS = 300; // of a curve
const FINE = 200; // pixels along a side of the plane
const GUTTER = 4.5; // rem, of the axes and of the first column of the table
const NARROWEST = 2.3; // rem, of a layer
const ROWS = [
    ["std", "std"], ["E[y²]", "second_moment"], ["var of rows", "sample_variance"], ["saturated", "saturated"],
    ["dead", "dead"], ["‖dL/dy‖", "gradient_norm"], ["‖δ‖", "delta"], ["‖ΔW‖/‖W‖", "update"],
];
const SMALLEST = 1e-30; // the range of numbers that are all 0
const BOUNDED = { tanh: [-1, 1], sigmoid: [0, 1] }; // outputs that have bounds of their own

let controls = [], presets = [];
let state = {}; // the settings
let preset = null; // the experiment, as long as nothing but the seed was changed
let notice = ""; // what was wrong with the address
let session = null, points = null;
let picture = null; // the latest, with the settings that it shows
let playing = false, until = Infinity;
let strips = [], curve = [];

// Requests ------------------------------------------------------------------------------------------------------------

let token = "";

async function post(action, body) {
    const answer = await fetch(action, {
        method: "POST", headers: { "Content-Type": "application/json", "X-Token": token }, body: JSON.stringify(body),
    });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    return content;
}

function tell(error) {
    play(false);
    const gone = error instanceof TypeError; // what fetch raises where nobody answers
    say("message", gone ? "The server does not answer. Is `minidl playground` still running?" : error.message);
}

// A screen reader reads both each time that they are set.
function say(id, text) {
    if ($(id).textContent !== text) $(id).textContent = text;
}

// A new network: while one is on its way only the latest wish is kept, so a slider never waits for those before. What
// arrives is shown, also where it is not the latest, so that the page keeps up with a slider that does not rest.
let starting = false, wanted = false;

let latest = null; // the server keeps one network for each page

async function begin() {
    session = null;
    owed = 0;
    say("spoken", "");
    wanted = true;
    if (starting) return;
    starting = true;
    while (wanted) {
        wanted = false;
        const settings = { ...state };
        try {
            const started = await post("/start", { settings, replaces: latest });
            latest = started.session;
            if (!wanted) session = latest;
            points = started.points ?? null;
            strips = [];
            curve = [];
            show({ ...started, settings });
        } catch (error) {
            if (!wanted) tell(error);
        }
    }
    starting = false;
    if (playing) run();
}

// Steps of the present network, for as long as it is the present one.
const PLAYED = 1000; // steps, or as many as the server makes in a moment
let running = null, owed = 0;

async function run(steps = PLAYED) {
    if (!session) return;
    if (running === session) {
        if (!playing) owed = Math.max(owed, steps); // asked for while an answer is on its way
        return;
    }
    const mine = running = session;
    let settings;
    try {
        do {
            settings = { ...state };
            // An experiment takes sixty pictures, so that there is something to see.
            const pace = preset?.steps ? Math.ceil(preset.steps / 60) : steps;
            const rest = Math.min(steps, pace, until - picture.steps);
            const next = await post("/train", { session: mine, settings, steps: rest });
            if (mine !== session) break;
            show({ ...next, settings });
            if (next.ended || next.steps >= until) play(false);
            await new Promise(requestAnimationFrame);
            steps = playing ? PLAYED : owed;
            owed = 0;
        } while (mine === session && (steps || JSON.stringify(settings) !== JSON.stringify(state)));
        if (mine === session) say("spoken", spoken());
    } catch (error) {
        if (mine === session) tell(error);
    } finally {
        if (running === mine) running = null;
    }
}

// State: controls, address, experiment --------------------------------------------------------------------------------

const RANGE = 1000; // steps of a slider
const rounded = (value) => Number(value.toPrecision(2));

function fromSlider(control, position) {
    const t = position / RANGE, { low, high, scale } = control;
    const value = scale === "log" ? low * (high / low) ** t : low + (high - low) * (scale === "cubic" ? t ** 3 : t);
    if (control.whole) return Math.round(value);
    return scale === "linear" ? Math.round(100 * value) / 100 : rounded(value);
}

function toSlider(control, value) {
    const { low, high, scale } = control;
    if (scale === "log") return RANGE * Math.log(value / low) / Math.log(high / low);
    const t = (value - low) / (high - low);
    return RANGE * (scale === "cubic" ? Math.cbrt(t) : t);
}

// An arrow key goes to the next value, however many positions of the slider that takes.
function byKey(control, event, keys) {
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const way = keys[event.key] * RANGE / 100, old = state[control.name];
    let at = toSlider(control, old), value;
    do {
        at = Math.min(Math.max(at + way, 0), RANGE);
        value = fromSlider(control, at);
    } while (value === old && at > 0 && at < RANGE);
    set(control, value);
}

function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    Object.assign(made, attributes);
    made.append(...children);
    return made;
}

function buildControls() {
    for (const control of controls) {
        const label = element("label", { className: control.live ? "live" : "" }, element("span", {}, control.label));
        if (control.kind === "choice") {
            const options = control.choices.map((name) => element("option", { value: name }, name));
            control.field = element("select", { name: control.name }, ...options);
            control.field.addEventListener("input", () => set(control, control.field.value));
            label.append(control.field);
        } else {
            const { low, high } = control;
            control.field = element("input", { type: "number", name: control.name, min: low, max: high, step: "any" });
            control.field.addEventListener("change", () => {
                const typed = control.field.valueAsNumber;
                if (Number.isNaN(typed)) return showControls();
                const inside = Math.min(Math.max(typed, low), high);
                set(control, control.whole ? Math.round(inside) : inside);
            });
            label.append(control.field);
            if (control.name !== "seed") {
                control.slider = element("input", { type: "range", min: 0, max: RANGE, step: 1, ariaLabel: control.label });
                control.slider.addEventListener("input", () => set(control, fromSlider(control, control.slider.valueAsNumber)));
                label.append(control.slider);
                const upDown = { ArrowUp: 1, ArrowDown: -1 }, all = { ...upDown, ArrowRight: 1, ArrowLeft: -1 };
                control.field.addEventListener("keydown", (event) => byKey(control, event, upDown));
                control.slider.addEventListener("keydown", (event) => byKey(control, event, all));
            }
        }
        $("controls").append(label);
    }
    $("controls").append(element("p", {}, "● acts while the network trains; all else begins anew"));
    $("controls").addEventListener("submit", (event) => event.preventDefault());
    const none = element("option", { value: "" }, "your own");
    $("preset").append(none, ...presets.map(({ name, title }) => element("option", { value: name }, title)));
}

function set(control, value) {
    if (state[control.name] === value) return showControls();
    state[control.name] = value;
    if (control.name !== "seed") preset = null;
    if (!preset) until = Infinity;
    changed(!control.live || !picture?.steps);
    if (control.live && picture?.steps && !playing) run(0); // the program follows at once
    if (preset) perform();
}

function changed(anew, told = "") {
    showControls();
    notice = told;
    say("message", told);
    writeAddress();
    if (anew) begin();
}

function writeAddress() {
    const address = Object.fromEntries(controls.filter(({ name, initial }) => state[name] !== initial)
        .map(({ name }) => [name, state[name]]));
    const hash = new URLSearchParams(preset ? { preset: preset.name } : address);
    if (state.seed) hash.set("seed", state.seed);
    if ($("own").checked) hash.set("own", 1);
    history.replaceState(null, "", `#${hash}`);
}

function showControls() {
    for (const control of controls) {
        control.field.value = state[control.name];
        if (control.slider) {
            control.slider.value = toSlider(control, state[control.name]);
            control.slider.ariaValueText = String(state[control.name]);
        }
    }
    $("preset").value = preset?.name ?? "";
    const sentence = $("sentence");
    sentence.replaceChildren();
    if (preset) {
        const { tutorial } = preset, link = { href: `/tutorials/${tutorial}`, target: "_blank" };
        sentence.append(`${preset.sentence} `, element("a", link, `Tutorial ${tutorial}`), ": ",
            element("code", {}, `minidl tutorial open ${tutorial}`));
    }
    else sentence.append("Choose an experiment, or change the network: it is measured at once. Train makes steps.");
}

function choose(name) {
    preset = presets.find((one) => one.name === name) ?? null;
    if (preset) state = { ...initial(), ...preset.settings };
    changed(true);
    perform();
}

// An experiment trains for its steps; a network of one's own waits.
function perform() {
    until = preset?.steps || Infinity;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    play(Boolean(preset?.steps) && !still);
}

const initial = () => Object.fromEntries(controls.map(({ name, initial }) => [name, initial]));

function readAddress() {
    const hash = new URLSearchParams(location.hash.slice(1));
    if (hash.has("token")) {
        token = hash.get("token");
        try {
            localStorage.setItem("minidl-token", token); // so that an address without it works, too
        } catch { /* a browser that keeps nothing needs the whole address each time */ }
    } else {
        try {
            token ||= localStorage.getItem("minidl-token") ?? "";
        } catch { /* as above */ }
    }
    $("own").checked = hash.has("own");
    const named = hash.get("preset"), found = presets.find(({ name }) => name === named) ?? null;
    const given = controls.filter(({ name }) => hash.has(name));
    state = { ...initial(), ...found?.settings };
    for (const { name, kind } of given) {
        const text = hash.get(name), number = text.trim() ? Number(text) : NaN;
        state[name] = kind === "choice" || !Number.isFinite(number) ? text : number; // the server says what is wrong
    }
    preset = given.every(({ name }) => name === "seed") ? found : null;
    const known = ["", "token", "own", "preset", ...given.map(({ name }) => name)];
    const strange = [...hash.keys()].find((name) => !known.includes(name));
    let told = strange ? `The address has ${strange}, which is no setting.` : "";
    if (named !== null && !found) told = `There is no experiment ${named}: choose one from the list.`;
    changed(true, told);
    perform();
}

// Buttons -------------------------------------------------------------------------------------------------------------

function play(now) {
    playing = now;
    $("train").textContent = now ? "Pause" : "Train";
    if (!now || starting) return;
    if (session) run();
    else begin();
}

// Beyond the end of the experiment, once it is reached.
function goOn() {
    if (picture?.steps >= until) until = Infinity;
}

const ACTIONS = {
    train: () => {
        goOn();
        play(!playing);
    },
    step: () => {
        play(false);
        goOn();
        if (session) run(1);
        else if (!starting) begin();
    },
    rewind: () => {
        play(false);
        until = preset?.steps || Infinity;
        begin();
    },
    seed: () => {
        set(controls.find(({ name }) => name === "seed"), Math.floor(Math.random() * 10000));
    },
    copy: async () => {
        getSelection().selectAllChildren($("program")); // to be copied by hand where the browser refuses
        await navigator.clipboard.writeText($("program").textContent);
        $("copy").textContent = "Copied";
        say("spoken", "copied");
        setTimeout(() => $("copy").textContent = "Copy", 1500);
    },
};
const KEYS = { t: "train", s: "step", r: "rewind", n: "seed" };

// Pictures ------------------------------------------------------------------------------------------------------------

function show(next) {
    const { settings } = picture = next;
    strips.push(next.columns.map(({ active }) => active ?? []));
    if (strips.length > MEMORY) strips.shift();
    curve.push({ step: next.steps, train: next.train, test: next.test });
    if (curve.length > POINTS) curve = curve.filter((_, i) => i % 2 === 0 || i === curve.length - 1);
    $("steps").textContent = next.steps.toLocaleString("en");
    $("epochs").textContent = next.epochs.toLocaleString("en");
    say("message", next.ended || next.not_finite || notice);
    $("program").textContent = next.program;
    // The program trains whole epochs; after a change under way it says itself that its numbers are others.
    const ends = Math.max(next.epochs, 1) * Math.ceil(settings.rows / settings.batch_size);
    const same = !next.steps || next.steps === ends || next.ended || next.program.includes("changed under way");
    $("ends").textContent = same ? "" : `it ends with an epoch, at step ${ends}; the page is at step ${next.steps}`;
    draw();
}

function draw() {
    if (!picture) return;
    drawLayers();
    drawAnswers();
}

const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

function shape(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
}

function short(value) {
    if (value === null || value === undefined) return "";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1000) return String(Number(value.toPrecision(2)));
    return value.toExponential(0).replace("e+", "e");
}

// Four digits, as `minidl.fit` prints a loss.
function exact(value) {
    return value >= 1e-3 && value < 1e6 ? String(Number(value.toPrecision(4))) : short(value);
}

function spoken() {
    const of = ({ loss, accuracy }) => `loss ${loss === null ? "not finite" : exact(loss)}, accuracy ${percent(accuracy)}`;
    return `step ${picture.steps}: training ${of(picture.train)}; test ${of(picture.test)}`;
}

function percent(value) {
    return value === null || value === undefined ? "" : `${Math.round(100 * value)}%`;
}

// The chart of an SVG: its size in pixels, and where each layer stands.
function chart(id) {
    const svg = $(id), gutter = GUTTER * rem();
    svg.replaceChildren();
    const { width, height } = svg.getBoundingClientRect();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const each = (width - gutter) / picture.columns.length;
    return { svg, width, height, gutter, each, left: (k) => gutter + k * each };
}

function drawLayers() {
    const { columns } = picture;
    const narrowest = GUTTER + NARROWEST * columns.length;
    document.querySelector(".scroll").style.setProperty("--narrowest", `${narrowest}rem`);
    const own = $("own").checked;
    drawHistograms("outputs", columns.map(({ outputs }) => outputs), own ? null : outputScale(columns), "bars");
    drawHistograms("gradients", columns.map(({ gradients }) => gradients), own ? null : gradientScale(columns), "bars-2");
    drawLogarithms("delta", columns.map(({ delta }) => delta), null);
    $("delta-note").textContent = picture.settings.batch_norm === "before" ? "none where batch norm stands for the bias" : "";
    drawLogarithms("update", columns.map(({ update }) => update), 1e-3);
    drawUnits();
    fillTable(columns);
}

// Fixed axes: on a scale of its own a dying signal looks healthy.
function outputScale(columns) {
    const { activation, batch_norm, residual } = picture.settings;
    if (batch_norm !== "after" && residual === "none" && BOUNDED[activation]) return BOUNDED[activation];
    const { low, high } = columns[0].outputs;
    return Math.max(-low, high) < SMALLEST ? [-1, 1] : [Math.min(low, 0), Math.max(high, 0)];
}

function gradientScale(columns) {
    const last = columns[Math.max(columns.length - 2, 0)].gradients;
    const size = Math.max(-last.low, last.high);
    return size < SMALLEST ? [-1, 1] : [-size, size];
}

// Histograms that lie on their side: values go up, counts to the right, all layers beside one another.
function drawHistograms(id, histograms, scale, kind) {
    const { svg, width, height, gutter, each, left } = chart(id);
    const pad = 8, up = (value, [low, high]) => height - pad - (height - 2 * pad) * (value - low) / (high - low);
    if (scale) {
        for (const value of new Set([scale[0], 0, scale[1]])) {
            if (value < scale[0] || value > scale[1]) continue;
            const y = up(value, scale);
            shape(svg, "path", { class: "axis", d: `M${gutter} ${y}H${width}` });
            shape(svg, "text", { x: gutter - 6, y: y + 4, "text-anchor": "end" }, short(value));
        }
    }
    $(`${id}-scale`).textContent = scale ? "one scale for all layers" : "each on its own scale: these axes cannot be compared";
    histograms.forEach((histogram, k) => {
        if (!histogram) return;
        const { low, high, counts } = histogram, axis = scale ?? [low, high];
        // A ReLU makes half of the outputs 0: a bar that is twice as long as all others is cut, so that these are seen.
        const [longest, second] = counts.toSorted((a, b) => b - a);
        const most = Math.min(longest, 2 * second || longest) || 1, bin = (high - low) / counts.length, wide = each * 0.88;
        let bars = "", above = 0, below = 0;
        counts.forEach((count, i) => {
            if (!count) return;
            const from = low + i * bin, to = from + bin;
            if (from > axis[1]) above += count;
            else if (to < axis[0]) below += count;
            else {
                const top = up(Math.min(to, axis[1]), axis), bottom = up(Math.max(from, axis[0]), axis);
                bars += `M${left(k)} ${top}h${Math.max(wide * Math.min(count / most, 1), 1)}V${Math.max(bottom, top + 1)}H${left(k)}z`;
            }
        });
        shape(svg, "path", { class: kind, d: bars });
        const middle = left(k) + wide / 2;
        if (above) shape(svg, "path", { class: "outside", d: `M${middle - 5} ${pad}h10l-5 -7z` });
        if (below) shape(svg, "path", { class: "outside", d: `M${middle - 5} ${height - pad}h10l-5 7z` });
    });
}

// A number for each layer on a logarithmic axis: bars, or, beside a line that is worth knowing, dots.
function drawLogarithms(id, values, line) {
    const { svg, width, height, gutter, each, left } = chart(id);
    const sizes = [...values, line].filter((value) => value > 0);
    if (!sizes.length) return;
    let low = Math.floor(Math.log10(Math.min(...sizes))), high = Math.ceil(Math.log10(Math.max(...sizes)));
    if (high - low < 3) low = high - 3;
    const up = (value) => height - 6 - (height - 14) * (Math.log10(value) - low) / (high - low);
    for (const decade of new Set([low, high])) {
        const y = up(10 ** decade);
        shape(svg, "path", { class: "axis", d: `M${gutter} ${y}H${width}` });
        shape(svg, "text", { x: gutter - 6, y: y + 4, "text-anchor": "end" }, short(10 ** decade));
    }
    if (line) shape(svg, "path", { class: "chance", d: `M${gutter} ${up(line)}H${width}` });
    if (line && !picture.steps) shape(svg, "text", { x: gutter + 6, y: height - 12 }, "no step yet");
    values.forEach((value, k) => {
        if (!(value > 0)) return;
        if (line) shape(svg, "circle", { class: "dot", cx: left(k) + each / 2, cy: up(value), r: 4 });
        else shape(svg, "path", { class: "bars", d: `M${left(k) + each * 0.2} ${height - 6}V${up(value)}h${each * 0.6}V${height - 6}z` });
    });
}

function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function channels(hex) {
    const long = hex.length === 4 ? hex.replace(/[^#]/g, "$&$&") : hex;
    return [1, 3, 5].map((i) => parseInt(long.slice(i, i + 2), 16));
}

const between = (a, b, t) => a.map((channel, i) => channel + t * (b[i] - channel));

// A strip for each layer: a row for each unit, and a column of pixels for each picture, the latest on the right.
function drawUnits() {
    const canvas = $("units"), count = picture.columns.length, wide = MEMORY + 4;
    const units = Math.max(...picture.columns.map(({ active }) => active?.length ?? 0), 1);
    canvas.width = count * wide;
    canvas.height = units;
    canvas.style.marginLeft = `${GUTTER}rem`;
    canvas.style.width = `calc(100% - ${GUTTER}rem)`;
    const image = new ImageData(canvas.width, units);
    const dead = channels(colour("--dead")), paper = channels(colour("--paper")), full = channels(colour("--bar"));
    for (let time = 0; time < MEMORY; time++) {
        const strip = strips[Math.max(strips.length - MEMORY + time, 0)];
        strip.forEach((active, k) => active.forEach((share, unit) => {
            const pixel = share === 0 ? dead : between(paper, full, 0.2 + 0.8 * share);
            image.data.set([...pixel, 255], 4 * (unit * canvas.width + k * wide + time));
        }));
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
}

function fillTable(columns) {
    const heads = columns.map((_, k) => element("th", { scope: "col" }, k < columns.length - 1 ? String(k + 1) : "out"));
    $("heads").replaceChildren(element("th", { scope: "col" }, "layer"), ...heads);
    const known = ROWS.filter(([, name]) => columns.some((column) => (column[name] ?? null) !== null));
    const rows = known.map(([title, name]) => {
        const shown = name === "dead" || name === "saturated" ? percent : short;
        const row = element("tr", {}, element("th", { scope: "row" }, title));
        row.dataset.name = name;
        for (const column of columns) {
            const cell = element("td", {}, column.not_finite && name === "std" ? "NaN" : shown(column[name]));
            cell.dataset.value = column[name] ?? "";
            row.append(cell);
        }
        return row;
    });
    $("numbers").replaceChildren(...rows);
}

function drawAnswers() {
    $("plane-figure").hidden = !picture.plane;
    $("wrong-figure").hidden = !picture.wrong;
    if (picture.plane) drawPlane();
    if (picture.wrong) drawWrong();
    const classes = picture.settings.data === "digits" ? 10 : 2;
    $("classes").textContent = classes;
    drawCurves("loss", (point) => point.loss, Math.log(classes), short);
    drawCurves("accuracy", (point) => point.accuracy, null, percent);
    for (const part of ["train", "test"]) {
        const { loss, accuracy } = picture[part];
        $(`${part}-loss`).textContent = loss === null ? "not finite" : exact(loss);
        $(`${part}-accuracy`).textContent = `${(100 * accuracy).toFixed(1)}%`;
        $(`${part}-loss`).dataset.value = loss;
        $(`${part}-accuracy`).dataset.value = accuracy;
    }
}

const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

function drawPlane() {
    const { extent, size, values } = picture.plane, canvas = $("plane");
    const side = canvas.width = canvas.height = Math.round(canvas.getBoundingClientRect().width * devicePixelRatio) || 1;
    const context = canvas.getContext("2d");
    const zero = channels(colour("--zero")), one = channels(colour("--one")), paper = channels(colour("--paper"));
    const shades = Array.from({ length: 256 }, (_, shade) => {
        const t = shade / 127.5 - 1; // -1 where class 0 is certain, 1 where class 1 is
        const [red, green, blue] = between(paper, t < 0 ? zero : one, 0.6 * Math.abs(t));
        return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
    });
    // From one point of the grid to the next the log-odds go nearly straight; the probability jumps.
    const odds = new Float32Array(bytes(values).buffer);
    const image = new ImageData(FINE, FINE), pixels = new Uint32Array(image.data.buffer);
    const places = Array.from({ length: FINE }, (_, pixel) => (pixel + 0.5) / FINE * (size - 1));
    places.forEach((down, y) => places.forEach((right, x) => {
        const i = Math.floor(down) * size + Math.floor(right), across = right % 1;
        const above = odds[i] + across * (odds[i + 1] - odds[i]);
        const below = odds[i + size] + across * (odds[i + size + 1] - odds[i + size]);
        const t = Math.tanh((above + down % 1 * (below - above)) / 2);
        pixels[y * FINE + x] = shades[Math.round(127.5 * (t + 1))];
    }));
    const small = element("canvas", { width: FINE, height: FINE });
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, 0, 0, side, side);
    const at = (value) => side * (value + extent) / (2 * extent), radius = side / 110;
    const fills = [colour("--zero"), colour("--one")];
    context.strokeStyle = colour("--paper");
    points.x.forEach(([x, y], i) => {
        context.beginPath();
        context.arc(at(x), at(-y), radius, 0, 2 * Math.PI);
        context.fillStyle = fills[points.y[i]];
        context.fill();
        context.stroke();
    });
}

function drawWrong() {
    const items = picture.wrong.map(({ image, label, answer }) => {
        const canvas = element("canvas", { width: 28, height: 28 });
        const pixels = new ImageData(28, 28);
        const paper = channels(colour("--paper")), ink = channels(colour("--ink"));
        bytes(image).forEach((value, i) => pixels.data.set([...between(paper, ink, value / 255), 255], 4 * i));
        canvas.getContext("2d").putImageData(pixels, 0, 0);
        return element("li", {}, canvas, `${answer}, not ${label}`);
    });
    $("wrong").replaceChildren(...(items.length ? items : [element("li", {}, "none")]));
}

function drawCurves(id, value, chance, label) {
    const svg = $(id), gutter = 3 * rem();
    svg.replaceChildren();
    const { width, height } = svg.getBoundingClientRect();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const known = curve.flatMap(({ train, test }) => [value(train), value(test)]).filter((one) => one !== null);
    const high = id === "accuracy" ? 1 : Math.max(...known, chance * 1.25);
    const last = Math.max(curve.at(-1).step, 1), right = width - 6;
    const across = (step) => gutter + (right - gutter) * step / last;
    const up = (one) => height - 16 - (height - 22) * one / high;
    for (const one of [0, high]) {
        shape(svg, "path", { class: "axis", d: `M${gutter} ${up(one)}H${right}` });
        shape(svg, "text", { x: gutter - 6, y: up(one) + 4, "text-anchor": "end" }, label(one));
    }
    shape(svg, "text", { x: right, y: height - 3, "text-anchor": "end" }, `${curve.at(-1).step} steps`);
    if (chance) shape(svg, "path", { class: "chance", d: `M${gutter} ${up(chance)}H${right}` });
    for (const part of ["train", "test"]) {
        const line = curve.filter((point) => value(point[part]) !== null);
        const at = line.map((point) => `${across(point.step)},${up(value(point[part]))}`);
        if (at.length === 1) at.push(at[0].replace(/^[^,]*/, (x) => Number(x) + 6));
        shape(svg, "polyline", { class: part, points: at.join(" ") });
    }
}

// Begin ---------------------------------------------------------------------------------------------------------------

async function main() {
    ({ controls, presets } = await (await fetch("/controls")).json());
    for (const control of controls) control.initial = control.default;
    buildControls();
    for (const [id, action] of Object.entries(ACTIONS)) $(id).addEventListener("click", action);
    document.addEventListener("keydown", (event) => {
        const typing = event.target.closest("input[type=number], select");
        if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
        ACTIONS[KEYS[event.key]]();
    });
    $("preset").addEventListener("change", () => choose($("preset").value));
    $("own").addEventListener("change", () => {
        writeAddress();
        draw();
    });
    addEventListener("hashchange", readAddress);
    addEventListener("resize", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    readAddress();
}

main().catch(tell);
