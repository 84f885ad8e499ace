// Takes text along: the button beside it is of use only where a script can write to the clipboard.
function ready(root) {
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) {
    if (navigator.clipboard) button.hidden = false;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("[data-copied]").textContent;
  const status = document.getElementById("status");
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = "Copied to the clipboard.";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("[data-copied]"));
    status.textContent = "The browser did not allow it: the text is selected, copy it yourself.";
  }
});
ready(document);
htmx.onLoad((element) => ready(element));
