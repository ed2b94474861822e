// One key for each decision: a key presses the button that names it in data-key. Typing in a field is left alone.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("input:not([type=checkbox]), select, textarea")) return;
  const button = document.querySelector(`[data-key~="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!button || button.disabled) return;
  event.preventDefault();
  button.click();
});

// A question before what cannot be taken back lightly. Without JavaScript the server asks it on a page of its own.
addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (!question) return;
  if (confirm(question)) event.target.querySelector("[name=confirmed]").value = "yes";
  else { event.preventDefault(); event.stopImmediatePropagation(); }
}, true);
