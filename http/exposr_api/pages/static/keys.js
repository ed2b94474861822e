// On a phone the navigation is wider than the screen: the page that is shown is brought into view.
const shown = document.querySelector(".top nav [aria-current]");
if (shown) shown.closest("nav").scrollLeft = shown.parentElement.offsetLeft - shown.closest("nav").offsetLeft - 60;

// One key for each decision: a key presses the button that names it in data-key. Typing in a field is left alone.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("input:not([type=checkbox]), select, textarea")) return;
  const button = document.querySelector(`[data-key~="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!button || button.disabled) return;
  event.preventDefault();
  button.click();
});

// A form is sent once, however often it is clicked, until its answer is there: a second key, pressed before the next
// picture is shown, would decide about the picture that is still there.
addEventListener("submit", (event) => {
  if (!("busy" in event.target.dataset)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
addEventListener("submit", (event) => { if (event.target.method === "post" && !event.defaultPrevented) mark(event.target); });
function mark(form) {
  form.dataset.busy = "";
  setTimeout(() => delete form.dataset.busy, 5000); // a page that was stopped while it was loading
}
addEventListener("htmx:before:request", (event) => { const form = event.target.closest?.("form"); if (form) form.dataset.busy = ""; });
addEventListener("htmx:finally:request", (event) => { delete event.target.closest?.("form")?.dataset.busy; });
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.busy; }); // after the back button

// A refusal of what a person did is said; a part that could not be refreshed stays as it was.
function refuse(text) {
  const said = document.getElementById("refusal") ?? document.createElement("p");
  said.id = "refusal";
  said.className = "flash bad";
  said.setAttribute("role", "alert");
  said.textContent = text;
  document.getElementById("main").prepend(said);
}
addEventListener("htmx:response:error", (event) => {
  const { ctx } = event.detail;
  if (ctx.request.method === "GET" || ctx.response.headers.get("hx-redirect")) return;
  let text = "The service could not do this; its log says why.";
  try { text = JSON.parse(ctx.text).error.message; } catch { /* no answer of the service itself */ }
  refuse(text[0].toUpperCase() + text.slice(1) + ".");
});
addEventListener("htmx:error", (event) => { if (event.detail.ctx?.request?.method === "POST") refuse("The service cannot be reached. Nothing was written."); });
addEventListener("htmx:after:swap", (event) => { if (event.detail.ctx?.request?.method === "POST" && event.detail.ctx.response.status < 400) document.getElementById("refusal")?.remove(); });

// A question before what cannot be taken back lightly. Without JavaScript the server asks it on a page of its own.
addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (!question) return;
  if (confirm(question)) event.target.querySelector("[name=confirmed]").value = "yes";
  else { event.preventDefault(); event.stopImmediatePropagation(); }
}, true);
