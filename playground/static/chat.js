// A conversation in two columns: each question goes to both sides, and what they say is shown as it comes.

const log = document.getElementById("log");
const form = document.getElementById("ask");
const field = document.getElementById("question");

// What was said so far, to be sent along; nothing of it is kept anywhere else.
let turns = [];
let asking = null;

function made(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

function chosen(id) {
  const select = document.getElementById(id);
  return { value: select.value, label: select.selectedOptions[0].textContent.trim() };
}

function announce(text) {
  document.getElementById("announce").textContent = text;
}

function busy(on) {
  document.getElementById("send").hidden = on;
  document.getElementById("stop").hidden = !on;
  form.classList.toggle("busy", on);
}

function follow(act) {
  // Whoever reads further up is left there.
  const near = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  act();
  if (near) log.scrollTop = log.scrollHeight;
}

function turn(question, sides) {
  const row = made("article", "turn");
  row.append(made("p", "question", question));
  const columns = made("div", "columns");
  const answers = sides.map((side) => {
    const column = made("section", "column");
    column.append(made("h2", "", side.label));
    const note = made("p", "note");
    const steps = made("div", "steps");
    const text = made("div", "said");
    column.append(steps, text, note);
    columns.append(column);
    return { note, steps, text };
  });
  row.append(columns);
  log.append(row);
  log.scrollTop = log.scrollHeight;
  return answers;
}

function show(told, answers) {
  const side = told.side === undefined ? answers : [answers[told.side]];
  switch (told.event) {
    case "waiting":
      for (const one of side) one.note.textContent = "Another question is being answered…";
      break;
    case "loading":
      for (const one of side) one.note.textContent = "Loading the model…";
      break;
    case "begun":
      for (const one of answers) one.note.textContent = "";
      side[0].note.textContent = "Thinking…";
      break;
    case "text":
    case "draft":
      side[0].note.textContent = "";
      side[0].text.classList.toggle("draft", told.event === "draft");
      side[0].text.textContent = (told.text ?? "").replace(/\ufffd+$/, "");
      break;
    case "step": {
      const step = made("details", "step");
      step.append(made("summary", "", told.what ?? ""), made("div", "said", told.text ?? ""));
      side[0].steps.append(step);
      break;
    }
    case "answered":
      side[0].note.textContent = told.text ? "" : "It said nothing.";
      side[0].text.classList.remove("draft");
      side[0].text.textContent = told.text ?? "";
      side[0].answer = told.text ?? "";
      break;
    case "failed":
      for (const one of side) if (one.answer === undefined) fail(one, told.text);
      break;
  }
}

function fail(answer, reason) {
  answer.note.textContent = reason;
  answer.note.classList.add("failed");
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

async function ask(question) {
  const sides = [chosen("left"), chosen("right")];
  const strategy = chosen("strategy").value;
  const answers = turn(question, sides);
  asking = new AbortController();
  busy(true);
  try {
    const response = await fetch("/chat/ask", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        run: form.dataset.run,
        adapters: sides.map((side) => side.value),
        question,
        strategy,
        history: strategy ? [] : turns,
      }),
      signal: asking.signal,
    });
    if (!response.ok) {
      // A page of its own says what is missing; all else is one line.
      const why = response.status === 404 ? "There is no such run or adapter." : (await response.text()).trim();
      for (const answer of answers) fail(answer, why);
      return;
    }
    for await (const line of lines(response)) follow(() => show(JSON.parse(line), answers));
    announce("Both sides have answered.");
  } catch (error) {
    const why = error.name === "AbortError" ? "Stopped." : "The playground does not answer.";
    for (const answer of answers) if (answer.answer === undefined) fail(answer, why);
  } finally {
    asking = null;
    busy(false);
    field.focus();
    if (!strategy && answers.every((answer) => answer.answer !== undefined)) {
      turns.push({ question, answers: answers.map((answer) => answer.answer) });
    }
  }
}

function anew() {
  if (asking || !log.lastElementChild?.matches(".turn")) return;
  turns = [];
  log.append(made("p", "anew", "A new conversation"));
  log.scrollTop = log.scrollHeight;
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = field.value.trim();
  if (!question || asking) return;
  field.value = "";
  ask(question);
});

field?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

document.getElementById("stop")?.addEventListener("click", () => asking?.abort());
document.getElementById("anew")?.addEventListener("click", () => {
  anew();
  field.focus();
});
document.getElementById("run")?.addEventListener("change", (event) => event.target.form.submit());
// Another side has not said what was said before.
for (const select of document.querySelectorAll("[data-side]")) select.addEventListener("change", anew);
